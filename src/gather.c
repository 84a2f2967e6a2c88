/*-------------------------------------------------------------------------
 *
 * gather.c
 *	  New rows of registers that are inserted together.
 *
 * A batch changes many workflows, one after the other, and each change adds rows to
 * the same registers.  Between begin_gathering and end_gathering they are only
 * gathered.  At the end all rows of a register are inserted at once, which writes one
 * record of WAL for a page, and goes through one index after the other.
 *
 * Until then nobody finds them.  So only fast paths gather: where a statement is to
 * run after all, run (plan.c) ends it first.  No subtransaction begins meanwhile, so
 * an error takes back all that was to be written with them, and they are forgotten
 * (fence.c).
 *
 *-------------------------------------------------------------------------
 */
#include "gather.h"

#include "access/table.h"
#include "access/xact.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* Of a register. */
typedef struct Gathered
{
	OurIndex   *ours;
	NoteRow		note;			/* NULL: nobody asks */
	List	   *rows;
	List	   *ids;			/* of their workflows */
} Gathered;

/* Rows of so many registers are gathered; those of others are added at once.  A batch mostly has three. */
#define MOST_GATHERED 4

static Gathered gathered[MOST_GATHERED];
static int	gathered_count;
static MemoryContext gathering; /* where they are; NULL if nothing is gathered */

void
begin_gathering(void)
{
	Assert(gathering == NULL);
	gathered_count = 0;
	gathering = CurrentMemoryContext;
}

/* Of a register; begins with it if there is room. */
static Gathered *
gathered_of(OurIndex *ours)
{
	for (int i = 0; i < gathered_count; i++)
		if (gathered[i].ours == ours)
			return &gathered[i];
	if (gathered_count == MOST_GATHERED)
		return NULL;
	gathered[gathered_count] = (Gathered) {.ours = ours};
	return &gathered[gathered_count++];
}

/* Keeps a row, of which no column is NULL, for later; false if it is to be inserted now. */
bool
gather(OurIndex *ours, Relation table, Datum *values, const pg_uuid_t *id, NoteRow note)
{
	Gathered   *g = gathering ? gathered_of(ours) : NULL;
	MemoryContext old;

	if (g == NULL)
		return false;
	old = MemoryContextSwitchTo(gathering);
	g->rows = lappend(g->rows, form_row(table, values));
	g->ids = lappend(g->ids, memcpy(palloc(UUID_LEN), id, UUID_LEN));
	g->note = note;
	MemoryContextSwitchTo(old);
	return true;
}

static void
write_rows(Gathered *g)
{
	Relation	table;

	if (g->rows == NIL)
		return;
	table = open_our_table(g->ours, RowExclusiveLock);
	add_rows(table, g->rows);
	table_close(table, NoLock);
	for (int i = 0; g->note && i < list_length(g->rows); i++)
		g->note(g->ours, list_nth(g->ids, i), &((HeapTuple) list_nth(g->rows, i))->t_self);
	*g = (Gathered) {.ours = g->ours};
}

/* Inserts what was gathered of a register, from which a row is to be deleted. */
void
write_gathered(const OurIndex *ours)
{
	for (int i = 0; gathering && i < gathered_count; i++)
		if (gathered[i].ours == ours && gathered[i].rows != NIL)
		{
			write_rows(&gathered[i]);
			CommandCounterIncrement();
		}
}

/* Inserts all, visible to the next statement. */
void
end_gathering(void)
{
	if (gathering == NULL)
		return;
	for (int i = 0; i < gathered_count; i++)
		write_rows(&gathered[i]);
	gathering = NULL;
	CommandCounterIncrement();
}

/* A transaction or subtransaction has failed. */
void
forget_gathered(void)
{
	gathering = NULL;
}
