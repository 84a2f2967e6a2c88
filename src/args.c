/*-------------------------------------------------------------------------
 *
 * args.c
 *	  Arguments: what a caller may pass, checked before anything is read.
 *
 * NULL where a value is needed is 22004, any other bad value 22023; both name
 * the argument.  require_* want a value, check_* accept NULL.
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"
#include "clock.h"
#include "ids.h"
#include "refusal.h"

#include <math.h>

#include "access/detoast.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* Raises 22023, "argument %s %s"; detail says what the value is, hint what to pass. */
void
bad_argument(const char *name, const char *what, const char *detail, const char *hint)
{
	raise_refusal(refuse_argument(name, what, detail, hint));
}

void
require(NullableDatum arg, const char *name)
{
	if (arg.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", name),
				 errdetail("There is nothing that NULL could mean here."),
				 errhint("Pass a value.")));
}

/* A name that has at most so many bytes. */
void
check_name_of(NullableDatum arg, const char *name, int most)
{
	Size		len;

	if (arg.isnull)
		return;
	/* does not read the value, which may be long and stored elsewhere */
	len = toast_raw_datum_size(arg.value) - VARHDRSZ;
	if (len < 1 || len > most)
		bad_argument(name, psprintf("must be 1 to %d bytes long", most),
					 psprintf("It is %zu bytes long.", len),
					 "Pass a short name; what is long belongs into the input.");
}

/* Names, handlers, queue names, executor ids and topics are 1 to 1024 bytes. */
void
check_name(NullableDatum arg, const char *name)
{
	check_name_of(arg, name, MAX_NAME_BYTES);
}

void
require_name(NullableDatum arg, const char *name)
{
	require(arg, name);
	check_name(arg, name);
}

/* What means something in a queue only. */
void
check_needs_queue(bool given, const char *name, NullableDatum queue, const char *hint)
{
	if (given && queue.isnull)
		bad_argument(name, "needs a queue", "\"queue\" is NULL.", hint);
}

/* A concurrency key has the length of a name. */
void
check_key(NullableDatum key, const char *name, NullableDatum queue)
{
	check_name(key, name);
	check_needs_queue(!key.isnull, name, queue, "Pass a queue, which limits how many workflows of a key run at once.");
}

/* Tags are an object, or NULL for none. */
void
check_tags(NullableDatum tags, const char *name)
{
	if (!tags.isnull && !JB_ROOT_IS_OBJECT(DatumGetJsonbP(tags.value)))
		bad_argument(name, "must be an object",
					 psprintf("It is %s.", JB_ROOT_IS_SCALAR(DatumGetJsonbP(tags.value)) ? "a scalar" : "an array"),
					 "Pass an object, by whose members workflows are searched, or NULL for none.");
}

/* NULL if a number is in that range; both ends are allowed. */
static Refusal *
refuse_number(int64 value, const char *name, int32 least, int64 most)
{
	if (value >= least && value <= most)
		return NULL;
	return refuse_argument(name,
						   most >= PG_INT32_MAX ? psprintf("must be at least %d", least) :
						   psprintf("must be %d to %d", least, (int) most),
						   psprintf("It is %lld.", (long long) value), "Pass a number in that range.");
}

static void
check_range(int64 value, const char *name, int32 least, int64 most)
{
	Refusal    *refusal = refuse_number(value, name, least, most);

	if (refusal)
		raise_refusal(refusal);
}

static void
check_int(NullableDatum arg, const char *name, int32 least, int32 most)
{
	if (!arg.isnull)
		check_range(DatumGetInt32(arg.value), name, least, most);
}

/* For batches, which answer it. */
Refusal *
refuse_sequence(int32 sequence, const char *name)
{
	return refuse_number(sequence, name, 0, MAX_SEQUENCE);
}

void
require_not_negative(NullableDatum arg, const char *name)
{
	require(arg, name);
	check_int(arg, name, 0, PG_INT32_MAX);
}

void
require_not_negative_bigint(NullableDatum arg, const char *name)
{
	require(arg, name);
	check_range(DatumGetInt64(arg.value), name, 0, PG_INT64_MAX);
}

/* A limit: at least 1, or NULL for none. */
void
check_limit(NullableDatum arg, const char *name)
{
	check_int(arg, name, 1, PG_INT32_MAX);
}

void
require_sequence(NullableDatum sequence)
{
	require(sequence, "sequence");
	check_int(sequence, "sequence", 0, MAX_SEQUENCE);
}

/* The first of so many positions: the last one must be a position, too. */
void
require_sequences(NullableDatum first, int count)
{
	require(first, "first_sequence");
	check_int(first, "first_sequence", 0, MAX_SEQUENCE - Max(count - 1, 0));
}

/* An array in one dimension, in which NULL stands for no value.  Returns how many elements it has. */
static int
check_elements(NullableDatum arg, const char *name)
{
	ArrayType  *array = DatumGetArrayTypeP(arg.value);

	if (ARR_NDIM(array) > 1)
		bad_argument(name, "must have one dimension",
					 psprintf("It has %d.", ARR_NDIM(array)), "Pass a plain array.");
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/* An array beside another one: NULL, or of the same length. */
void
check_array_beside(NullableDatum arg, const char *name, int count, const char *other)
{
	int			own;

	if (arg.isnull)
		return;
	own = check_elements(arg, name);
	if (own != count)
		bad_argument(name, psprintf("must be as long as \"%s\"", other),
					 psprintf("They have %d and %d elements.", own, count),
					 "Pass one element for each of the other.");
}

/* An array of values, in one dimension.  Returns how many they are. */
int
check_array(NullableDatum arg, const char *name)
{
	ArrayType  *array;

	if (arg.isnull)
		return 0;
	array = DatumGetArrayTypeP(arg.value);
	if (array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not contain NULL", name),
				 errdetail("There is nothing that NULL could mean here."),
				 errhint("Pass values only.")));
	return check_elements(arg, name);
}

/* The array of a batch: values, and not too many.  Returns how many they are. */
int
require_batch(NullableDatum arg, const char *name)
{
	int			count;

	require(arg, name);
	count = check_array(arg, name);
	if (count > MAX_BATCH)
		bad_argument(name, psprintf("must have at most %d elements", MAX_BATCH),
					 psprintf("It has %d.", count), "Make several calls.");
	return count;
}

static char *
interval_text(NullableDatum arg)
{
	return DatumGetCString(DirectFunctionCall1(interval_out, arg.value));
}

/* A length of time: finite, and not negative wherever in the calendar it begins. */
void
check_span(NullableDatum arg, const char *name)
{
	const Interval *interval;

	if (arg.isnull)
		return;
	interval = DatumGetIntervalP(arg.value);
	if (INTERVAL_NOT_FINITE(interval))
		bad_argument(name, "must be finite", psprintf("It is %s.", interval_text(arg)),
					 "Pass a length of time.");
	if (interval_least_seconds(interval) < 0)
		bad_argument(name, "must not be negative",
					 psprintf(interval_seconds(interval) < 0 ? "It is %s." :
							  "It is %s, and negative where a month or a day is short.", interval_text(arg)),
					 "Pass a length of time, 0 or longer.");
}

/*
 * A length of time that can be added to a timestamp.  Months, days and time are
 * added one after the other, so none of them may be too long by itself.
 */
void
check_interval(NullableDatum arg, const char *name)
{
	const double most = (double) MAX_SPAN_YEARS * 366 * SECS_PER_DAY;
	const Interval *interval;

	check_span(arg, name);
	if (arg.isnull)
		return;
	interval = DatumGetIntervalP(arg.value);
	if (interval_seconds(interval) > most || (double) interval->month > MAX_SPAN_YEARS * MONTHS_PER_YEAR ||
		(double) interval->day * SECS_PER_DAY > most || (double) interval->time / USECS_PER_SEC > most)
		bad_argument(name, psprintf("must not be longer than %d years", MAX_SPAN_YEARS),
					 psprintf("It is %s.", interval_text(arg)),
					 "Pass a shorter length of time, or NULL where there is to be none.");
}

/* max_retries, backoff, backoff_multiplier, max_backoff. */
RetryPolicy
require_retry_policy(const NullableDatum *from_max_retries)
{
	RetryPolicy policy = {
		.max_retries = from_max_retries[0],.backoff = from_max_retries[1],
		.backoff_multiplier = from_max_retries[2],.max_backoff = from_max_retries[3]
	};

	require_not_negative(policy.max_retries, "max_retries");
	require(policy.backoff, "backoff");
	check_span(policy.backoff, "backoff");
	require(policy.backoff_multiplier, "backoff_multiplier");
	if (!isfinite(DatumGetFloat8(policy.backoff_multiplier.value)) ||
		DatumGetFloat8(policy.backoff_multiplier.value) < 0)
		bad_argument("backoff_multiplier", "must be finite and not negative",
					 psprintf("It is %g.", DatumGetFloat8(policy.backoff_multiplier.value)),
					 "Pass 1 for a constant backoff, more for one that grows.");
	check_span(policy.max_backoff, "max_backoff");

	/* a policy that allows no retry is not stored */
	if (!has_retries(&policy))
		policy.backoff = policy.backoff_multiplier = policy.max_backoff = a_null();
	return policy;
}

bool
has_retries(const RetryPolicy *policy)
{
	return DatumGetInt32(policy->max_retries.value) > 0;
}

/* A time at which something is to run. */
void
check_run_at(NullableDatum run_at)
{
	if (!run_at.isnull && TIMESTAMP_NOT_FINITE(DatumGetTimestampTz(run_at.value)))
		bad_argument("run_at", "must be finite", "It is infinity, or minus infinity.",
					 "Pass a time, or NULL for now.");
}

/* The same for a workflow that is started in a queue, or in none. */
void
check_run_at_in(NullableDatum run_at, NullableDatum queue)
{
	check_needs_queue(!run_at.isnull, "run_at", queue,
					  "Pass a queue, whose executors claim the workflow when its time has come.");
	check_run_at(run_at);
}

/* A time by the calendar of clients: 0001-01-01 to 9999-12-31. */
void
check_time(NullableDatum arg, const char *name)
{
	const TimestampTz least = (TimestampTz) (date2j(1, 1, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;
	const TimestampTz most = (TimestampTz) (date2j(10000, 1, 1) - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY;

	if (!arg.isnull && (DatumGetTimestampTz(arg.value) < least || DatumGetTimestampTz(arg.value) >= most))
		bad_argument(name, "must be in the years 1 to 9999",
					 psprintf("It is %s.", timestamptz_to_str(DatumGetTimestampTz(arg.value))),
					 "Pass a time in between, or NULL where there is to be none.");
}

/* One of some names; returns its position. */
int
require_choice(NullableDatum arg, const char *name, const char *const *choices, int count)
{
	StringInfoData all;

	require(arg, name);
	initStringInfo(&all);
	for (int i = 0; i < count; i++)
	{
		if (strcmp(TextDatumGetCString(arg.value), choices[i]) == 0)
			return i;
		appendStringInfo(&all, "%s%s", i == 0 ? "" : i == count - 1 ? " or " : ", ", choices[i]);
	}
	bad_argument(name, psprintf("must be %s", all.data), psprintf("It is \"%s\".", TextDatumGetCString(arg.value)),
				 "Pass one of these.");
}

/* What is to be done with a schedule, or a queue, that is there already. */
IfExists
require_if_exists(NullableDatum arg)
{
	static const char *const names[] = {"refuse", "keep", "alter"};

	return (IfExists) require_choice(arg, "if_exists", names, lengthof(names));
}
