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
#include "plan.h"
#include "signal.h"

#include "utils/array.h"
#include "utils/builtins.h"

#define NEXT_SIGNAL(P) \
	P(workflow_id, UUIDOID) \
	P(names, TEXTARRAYOID) \
	P(busy, UUIDARRAYOID)
PARAMETERS(NextSignal, NEXT_SIGNAL);

#define SIGNAL(F, C, t) F(t, id) C(t, name) C(t, payload) C(t, sent_at)
ROW(SignalRow, SIGNAL);

static Statement look_next = STATEMENT(NextSignal,
	"SELECT " COLUMNS(SIGNAL, "g.") " "
	"FROM unnest(:names) AS n (name) CROSS JOIN LATERAL ("
	"  SELECT " COLUMNS(SIGNAL, "o.") " FROM durable.signal o "
	"  WHERE o.workflow_id = :workflow_id AND o.name = n.name AND o.sequence IS NULL AND o.id <> ALL (:busy) "
	"  ORDER BY o.id LIMIT 1) g "
	"ORDER BY g.id LIMIT 1");

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

/* Finds the first signal for a wait, but for those that are busy; false if there is none. */
bool
next_signal(const Step *wait, const IdList *busy, Signal *signal)
{
	SignalRow	row;

	if (run(&look_next, &(NextSignal)
			{
				.workflow_id = an_id(&wait->workflow_id),.names = a_value(names_of(wait)),
				.busy = a_value(id_array(busy->ids, busy->count))
			}, NEWEST) == 0)
		return false;
	fetch(0, 0, &row);
	*signal = (Signal)
	{
		.id = row.id,.name = row.name,.payload = row.payload,.sent_at = DatumGetTimestampTz(row.sent_at.value)
	};
	return true;
}
