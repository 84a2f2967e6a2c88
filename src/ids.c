/*-------------------------------------------------------------------------
 *
 * ids.c
 *	  Identity: ids are UUIDs of version 7 that carry bucket and position.
 *
 *	byte  0 .. 5	milliseconds since the Unix epoch
 *	byte  6 .. 7	version (4 bits), fraction of the millisecond (12 bits)
 *	byte  8 .. 9	variant (2 bits), bucket (12 bits), random (2 bits)
 *	byte 10 .. 12	random (24 bits)
 *	byte 13 .. 15	position: 0 for a workflow, sequence + 1 for a step
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"
#include "clock.h"
#include "ids.h"
#include "refusal.h"

#include "catalog/namespace.h"
#include "common/pg_prng.h"
#include "mb/pg_wchar.h"
#include "port/pg_crc32c.h"
#include "utils/builtins.h"

#define NS_PER_MS INT64CONST(1000000)

PG_FUNCTION_INFO_V1(durable_step_id);
PG_FUNCTION_INFO_V1(durable_bucket_name);
PG_FUNCTION_INFO_V1(durable_bucket_id);

/* The time in an id: its first 48 bits, in milliseconds. */
static int64
ms_of(const pg_uuid_t *id)
{
	int64		ms = 0;

	for (int i = 0; i < 6; i++)
		ms = (ms << 8) | id->data[i];
	return ms;
}

static void
set_ms(pg_uuid_t *id, int64 ms)
{
	for (int i = 0; i < 6; i++)
		id->data[i] = (uint8) (ms >> (8 * (5 - i)));
}

/*
 * Makes the id of a workflow.  Two ids of one session are never equal and sort
 * in the order in which they were made, unless its clock went back by more
 * than a second; ids of different sessions that are made in the same quarter
 * of a microsecond differ by 26 random bits, and by the check of the primary
 * key.
 */
void
new_workflow_id(int64 ns, int32 bucket, pg_uuid_t *id)
{
	static int64 last = 0;
	int64		ticks = (ns / NS_PER_MS) * 4096 + (ns % NS_PER_MS) * 4096 / NS_PER_MS;
	int64		ms;
	uint32		random = pg_prng_uint32(&pg_global_prng_state);

	if (ticks <= last && last - ticks < INT64CONST(4096) * 1000)
		ticks = last + 1;
	last = ticks;
	ms = ticks / 4096;

	set_ms(id, ms);
	id->data[6] = (uint8) (0x70 | ((ticks >> 8) & 0x0F));
	id->data[7] = (uint8) (ticks & 0xFF);
	id->data[8] = (uint8) (0x80 | (bucket >> 6));
	id->data[9] = (uint8) (((bucket & 0x3F) << 2) | (random >> 24 & 0x03));
	id->data[10] = (uint8) (random >> 16);
	id->data[11] = (uint8) (random >> 8);
	id->data[12] = (uint8) random;
	memset(&id->data[13], 0, 3);
}

/* The time that an id carries, so that created_at and id sort alike. */
TimestampTz
id_created_at(const pg_uuid_t *id)
{
	int64		fraction = ((int64) (id->data[6] & 0x0F) << 8) | id->data[7];

	return clock_timestamp_of(ms_of(id) * NS_PER_MS + fraction * NS_PER_MS / 4096);
}

/* The least id that was made so many milliseconds before another. */
pg_uuid_t
id_before(const pg_uuid_t *id, int64 ms)
{
	pg_uuid_t	before = {0};

	set_ms(&before, Max(ms_of(id) - ms, 0));
	return before;
}

static bool
is_ascii(const char *s, int len)
{
	for (int i = 0; i < len; i++)
		if (IS_HIGHBIT_SET(s[i]))
			return false;
	return true;
}

/*
 * A name in UTF-8; len becomes its length there.  ASCII is the same in all of the
 * server's encodings, and bytes of no known encoding (SQL_ASCII) must be UTF-8.
 */
static const char *
name_in_utf8(const char *name, int *len, const char *argument)
{
	int			encoding = GetDatabaseEncoding();
	unsigned char *utf8;
	int			path;
	Oid			conversion;

	if (encoding == PG_UTF8 || is_ascii(name, *len))
		return name;
	if (encoding == PG_SQL_ASCII)
	{
		if (pg_verify_mbstr(PG_UTF8, name, *len, true))
			return name;
	}
	else
	{
		path = pin_search_path();
		conversion = FindDefaultConversionProc(encoding, PG_UTF8);
		unpin_search_path(path);
		utf8 = palloc(*len * MAX_CONVERSION_GROWTH + 1);
		if (OidIsValid(conversion) &&
			pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8, (unsigned char *) name, *len,
										  utf8, *len * MAX_CONVERSION_GROWTH + 1, true) == *len)
		{
			*len = (int) strlen((char *) utf8);
			return (char *) utf8;
		}
	}
	bad_argument(argument, "must have a form in UTF-8",
				 psprintf("The database is in %s, from which it cannot be converted.", GetDatabaseEncodingName()),
				 "Pass a name in ASCII, or use a database in UTF8.");
}

/* The bucket of a root's name: top 12 bits of its CRC-32C in UTF-8. */
int32
name_bucket(const char *name, int len, const char *argument)
{
	const char *utf8 = name_in_utf8(name, &len, argument);
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, utf8, len);
	FIN_CRC32C(crc);
	return (int32) (crc >> 20);
}

int32
id_bucket(const pg_uuid_t *id)
{
	return ((id->data[8] & 0x3F) << 6) | (id->data[9] >> 2);
}

/* The workflow of a step's id; a workflow's id is its own. */
void
id_workflow(const pg_uuid_t *id, pg_uuid_t *workflow_id)
{
	*workflow_id = *id;
	memset(&workflow_id->data[13], 0, 3);
}

void
id_step(const pg_uuid_t *workflow_id, int32 sequence, pg_uuid_t *step_id)
{
	int32		position = sequence + 1;

	*step_id = *workflow_id;
	step_id->data[13] = (uint8) (position >> 16);
	step_id->data[14] = (uint8) (position >> 8);
	step_id->data[15] = (uint8) position;
}

/* step_id(workflow_id uuid, sequence int) returns uuid */
Datum
durable_step_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *workflow_id;
	pg_uuid_t  *step_id = palloc(sizeof(pg_uuid_t));

	require(fcinfo->args[0], "workflow_id");
	require_sequence(fcinfo->args[1]);
	workflow_id = PG_GETARG_UUID_P(0);
	if (id_sequence(workflow_id) >= 0)
		bad_argument("workflow_id", "must be the id of a workflow",
					 psprintf("%s is the id of a step: its last 24 bits are not 0.", uuid_text(workflow_id)),
					 "Pass the id of the step's workflow.");
	id_step(workflow_id, PG_GETARG_INT32(1), step_id);
	PG_RETURN_UUID_P(step_id);
}

/* bucket(name text) returns int */
Datum
durable_bucket_name(PG_FUNCTION_ARGS)
{
	text	   *name;

	require_name(fcinfo->args[0], "name");
	name = PG_GETARG_TEXT_PP(0);
	PG_RETURN_INT32(name_bucket(VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), "name"));
}

/* bucket(task_id uuid) returns int */
Datum
durable_bucket_id(PG_FUNCTION_ARGS)
{
	require(fcinfo->args[0], "task_id");
	PG_RETURN_INT32(id_bucket(PG_GETARG_UUID_P(0)));
}
