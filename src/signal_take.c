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
	P(with_name, BOOLOID)
PARAMETERS(NextSignal, NEXT_SIGNAL);

#define SIGNAL(F, C, t) F(t, id) C(t, name) C(t, output) C(t, sent_at)
ROW(SignalRow, SIGNAL);

static Statement look_next = STATEMENT(NextSignal,
	"SELECT " COLUMNS(SIGNAL, "g.") " "
	"FROM ROWS FROM (unnest(:names), unnest(:behind)) AS n (name, behind) CROSS JOIN LATERAL ("
	"  SELECT o.id, o.name, o.sent_at,"
	"    CASE WHEN :with_name THEN jsonb_build_object('signal', o.name, 'payload', o.payload) ELSE o.payload END AS output "
	"  FROM durable.signal o "
	"  WHERE o.workflow_id = :workflow_id AND o.name = n.name AND o.sequence IS NULL AND o.id > n.behind "
	"  ORDER BY o.id LIMIT 1) g "
	"ORDER BY g.id LIMIT 1",
	.planning = IN_ORDER);

/* Looks for the first signal, of each name behind an id. */
static uint64
look_for_signal(const Step *wait, Datum names, const pg_uuid_t *behind, int count)
{
	return run(&look_next, &(NextSignal)
			   {
				   .workflow_id = an_id(&wait->workflow_id),.names = a_value(names),
				   .behind = a_value(id_array(behind, count)),
				   .with_name = a_bool(!wait->signals.isnull)
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

static struct BusySignal *
find_busy(const BusySignals *busy, NullableDatum name)
{
	for (int i = 0; i < busy->count; i++)
		if (same_text(busy->of[i].name, name))
			return &busy->of[i];
	return NULL;
}

/* Another wait is about to take the signal, the next of its name. */
void
append_busy(BusySignals *busy, NullableDatum name, const pg_uuid_t *id)
{
	struct BusySignal *known = find_busy(busy, name);

	if (known == NULL)
	{
		Size		size = (busy->count + 1) * sizeof(struct BusySignal);

		busy->of = busy->of ? repalloc(busy->of, size) : palloc(size);
		known = &busy->of[busy->count++];
		known->name = name;
	}
	known->last = *id;
}

/*
 * Finds the first signal for a wait, but for those that are busy; false if there is
 * none.  Looks behind what is settled first.
 */
bool
next_signal(const Step *wait, const BusySignals *busy, Signal *signal)
{
	Datum		array = names_of(wait);
	Elements	names = elements_of(a_value(array), TEXTOID, 0);
	pg_uuid_t	none = {0};
	pg_uuid_t  *behind = palloc(names.count * sizeof(pg_uuid_t));
	pg_uuid_t  *beginnings = palloc(names.count * sizeof(pg_uuid_t));
	bool		is_known = false;
	bool		can_settle = false;
	uint64		found;
	SignalRow	row;

	for (int i = 0; i < names.count; i++)
	{
		const struct BusySignal *known = find_busy(busy, element_of(&names, i));

		behind[i] = known ? known->last : settled_before(&wait->workflow_id, names.values[i], &can_settle);
		beginnings[i] = known ? known->last : none;
		is_known |= !same_id(&behind[i], &beginnings[i]);
	}
	found = look_for_signal(wait, array, behind, names.count);
	if (found == 0 && is_known)
		found = look_for_signal(wait, array, beginnings, names.count);
	if (found == 0)
		return false;
	fetch(0, 0, &row);
	if (names.count == 1 && busy->count == 0)
		saw_first(&wait->workflow_id, names.values[0], DatumGetUUIDP(row.id.value), can_settle);
	*signal = (Signal)
	{
		.id = row.id,.name = row.name,.output = row.output,.sent_at = DatumGetTimestampTz(row.sent_at.value)
	};
	return true;
}
