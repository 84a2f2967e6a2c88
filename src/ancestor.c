/*-------------------------------------------------------------------------
 *
 * ancestor.c
 *	  The workflows above a child, and who drives it: an inline child is driven by
 *	  whoever drives the nearest ancestor that is not inline.
 *
 * Looks only: locks nothing, and tells what is committed now.
 *
 *-------------------------------------------------------------------------
 */
#include "plan.h"
#include "sql.h"
#include "wake.h"

#define ANCESTORS(P) \
	P(parent_id, UUIDOID)
PARAMETERS(Ancestors, ANCESTORS);

#define ANCESTOR(F, C, t) F(t, id) C(t, status) C(t, is_driven)
ROW(AncestorRow, ANCESTOR);

static Statement look_up = STATEMENT(Ancestors,
	"WITH RECURSIVE up AS ("
	"  SELECT w.id, w.parent_id, w.status, " UNIT("w") " AS is_driven, 1 AS height "
	"  FROM durable.workflow w WHERE w.id = :parent_id "
	"  UNION ALL "
	"  SELECT w.id, w.parent_id, w.status, w.is_driven, u.height + 1 "
	"  FROM up u CROSS JOIN LATERAL ("
	"    SELECT o.id, o.parent_id, o.status, " UNIT("o") " AS is_driven "
	"    FROM durable.workflow o WHERE o.id = u.parent_id OFFSET 0) w) "
	"SELECT " COLUMNS(ANCESTOR, "u.") " FROM up u ORDER BY u.height");

/* The workflows above a child, from its parent up. */
Ancestor *
look_ancestors(const Workflow *workflow, int *count)
{
	Ancestor   *ancestors;

	*count = (int) run(&look_up, &(Ancestors) {.parent_id = an_id(&workflow->parent_id)}, NEWEST);
	ancestors = palloc(Max(*count, 1) * sizeof(Ancestor));
	for (int i = 0; i < *count; i++)
	{
		AncestorRow row;

		fetch(i, 0, &row);
		ancestors[i] = (Ancestor)
		{
			.id = *DatumGetUUIDP(row.id.value),.status = status_from_datum(row.status.value),
			.is_driven = DatumGetBool(row.is_driven.value)
		};
	}
	return ancestors;
}

/* The nearest ancestor that is not inline: who drives this workflow is registered there. */
pg_uuid_t
driven_ancestor(const Workflow *workflow)
{
	int			count;
	Ancestor   *ancestors = look_ancestors(workflow, &count);
	int			i = 0;

	while (i < count - 1 && !ancestors[i].is_driven)
		i++;
	return count > 0 ? ancestors[i].id : workflow->id;
}

/* Raises an error for an inline child: it changes hands, or runs again, only with the workflow that drives it. */
void
raise_if_inline(const Workflow *workflow, Event event)
{
	pg_uuid_t	driven;

	if (!is_inline(workflow))
		return;
	driven = driven_ancestor(workflow);
	raise_refusal(refuse_inline(workflow, event, &driven));
}

/*
 * Something has happened to a workflow, or in it, that whoever drives it should know:
 * tells that executor, if it waits.
 */
void
note_news_of(const pg_uuid_t *workflow_id)
{
	Workflow	workflow;
	pg_uuid_t	driven;

	if (!may_be_told_news())
		return;
	look_workflow_or_raise(workflow_id, "workflow_id", NEWEST, &workflow);
	if (is_inline(&workflow))
	{
		driven = driven_ancestor(&workflow);
		look_workflow_or_raise(&driven, "workflow_id", NEWEST, &workflow);
	}
	if (!workflow.executor_id.isnull)
		note_news(workflow.executor_id.value);
}
