/*-------------------------------------------------------------------------
 *
 * signal.h
 *	  Signals: how they are sent (signal.c), and which one a wait takes
 *	  (signal_take.c, signal_settled.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_SIGNAL_H
#define DURABLE_SIGNAL_H

#include "task.h"

struct Look;

/* A signal that nobody has taken. */
typedef struct Signal
{
	NullableDatum id;
	NullableDatum name;
	NullableDatum output;		/* of the wait: the payload, with the name if that waits for several */
	TimestampTz sent_at;
} Signal;

/*
 * Signals that other waits are about to take, by name: up to the last one that was
 * found so, all of that name are.  {0}: none.
 */
typedef struct BusySignals
{
	int			count;
	struct BusySignal
	{
		NullableDatum name;
		pg_uuid_t	last;
	}		   *of;
} BusySignals;

/* signal_take.c */
extern bool next_signal(const Step *wait, const BusySignals *busy, Signal *signal);
extern bool begin_taking(struct Look *look, NullableDatum workflow_id, NullableDatum id);
extern bool take_signal(const struct Look *look, NullableDatum sequence);
extern void append_busy(BusySignals *busy, NullableDatum name, const pg_uuid_t *id);

/* signal_settled.c */
extern pg_uuid_t settled_before(const pg_uuid_t *workflow_id, Datum name, bool *can_settle);
extern void saw_first(const pg_uuid_t *workflow_id, Datum name, const pg_uuid_t *first, bool can_settle);
extern void forget_settled(void);

/*
 * For a statement that takes the signal :signal_id, if not NULL, with the position
 * :sequence of workflow :workflow_id.  It does not wait for one that another wait is about to
 * take.  The wait's row is written if SIGNAL_IS_FREE; taker is the part that has done so.
 */
#define FREE_SIGNAL \
	"free AS MATERIALIZED (" \
	"  SELECT g.id FROM durable.signal g " \
	"  WHERE g.workflow_id = :workflow_id AND g.id = :signal_id AND " CHECKED("g.sequence IS NULL") " " \
	"  FOR NO KEY UPDATE SKIP LOCKED)"
#define SIGNAL_IS_FREE "(:signal_id IS NULL OR EXISTS (SELECT 1 FROM free))"
#define TAKE_FREE_SIGNAL(taker) \
	"taken AS (" \
	"  UPDATE durable.signal g SET sequence = :sequence FROM free f " \
	"  WHERE g.workflow_id = :workflow_id AND g.id = f.id AND EXISTS (SELECT 1 FROM " taker ") RETURNING 1) "

#endif							/* DURABLE_SIGNAL_H */
