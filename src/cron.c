/*-------------------------------------------------------------------------
 *
 * cron.c
 *	  A line of cron, and the times at which it comes.
 *
 * Nothing here reads a table.  A time zone is the server's own: pg_next_dst_boundary
 * tells how long an offset from UTC holds.  So time is a row of spans, in each of
 * which the local time goes on evenly, and only the calendar is searched: a year
 * without a match costs a few hundred steps, not half a million minutes.
 *
 * Where the clocks change (as Debian's cron does it):
 *
 *	- a line whose minute or hour begins with * goes by the wall clock: it comes
 *	  whenever the clock on the wall shows such a time.  What is skipped does not
 *	  come, what is shown twice comes twice.
 *	- any other line comes once for each such time.  One that is skipped comes at the
 *	  first moment after the gap, one that is shown twice the first time.
 *
 *-------------------------------------------------------------------------
 */
#include "args.h"
#include "clock.h"
#include "cron.h"

#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* ---- the line ------------------------------------------------------------------- */

typedef struct FieldRule
{
	const char *name;
	int			least;
	int			most;
	const char *labels;			/* of three letters each, the first for the least value */
} FieldRule;

static const FieldRule rules[] = {
	[CRON_SECOND] = {"second", 0, 59, ""},
	[CRON_MINUTE] = {"minute", 0, 59, ""},
	[CRON_HOUR] = {"hour", 0, 23, ""},
	[CRON_DAY] = {"day of month", 1, 31, ""},
	[CRON_MONTH] = {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
	[CRON_WEEKDAY] = {"day of week", 0, 7, "sunmontuewedthufrisat"},
};

/* The field that is being read. */
typedef struct FieldText
{
	const FieldRule *rule;
	const char *text;			/* all of it, for messages */
	const char *at;				/* what is left of it */
} FieldText;

pg_noreturn static void
bad_field(const FieldText *field, const char *wrong)
{
	bad_argument("cron", psprintf("has a bad %s \"%s\"", field->rule->name, field->text), wrong,
				 "See crontab(5): *, numbers, names, lists (1,15), ranges (mon-fri), and steps of * or of a range (*/5).");
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static char *
upto(const char *from, const char *to)
{
	return pnstrdup(from, to - from);
}

/* A number; one that is far too large stays so. */
static int
read_number(FieldText *field)
{
	int			n = 0;

	for (; is_digit(*field->at); field->at++)
		n = Min(n * 10 + (*field->at - '0'), 1000000);
	return n;
}

/* A number or a name; *is_name tells which. */
static int
read_value(FieldText *field, bool *is_name)
{
	const FieldRule *rule = field->rule;
	const char *begin = field->at;
	int			value = -1;

	*is_name = is_letter(*begin);
	if (*is_name)
	{
		while (is_letter(*field->at))
			field->at++;
		for (Size i = 0; rule->labels[3 * i]; i++)
			if (field->at - begin == 3 && pg_strncasecmp(begin, &rule->labels[3 * i], 3) == 0)
				value = rule->least + (int) i;
		if (value < 0)
			bad_field(field, psprintf("\"%s\" is no name of a %s.", upto(begin, field->at),
									  *rule->labels ? rule->name : "value of this field"));
	}
	else if (is_digit(*begin))
	{
		value = read_number(field);
		if (value < rule->least || value > rule->most)
			bad_field(field, psprintf("%s is not in the range %d to %d.", upto(begin, field->at), rule->least, rule->most));
	}
	else if (*begin == '\0')
		bad_field(field, "It ends where a value should be.");
	else if (*begin == ',')
		bad_field(field, "An element of the list is empty.");
	else
		bad_field(field, psprintf("There is no value at \"%s\".", begin));
	return value;
}

/* * or a range, with or without a step, or a value: the bits of what it allows. */
static uint64
read_element(FieldText *field)
{
	const FieldRule *rule = field->rule;
	int			low = rule->least;
	int			high = rule->most;
	int			step = 1;
	bool		is_name;
	bool		is_range = true;
	uint64		bits = 0;

	if (*field->at == '*')
		field->at++;
	else
	{
		high = low = read_value(field, &is_name);
		is_range = *field->at == '-';
		if (is_range)
		{
			field->at++;
			high = read_value(field, &is_name);
			/* fri-sun: at the end of a week, Sunday is its seventh day */
			if (field->rule == &rules[CRON_WEEKDAY] && is_name && high == 0 && low > 0)
				high = 7;
			if (high < low)
				bad_field(field, psprintf("The range from %d to %d goes backwards.", low, high));
		}
	}
	if (*field->at == '/')
	{
		int			most = rule->most - rule->least + 1 - (rule->most == 7 ? 1 : 0);

		if (!is_range)
			bad_field(field, "A step goes with * or a range only.");
		field->at++;
		if (!is_digit(*field->at))
			bad_field(field, "There is no number of a step after \"/\".");
		step = read_number(field);
		if (step < 1 || step > most)
			bad_field(field, psprintf("A step of %d is not in the range 1 to %d.", step, most));
	}
	for (int value = low; value <= high; value += step)
		bits |= UINT64CONST(1) << value;
	return bits;
}

/* A field; *is_any tells whether it begins with *. */
static uint64
read_field(CronField number, const char *text, bool *is_any)
{
	FieldText	field = {.rule = &rules[number],.text = text,.at = text};
	uint64		bits = read_element(&field);

	*is_any = *text == '*';
	while (*field.at == ',')
	{
		field.at++;
		bits |= read_element(&field);
	}
	if (*field.at != '\0')
		bad_field(&field, psprintf("\"%s\" does not belong there.", field.at));
	/* both 0 and 7 are Sunday */
	if (number == CRON_WEEKDAY && (bits & (1 << 7)))
		bits = (bits | 1) & 0x7f;
	return bits;
}

static bool
allows(const Cron *cron, CronField field, int value)
{
	return (cron->values[field] & (UINT64CONST(1) << value)) != 0;
}

/* Raises an error if no month that is allowed has a day that is. */
static void
require_some_day(const Cron *cron, char *const *texts)
{
	static const int longest[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	FieldText	day = {.rule = &rules[CRON_DAY],.text = texts[CRON_DAY]};

	if (!cron->any_day)
		return;					/* a day of the week will do */
	for (int month = 1; month <= MONTHS_PER_YEAR; month++)
		for (int i = 1; allows(cron, CRON_MONTH, month) && i <= longest[month - 1]; i++)
			if (allows(cron, CRON_DAY, i))
				return;
	bad_field(&day, psprintf("No month \"%s\" has such a day, so it would never come.", texts[CRON_MONTH]));
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Cuts a line into its fields, up to so many; returns how many there are. */
static int
split(const char *line, char **fields, int most)
{
	int			count = 0;

	for (;;)
	{
		const char *begin;

		while (is_blank(*line))
			line++;
		if (*line == '\0')
			return count;
		begin = line;
		while (*line != '\0' && !is_blank(*line))
			line++;
		if (count < most)
			fields[count] = upto(begin, line);
		count++;
	}
}

static void
parse_fields(const char *line, Cron *cron)
{
	char	   *fields[CRON_FIELDS];
	int			count = split(line, fields, CRON_FIELDS);
	char	  **texts = fields;
	char	   *five[CRON_FIELDS];
	bool		is_any[CRON_FIELDS];

	if (count == CRON_FIELDS - 1)
	{
		five[CRON_SECOND] = "0";
		memcpy(&five[CRON_MINUTE], fields, (CRON_FIELDS - 1) * sizeof(char *));
		texts = five;
	}
	else if (count != CRON_FIELDS)
		bad_argument("cron", "must have five fields, or six with seconds first",
					 psprintf("\"%s\" has %d.", line, count),
					 "Pass minute, hour, day of month, month and day of week, or @hourly, @daily, @weekly, @monthly, @yearly, "
					 "or @every and an interval.");
	for (CronField field = CRON_SECOND; field < CRON_FIELDS; field++)
		cron->values[field] = read_field(field, texts[field], &is_any[field]);
	cron->any_day = is_any[CRON_DAY] || is_any[CRON_WEEKDAY];
	cron->by_wall_clock = is_any[CRON_MINUTE] || is_any[CRON_HOUR];
	require_some_day(cron, texts);
}

/* @every: what follows must be whole seconds, a day being 24 hours. */
static void
parse_every(const char *line, const char *length, Cron *cron)
{
	Interval	interval;
	const char *wrong = NULL;

	if (!read_interval(length, &interval))
		wrong = "is not an interval";
	else if (INTERVAL_NOT_FINITE(&interval))
		wrong = "is infinite";
	else if (interval.month != 0)
		wrong = "has months, which are not equally long";
	else if (interval_seconds(&interval) < 1)
		wrong = "is shorter than a second";
	else if (interval.time % USECS_PER_SEC != 0)
		wrong = "is not a number of whole seconds";
	else if (interval_seconds(&interval) > (double) 1000 * 366 * SECS_PER_DAY)
		wrong = "is longer than 1000 years";
	if (wrong)
		bad_argument("cron", psprintf("has a bad interval \"%s\"", length), psprintf("\"%s\" %s.", length, wrong),
					 "Pass @every and an interval of at least a second, of days, hours, minutes and seconds.");
	cron->every = (int64) interval.day * SECS_PER_DAY + interval.time / USECS_PER_SEC;
}

/* Reads a line of cron; raises an error that shows the field, and what is wrong in it. */
void
parse_cron(const char *line, Cron *cron)
{
	static const char *const names[][2] = {
		{"@hourly", "0 * * * *"}, {"@daily", "0 0 * * *"}, {"@weekly", "0 0 * * 0"},
		{"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"}
	};
	char	   *first;
	int			count = split(line, &first, 1);
	const char *every = strstr(line, "@every");

	memset(cron, 0, sizeof(Cron));
	if (count > 1 && strcmp(first, "@every") == 0)
	{
		for (every += strlen("@every"); is_blank(*every);)
			every++;
		parse_every(line, every, cron);
		return;
	}
	if (count > 0 && *first == '@')
	{
		for (int i = 0; i < lengthof(names); i++)
			if (count == 1 && strcmp(first, names[i][0]) == 0)
			{
				parse_fields(names[i][1], cron);
				return;
			}
		bad_argument("cron", psprintf("has no such name \"%s\"", line), "No line that begins with @ is called so.",
					 "Pass @hourly, @daily, @weekly, @monthly or @yearly, or @every and an interval.");
	}
	parse_fields(line, cron);
}

/* ---- the calendar ------------------------------------------------------------------ */

/* The last second that clients can read: 9999-12-31 23:59:59+00. */
#define LAST_SECOND INT64CONST(253402300799)

/*
 * Local times are seconds, too: what UTC would be if it showed the same.  Days
 * are those since 1970-01-01.
 */
static int64
day_of(int64 local)
{
	return local >= 0 ? local / SECS_PER_DAY : -((-local + SECS_PER_DAY - 1) / SECS_PER_DAY);
}

/* Whether a day is allowed; if its month is not, *next is the first day of the next month, else the day after. */
static bool
is_allowed_day(const Cron *cron, int64 day, int64 *next)
{
	int			julian = (int) day + UNIX_EPOCH_JDATE;
	int			year;
	int			month;
	int			mday;
	bool		fits_day;
	bool		fits_weekday;

	j2date(julian, &year, &month, &mday);
	*next = day + 1;
	if (!allows(cron, CRON_MONTH, month))
	{
		*next = date2j(month == MONTHS_PER_YEAR ? year + 1 : year, month % MONTHS_PER_YEAR + 1, 1) - UNIX_EPOCH_JDATE;
		return false;
	}
	fits_day = allows(cron, CRON_DAY, mday);
	fits_weekday = allows(cron, CRON_WEEKDAY, j2day(julian));
	return cron->any_day ? fits_day && fits_weekday : fits_day || fits_weekday;
}

/* The first allowed second of a day, from one on; -1 if there is none. */
static int
second_of_day(const Cron *cron, int from)
{
	for (int hour = from / SECS_PER_HOUR; hour < HOURS_PER_DAY; hour++)
	{
		if (!allows(cron, CRON_HOUR, hour))
			continue;
		for (int minute = 0; minute < MINS_PER_HOUR; minute++)
		{
			int			begin = hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE;

			if (!allows(cron, CRON_MINUTE, minute) || begin + SECS_PER_MINUTE <= from)
				continue;
			for (int second = 0; second < SECS_PER_MINUTE; second++)
				if (allows(cron, CRON_SECOND, second) && begin + second >= from)
					return begin + second;
		}
	}
	return -1;
}

/* The first allowed local time from one on, before the end. */
static bool
first_local(const Cron *cron, int64 from, int64 end, int64 *found)
{
	int64		next;

	for (int64 day = day_of(from); day * SECS_PER_DAY < end; day = next)
	{
		int64		midnight = day * SECS_PER_DAY;
		int			second;

		if (!is_allowed_day(cron, day, &next))
			continue;
		second = second_of_day(cron, (int) Max(from - midnight, 0));
		if (second >= 0)
		{
			*found = midnight + second;
			return *found < end;
		}
	}
	return false;
}

/* ---- the clock on the wall ------------------------------------------------------------ */

/* Offsets from UTC differ by less than that: what was shown before has no bearing. */
#define LOOK_BACK (INT64CONST(2) * SECS_PER_DAY)

/*
 * The first second after one at which a line comes, not by @every.
 *
 * Goes from span to span.  shown is how far the clock on the wall has been: a span
 * that begins behind it shows times again, one that begins beyond it has skipped
 * some.
 */
static bool
next_by_clock(const Cron *cron, const pg_tz *zone, int64 after, int64 *next)
{
	pg_time_t	begin = after - LOOK_BACK;
	int64		shown = PG_INT64_MAX;	/* not known in the first span, where it does not matter */
	bool		is_last = false;

	while (!is_last)
	{
		long int	offset;
		long int	next_offset;
		int			is_dst;
		pg_time_t	end;
		int64		from;
		int64		found;

		CHECK_FOR_INTERRUPTS();
		is_last = pg_next_dst_boundary(&begin, &offset, &is_dst, &end, &next_offset, &is_dst, zone) <= 0 ||
			end > LAST_SECOND;
		if (is_last)
			end = LAST_SECOND + 1;
		from = Max(begin, after + 1) + offset;
		if (shown == PG_INT64_MAX)
			shown = begin + offset;
		if (!cron->by_wall_clock)
		{
			if (begin > after && first_local(cron, shown, begin + offset, &found))
			{
				*next = begin;
				return true;
			}
			from = Max(from, shown);
			shown = Max(shown, end + offset);
		}
		if (first_local(cron, from, end + offset, &found))
		{
			*next = found - offset;
			return true;
		}
		begin = end;
	}
	return false;
}

/* ---- times ------------------------------------------------------------------------------ */

/* The second, since 1970, in which a time lies. */
static int64
second_of(TimestampTz t)
{
	int64		seconds = t / USECS_PER_SEC - (t % USECS_PER_SEC < 0 ? 1 : 0);

	return seconds + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
}

/* The next time after one at which a timetable comes; false if there is none. */
bool
next_time(const Timetable *times, TimestampTz after, TimestampTz *next)
{
	int64		from;
	int64		found;

	if (after < times->first)
		after = times->first - 1;
	from = second_of(after);
	if (times->cron.every > 0)
	{
		int64		anchor = second_of(times->anchor);

		found = from < anchor ? anchor : anchor + ((from - anchor) / times->cron.every + 1) * times->cron.every;
		if (found > LAST_SECOND)
			return false;
	}
	else if (!next_by_clock(&times->cron, times->zone, from, &found))
		return false;
	*next = time_t_to_timestamptz((pg_time_t) found);
	return *next <= times->last;
}

/*
 * The latest time, from one on and until another, at which a timetable comes; false if there
 * is none.  The first time after a second never falls while that goes on, so the last
 * second after which it comes in time is found by halves.
 */
bool
latest_time(const Timetable *times, TimestampTz from, TimestampTz until, TimestampTz *latest)
{
	TimestampTz low = from - 1;
	TimestampTz high = until;
	TimestampTz next;

	if (!next_time(times, low, latest) || *latest > until)
		return false;
	while (high - low > 1)
	{
		TimestampTz middle = low + (high - low) / 2;

		if (next_time(times, middle, &next) && next <= until)
		{
			*latest = next;
			low = middle;
		}
		else
			high = middle;
	}
	return true;
}
