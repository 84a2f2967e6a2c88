/*-------------------------------------------------------------------------
 *
 * args.h
 *	  Arguments, and what a caller may pass (args.c).
 *
 *-------------------------------------------------------------------------
 */
#ifndef DURABLE_ARGS_H
#define DURABLE_ARGS_H

#include "clock.h"

/* setting */
extern bool durable_require_fences;

/* So long a name may be. */
#define MAX_NAME_BYTES	1024

/* A batch has at most so many elements, since it may take a lock for each. */
#define MAX_BATCH 1000

/* What create_queue and create_schedule do with one that is there already, with other settings. */
typedef enum IfExists
{
	EXISTING_REFUSED,
	EXISTING_KEPT,
	EXISTING_ALTERED
} IfExists;

extern RetryPolicy require_retry_policy(const NullableDatum *from_max_retries);
extern bool has_retries(const RetryPolicy *policy);

/* Whether what has failed may be tried again, after so many retries; NULL is none. */
static inline bool
has_retry_left(const RetryPolicy *policy, int32 retries)
{
	return !policy->max_retries.isnull && retries < DatumGetInt32(policy->max_retries.value);
}

extern void check_tags(NullableDatum tags, const char *name);
extern void check_needs_queue(bool given, const char *name, NullableDatum queue, const char *hint);
extern IfExists require_if_exists(NullableDatum arg);
extern void require(NullableDatum arg, const char *name);
extern void require_fence(NullableDatum lease, const char *name);
extern void require_fences(const pg_uuid_t *task_id, NullableDatum lease, const char *lease_name,
						   NullableDatum attempt, const char *attempt_name);
extern void require_name(NullableDatum arg, const char *name);
extern void check_name(NullableDatum arg, const char *name);
extern void check_key(NullableDatum key, const char *name, NullableDatum queue);
extern void check_name_of(NullableDatum arg, const char *name, int most);
extern void require_sequence(NullableDatum sequence);
extern struct Refusal *refuse_sequence(int32 sequence, const char *name);
extern void require_not_negative(NullableDatum arg, const char *name);
extern void require_not_negative_bigint(NullableDatum arg, const char *name);
extern void check_limit(NullableDatum arg, const char *name);
extern void check_span(NullableDatum arg, const char *name);
extern void check_interval(NullableDatum arg, const char *name);
extern void check_run_at(NullableDatum run_at);
extern void check_run_at_in(NullableDatum run_at, NullableDatum queue);
extern void check_time(NullableDatum arg, const char *name);
extern int	require_choice(NullableDatum arg, const char *name, const char *const *choices, int count);
extern void require_sequences(NullableDatum first, int count);
extern int	check_array(NullableDatum arg, const char *name);
extern void check_array_beside(NullableDatum arg, const char *name, int count, const char *other);
extern int	require_batch(NullableDatum arg, const char *name);
pg_noreturn extern void bad_argument(const char *name, const char *what, const char *detail, const char *hint);

#endif							/* DURABLE_ARGS_H */
