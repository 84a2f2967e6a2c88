/*-------------------------------------------------------------------------
 *
 * signal_take.c
 *	  Which signal a wait takes: the first of its names that nobody has taken.
 *
 * Nothing here locks or writes.  The wait takes the signal in the statement that
 * records its outcome (wait_end.c).
 *
 *-------------------------------------------------------------------------
 */
#include "batch.h"
#include "signal.h"

#include "utils/array.h"
#include "utils/builtins.h"

#define NEXT_SIGNAL(P) \
	P(workflow_id, UUIDOID) \
	P(names, TEXTARRAYOID) \
	P(behind, UUIDARRAYOID) \
	P(busy, UUIDARRAYOID)
PARAMETERS(NextSignal, NEXT_SIGNAL);

#define SIGNAL(F, C, t) F(t, id) C(t, name) C(t, payload) C(t, sent_at)
ROW(SignalRow, SIGNAL);

static Statement look_next = STATEMENT(NextSignal,
	"SELECT " COLUMNS(SIGNAL, "g.") " "
	"FROM ROWS FROM (unnest(:names), unnest(:behind)) AS n (name, behind) CROSS JOIN LATERAL ("
	"  SELECT " COLUMNS(SIGNAL, "o.") " FROM durable.signal o "
	"  WHERE o.workflow_id = :workflow_id AND o.name = n.name AND o.sequence IS NULL AND o.id > n.behind"
	"    AND o.id <> ALL (:busy) "
	"  ORDER BY o.id LIMIT 1) g "
	"ORDER BY g.id LIMIT 1",
	.planning = IN_ORDER);

/* Looks for the first signal, of each name behind an id. */
static uint64
look_for_signal(const Step *wait, Datum names, const pg_uuid_t *behind, int count, const IdList *busy)
{
	return run(&look_next, &(NextSignal)
			   {
				   .workflow_id = an_id(&wait->workflow_id),.names = a_value(names),
				   .behind = a_value(id_array(behind, count)),.busy = a_value(id_array(busy->ids, busy->count))
			   }, NEWEST);
}

/* The names for which a wait waits: its own, unless it was given others. */
static Datum
names_of(const Step *wait)
{
	Datum		name;

	if (!wait->signals.isnull)
		return wait->signals.value;
	name = CStringGetTextDatum(wait->name);
	return PointerGetDatum(construct_array(&name, 1, TEXTOID, -1, false, TYPALIGN_INT));
}

/*
 * Finds the first signal for a wait, but for those that are busy; false if there is
 * none.  Looks behind what is settled first.
 */
bool
next_signal(const Step *wait, const IdList *busy, Signal *signal)
{
	Datum		array = names_of(wait);
	Elements	names = elements_of(a_value(array), TEXTOID, 0);
	pg_uuid_t  *behind = palloc0(names.count * sizeof(pg_uuid_t));
	bool		is_known = false;
	bool		can_settle = false;
	uint64		found;
	SignalRow	row;

	for (int i = 0; i < names.count; i++)
	{
		behind[i] = settled_before(&wait->workflow_id, names.values[i], &can_settle);
		is_known |= !same_id(&behind[i], &(pg_uuid_t) {0});
	}
	found = look_for_signal(wait, array, behind, names.count, busy);
	if (found == 0 && is_known)
	{
		memset(behind, 0, names.count * sizeof(pg_uuid_t));
		found = look_for_signal(wait, array, behind, names.count, busy);
	}
	if (found == 0)
		return false;
	fetch(0, 0, &row);
	if (names.count == 1 && busy->count == 0)
		saw_first(&wait->workflow_id, names.values[0], DatumGetUUIDP(row.id.value), can_settle);
	*signal = (Signal)
	{
		.id = row.id,.name = row.name,.payload = row.payload,.sent_at = DatumGetTimestampTz(row.sent_at.value)
	};
	return true;
}
