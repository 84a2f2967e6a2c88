/*-------------------------------------------------------------------------
 *
 * tags.c
 *	  The tags of workflows.
 *
 * They stand in a table of their own, with an index that finds an object by what
 * it contains: an index of the workflows' rows would cost each change of a status.
 * A workflow without tags has no row there.
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "table.h"
#include "tags.h"

/* ---- new workflows ------------------------------------------------------------- */

#define INSERT_TAGS(P) \
	P(ids, UUIDARRAYOID) \
	P(tags, JSONBARRAYOID)
PARAMETERS(InsertTags, INSERT_TAGS);

/* Parameters of insert_tags, and for its fast path the rows of which they are made. */
typedef struct FastInsertTags
{
	InsertTags	params;
	const NewTags *rows;
	int			count;
} FastInsertTags;

static int64
fast_insert_tags(const void *params)
{
	const FastInsertTags *p = params;
	Look		look;
	Writing		writing;
	int64		done = 0;

	if (XactReadOnly || !begin_without_look(&look, &tags_by_workflow, RowExclusiveLock))
		return NOT_FAST;
	begin_writing(&writing, &look);
	for (int i = 0; i < p->count; i++)
	{
		if (p->rows[i].tags.isnull)
			continue;
		new_row(&writing);
		set(&writing, workflow_tags_workflow_id, p->rows[i].id);
		set(&writing, workflow_tags_tags, p->rows[i].tags);
		if (!end_row(&writing))
			break;
		insert_row(&writing);
		done++;
	}
	end_writing(&writing);
	end_look(&look);
	return done > 0 ? done : NOT_FAST;
}

static Statement insert_tags = STATEMENT(InsertTags,
	"INSERT INTO durable.workflow_tags (workflow_id, tags) "
	"SELECT b.id, b.tags FROM unnest(:ids, :tags) AS b (id, tags)",
	.fast = fast_insert_tags);

/* Writes the tags of workflows that this call has just created.  Nobody else can have written any for them. */
void
write_tags(const NewTags *rows, int count)
{
	FastInsertTags fast = {.rows = rows,.count = count};
	Elements	ids = new_elements(UUIDOID, count);
	Elements	tags = new_elements(JSONBOID, count);

	for (int i = 0; i < count; i++)
	{
		if (rows[i].tags.isnull)
			continue;
		append_element(&ids, rows[i].id);
		append_element(&tags, rows[i].tags);
	}
	if (ids.count == 0)
		return;
	fast.params = (InsertTags) {.ids = array_of(&ids),.tags = array_of(&tags)};
	if (run(&insert_tags, &fast, NEWEST) < ids.count)
		raise_kept_away("durable.workflow_tags");
}
