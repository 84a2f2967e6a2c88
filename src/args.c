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
#include "durable.h"

#include "access/detoast.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define MAX_NAME_BYTES	1024

/* A deadline must fit into a timestamp that every client can read. */
#define MAX_SPAN_YEARS	1000

void
bad_argument(const char *name, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" %s", name, what)));
}

void
require(NullableDatum arg, const char *name)
{
	if (arg.isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be NULL", name)));
}

/* Names, handlers, queue names and executor ids are 1 to 1024 bytes. */
void
check_name(NullableDatum arg, const char *name)
{
	Size		len;

	if (arg.isnull)
		return;
	/* does not read the value, which may be long and stored elsewhere */
	len = toast_raw_datum_size(arg.value) - VARHDRSZ;
	if (len < 1 || len > MAX_NAME_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be 1 to %d bytes long", name, MAX_NAME_BYTES),
				 errdetail("It is %zu bytes long.", len)));
}

void
require_name(NullableDatum arg, const char *name)
{
	require(arg, name);
	check_name(arg, name);
}

void
check_not_negative(NullableDatum arg, const char *name)
{
	if (!arg.isnull && DatumGetInt32(arg.value) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", name),
				 errdetail("It is %d.", DatumGetInt32(arg.value))));
}

void
require_not_negative(NullableDatum arg, const char *name)
{
	require(arg, name);
	check_not_negative(arg, name);
}

void
require_sequence(NullableDatum sequence)
{
	require(sequence, "sequence");
	if (DatumGetInt32(sequence.value) < 0 || DatumGetInt32(sequence.value) > MAX_SEQUENCE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be 0 to %d", "sequence", MAX_SEQUENCE),
				 errdetail("It is %d.", DatumGetInt32(sequence.value))));
}

/* A length of time, however long. */
void
check_span(NullableDatum arg, const char *name)
{
	if (!arg.isnull && interval_seconds(DatumGetIntervalP(arg.value)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", name),
				 errdetail("It is %s.",
						   DatumGetCString(DirectFunctionCall1(interval_out, arg.value)))));
}

/* A length of time that a timestamp can be moved by. */
void
check_interval(NullableDatum arg, const char *name)
{
	check_span(arg, name);
	if (!arg.isnull &&
		interval_seconds(DatumGetIntervalP(arg.value)) > (double) MAX_SPAN_YEARS * 366 * SECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be longer than %d years", name, MAX_SPAN_YEARS)));
}
