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
#include "table.h"

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

/* Parameters of look_next, and what its fast path has read. */
typedef struct FastNext
{
	NextSignal	params;
	bool		done;
	SignalRow	row;
} FastNext;

/* Of one name. */
static int64
fast_look_next(const void *params)
{
	FastNext   *next = (FastNext *) params;
	const NextSignal *p = params;
	Elements	names = elements_of(p->names, TEXTOID, 0);
	Elements	behind = elements_of(p->behind, UUIDOID, 0);
	Look		look;
	bool		found;

	if (names.count != 1 || DatumGetBool(p->with_name.value) ||
		!begin_look(&look, &signal_untaken, AccessShareLock,
					(Key[])
					{
						IS_ID(signal_workflow_id, p->workflow_id), IS_TEXT(signal_name, element_of(&names, 0)),
						IS_BEHIND(signal_id, element_of(&behind, 0))
					}, 3))
		return NOT_FAST;
	found = look.row != NULL;
	if (found)
	{
		keep_row(&look);
		next->row.id = column_of_row(&look, signal_id);
		next->row.name = column_of_row(&look, signal_name);
		next->row.output = column_of_row(&look, signal_payload);
		next->row.sent_at = column_of_row(&look, signal_sent_at);
	}
	end_look(&look);
	next->done = true;
	return found ? 1 : 0;
}

static Statement look_next = STATEMENT(NextSignal,
	"SELECT " COLUMNS(SIGNAL, "g.") " "
	"FROM ROWS FROM (unnest(:names), unnest(:behind)) AS n (name, behind) CROSS JOIN LATERAL ("
	"  SELECT o.id, o.name, o.sent_at,"
	"    CASE WHEN :with_name THEN jsonb_build_object('signal', o.name, 'payload', o.payload) ELSE o.payload END AS output "
	"  FROM durable.signal o "
	"  WHERE o.workflow_id = :workflow_id AND o.name = n.name AND o.sequence IS NULL AND o.id > n.behind "
	"  ORDER BY o.id LIMIT 1) g "
	"ORDER BY g.id LIMIT 1",
	.planning = IN_ORDER,.fast = fast_look_next);

/* Looks for the first signal, of each name behind an id; false if there is none. */
static bool
look_for_signal(const Step *wait, Datum names, const pg_uuid_t *behind, int count, SignalRow *row)
{
	FastNext	next = {
		.params = {
			.workflow_id = an_id(&wait->workflow_id),.names = a_value(names),
			.behind = a_value(id_array(behind, count)),.with_name = a_bool(!wait->signals.isnull)
		}
	};

	if (run(&look_next, &next, NEWEST) == 0)
		return false;
	if (next.done)
		*row = next.row;
	else
		fetch(0, 0, row);
	return true;
}

/* ---- taking it: the fast path -------------------------------------------------------- */

/* Looks at the signal that a wait is to take, to change it; false if it is not free. */
bool
begin_taking(Look *look, NullableDatum workflow_id, NullableDatum id)
{
	if (!begin_look(look, &signal_by_id, RowExclusiveLock,
					(Key[]) {IS_ID(signal_workflow_id, workflow_id), IS_ID(signal_id, id)}, 2))
		return false;
	if (look->row && column_of_row(look, signal_sequence).isnull && is_free_to_update(look))
		return true;
	end_look(look);
	return false;
}

/* The wait at that position takes it; false if somebody came in between. */
bool
take_signal(const Look *look, NullableDatum sequence)
{
	Writing		writing;
	bool		done;

	begin_writing(&writing, look);
	row_as_seen(&writing, look);
	set(&writing, signal_sequence, sequence);
	done = update_row(&writing, look);
	end_writing(&writing);
	return done;
}

/* ---- which one ------------------------------------------------------------------------- */

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
	bool		found;
	SignalRow	row;

	for (int i = 0; i < names.count; i++)
	{
		const struct BusySignal *known = find_busy(busy, element_of(&names, i));

		behind[i] = known ? known->last : settled_before(&wait->workflow_id, names.values[i], &can_settle);
		beginnings[i] = known ? known->last : none;
		is_known |= !same_id(&behind[i], &beginnings[i]);
	}
	found = look_for_signal(wait, array, behind, names.count, &row);
	if (!found && is_known)
		found = look_for_signal(wait, array, beginnings, names.count, &row);
	if (!found)
		return false;
	if (names.count == 1 && busy->count == 0)
		saw_first(&wait->workflow_id, names.values[0], DatumGetUUIDP(row.id.value), can_settle);
	*signal = (Signal)
	{
		.id = row.id,.name = row.name,.output = row.output,.sent_at = DatumGetTimestampTz(row.sent_at.value)
	};
	return true;
}
