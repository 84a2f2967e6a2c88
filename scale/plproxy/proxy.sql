-- What all functions of a proxy share: which database owns what, errors as the databases
-- raise them, and waiting.  scale/plproxy/generate writes the rest.

CREATE EXTENSION IF NOT EXISTS plproxy;
CREATE EXTENSION dblink SCHEMA durable_proxy;
-- any number of databases; each session has a connection of its own to each, which it keeps
CREATE SERVER durable FOREIGN DATA WRAPPER plproxy OPTIONS (modular_mapping '1', p0 '');
CREATE USER MAPPING FOR PUBLIC SERVER durable;
-- It is the databases that grant: a proxy calls them as the user who calls it.
GRANT USAGE ON FOREIGN SERVER durable TO PUBLIC;
GRANT USAGE ON SCHEMA durable, durable_proxy TO PUBLIC;
-- plproxy tells of each new connection after an error; and who waits for a client that has gone must see that
DO $$ BEGIN
	EXECUTE format('ALTER DATABASE %I SET client_min_messages = warning', current_database());
	EXECUTE format('ALTER DATABASE %I SET client_connection_check_interval = %L', current_database(), '1s');
END $$;

-- These two are replaced by set_databases() and set_map().
CREATE FUNCTION durable_proxy.number_of_databases() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE FUNCTION durable_proxy.database_of(bucket int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 0';

-- Of the databases, numbered from 0: what plproxy and dblink connect to.
CREATE FUNCTION durable_proxy.conninfo(database int) RETURNS text
LANGUAGE sql STABLE
AS $$
	SELECT o.option_value FROM pg_foreign_server s CROSS JOIN LATERAL pg_options_to_table(s.srvoptions) o
	WHERE s.srvname = 'durable' AND o.option_name = 'p' || $1
$$;

-- All of them, beginning with any: so each is asked first as often as the others.
CREATE FUNCTION durable_proxy.databases() RETURNS SETOF int
LANGUAGE sql VOLATILE
AS $$
	SELECT (n + start) % count FROM (SELECT count, floor(random() * count)::int AS start FROM durable_proxy.number_of_databases() count) c,
		generate_series(0, count - 1) n
$$;

-- The owner's number.  What is no name is any database's to refuse.  The map of buckets
-- is a constant, a byte for each, in the text of database_of(), which is inlined: a
-- table would cost each call a statement.
CREATE FUNCTION durable_proxy.owner(task_id uuid) RETURNS int
LANGUAGE sql IMMUTABLE
AS $$ SELECT CASE WHEN $1 IS NULL THEN 0 ELSE durable_proxy.database_of(durable.bucket($1)) END $$;

CREATE FUNCTION durable_proxy.owner(name text) RETURNS int
LANGUAGE sql IMMUTABLE
AS $$ SELECT CASE WHEN octet_length($1) BETWEEN 1 AND 1024 THEN durable_proxy.database_of(durable.bucket($1)) ELSE 0 END $$;

CREATE FUNCTION durable_proxy.owned_buckets(database int) RETURNS text
LANGUAGE plproxy
AS $$ CLUSTER 'durable'; RUN ON $1; SELECT durable.buckets()::text; $$;

-- Asks all databases which buckets they own.  A bucket that nobody owns at this moment
-- stays where it was: its former owner refuses it.  Who finds another session at it
-- leaves it to that one.
CREATE FUNCTION durable_proxy.renew() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	before bytea := (SELECT string_agg(set_byte('\x00', 0, durable_proxy.database_of(b)), '' ORDER BY b) FROM generate_series(0, 4095) b);
	map bytea := before;
	owned int4multirange;
	bucket int;
BEGIN
	IF NOT pg_try_advisory_xact_lock('durable_proxy'::regnamespace::oid::int, 0) THEN
		RETURN;
	END IF;
	FOR d IN 0 .. durable_proxy.number_of_databases() - 1 LOOP
		BEGIN
			owned := durable_proxy.owned_buckets(d);
			FOR bucket IN SELECT b FROM unnest(owned) r CROSS JOIN generate_series(lower(r), upper(r) - 1) b LOOP
				map := set_byte(map, bucket, d);
			END LOOP;
		EXCEPTION WHEN OTHERS THEN
			RAISE WARNING 'database % does not tell which buckets it owns: %', d, SQLERRM;
		END;
	END LOOP;
	IF map <> before THEN
		PERFORM durable_proxy.set_map(map);
	END IF;
END $$;
REVOKE ALL ON FUNCTION durable_proxy.renew() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION durable_proxy.renew() TO PUBLIC;	-- it only tells what is so

CREATE FUNCTION durable_proxy.set_map(map bytea) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION durable_proxy.database_of(bucket int) RETURNS int LANGUAGE sql IMMUTABLE AS %L',
		format('SELECT get_byte(%L::bytea, $1)', map));
END $$;
REVOKE ALL ON FUNCTION durable_proxy.set_map(bytea) FROM PUBLIC;

-- Sets of which databases this is a proxy, at any time: add new ones at the end.
CREATE FUNCTION durable_proxy.set_databases(VARIADIC conninfos text[]) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	n int := cardinality(conninfos);
	before int := durable_proxy.number_of_databases();
BEGIN
	IF n NOT BETWEEN 1 AND 256 THEN
		RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'a proxy is of 1 to 256 databases',
			DETAIL = format('There are %s.', n), HINT = 'Pass the connection string of each.';
	END IF;
	FOR d IN 0 .. greatest(n, before) - 1 LOOP
		EXECUTE CASE WHEN d >= n THEN format('ALTER SERVER durable OPTIONS (DROP p%s)', d)
			ELSE format('ALTER SERVER durable OPTIONS (%s p%s %L)', CASE WHEN d < before THEN 'SET' ELSE 'ADD' END, d, conninfos[d + 1]) END;
	END LOOP;
	EXECUTE format('CREATE OR REPLACE FUNCTION durable_proxy.number_of_databases() RETURNS int LANGUAGE sql IMMUTABLE AS %L', 'SELECT ' || n);
	PERFORM durable_proxy.renew();
END $$;
REVOKE ALL ON FUNCTION durable_proxy.set_databases(text[]) FROM PUBLIC;

---------------------------------------------------------------------------
-- Errors
---------------------------------------------------------------------------

-- A database that cannot be reached, or is about to stop.
CREATE FUNCTION durable_proxy.is_outage(state text, message text) RETURNS boolean
LANGUAGE sql IMMUTABLE
AS $$ SELECT state LIKE '08%' OR state LIKE '57P0_' OR (state = 'XX000' AND message ~ '^PL/Proxy function .*: (\[.*\] PQ|connect timeout|query timeout)') $$;

-- Raises an error of a database's as that has raised it, without what plproxy adds.
-- Returns where the call is to be tried again: the map was old (WF016), the first time.
CREATE FUNCTION durable_proxy.mend(tries int, state text, message text, detail text, hint text) RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
	IF state = 'WF016' AND tries = 0 THEN
		PERFORM durable_proxy.renew();
		RETURN;
	ELSIF durable_proxy.is_outage(state, message) THEN
		RAISE EXCEPTION USING ERRCODE = '08006', MESSAGE = 'the database that has to answer cannot be reached',
			DETAIL = message, HINT = 'Try again when it is back: whether the call was done is not known.';
	END IF;
	message := regexp_replace(message, '^\S+\(\d+\): \[[^]]*\] REMOTE [^:]+: ', '');
	detail := regexp_replace(detail, '^Remote detail: ', '');
	hint := regexp_replace(hint, '^Remote hint: ', '');
	IF detail <> '' AND hint <> '' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail, HINT = hint;
	ELSIF detail <> '' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail;
	ELSIF hint <> '' THEN
		RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, HINT = hint;
	END IF;
	RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message;
END $$;

---------------------------------------------------------------------------
-- Waiting
--
-- plproxy runs no procedures: each session that waits has a connection of its own
-- to each database, by dblink, and looks every 10 ms which of them has answered.
---------------------------------------------------------------------------

-- Takes what has come over a connection, until nothing more comes.  Of what was cancelled there is nothing.
CREATE FUNCTION durable_proxy.receive(database int, columns text, cancelled boolean) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	ear CONSTANT text := 'durable ' || database;
	answer jsonb;
	none jsonb;
BEGIN
	EXECUTE format('SELECT to_jsonb(a) FROM durable_proxy.dblink_get_result(%L, %L) AS a (%s)', ear, NOT cancelled, columns) INTO answer;
	EXECUTE format('SELECT to_jsonb(a) FROM durable_proxy.dblink_get_result(%L, false) AS a (%s)', ear, columns) INTO none;
	RETURN answer;
END $$;

-- Has a database begin a call over this session's connection to it; false if it cannot be reached.
CREATE FUNCTION durable_proxy.send(database int, call text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	ear CONSTANT text := 'durable ' || database;
	target text := durable_proxy.conninfo(database);
BEGIN
	IF ear = ANY (durable_proxy.dblink_get_connections()) THEN
		IF durable_proxy.dblink_send_query(ear, call) = 1 THEN
			RETURN true;
		END IF;
		PERFORM durable_proxy.dblink_disconnect(ear);
	END IF;
	IF target !~ 'user=' THEN
		target := format('%s user=''%s''', target, replace(replace(session_user, '\', '\\'), '''', '\'''));
	END IF;
	PERFORM durable_proxy.dblink_connect_u(ear, target);
	RETURN durable_proxy.dblink_send_query(ear, call) = 1;
EXCEPTION WHEN OTHERS THEN
	RETURN false;
END $$;

-- Has those databases end a call that nobody waits for any more.
CREATE FUNCTION durable_proxy.hush(databases int[], columns text) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	d int;
BEGIN
	FOREACH d IN ARRAY databases LOOP
		BEGIN
			PERFORM durable_proxy.dblink_cancel_query('durable ' || d);
			PERFORM durable_proxy.receive(d, columns, true);
		EXCEPTION WHEN OTHERS THEN
			PERFORM durable_proxy.dblink_disconnect('durable ' || d);
		END;
	END LOOP;
END $$;

-- Waits until one of those databases answers otherwise than that it has waited in vain,
-- then has the others end their waits.  Of several answers it takes the most urgent:
-- work that is not taken the database passes on.
CREATE FUNCTION durable_proxy.wait(databases int[], call text, columns text) RETURNS jsonb
LANGUAGE plpgsql
AS $$
DECLARE
	urgency CONSTANT text[] := '{timeout,work,recover,news}';
	waiting int[] := '{}';
	d int;
	answer jsonb;
	found jsonb;
	state text; message text; detail text; hint text;
BEGIN
	FOREACH d IN ARRAY databases LOOP
		IF durable_proxy.send(d, call) THEN
			waiting := waiting || d;
		END IF;
	END LOOP;
	WHILE waiting <> '{}' AND (found IS NULL OR found ->> 'reason' = 'timeout') LOOP
		PERFORM pg_sleep(0.01);
		FOREACH d IN ARRAY waiting LOOP
			CONTINUE WHEN durable_proxy.dblink_is_busy('durable ' || d) = 1;
			waiting := array_remove(waiting, d);
			BEGIN
				answer := durable_proxy.receive(d, columns, false);
				IF found IS NULL OR array_position(urgency, answer ->> 'reason') > array_position(urgency, found ->> 'reason') THEN
					found := answer;
				END IF;
			EXCEPTION WHEN OTHERS THEN
				GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT,
					detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
				IF NOT durable_proxy.is_outage(state, message) THEN
					PERFORM durable_proxy.hush(waiting || d, columns);
					PERFORM durable_proxy.mend(1, state, message, detail, hint);
				END IF;
				PERFORM durable_proxy.dblink_disconnect('durable ' || d);
			END;
		END LOOP;
	END LOOP;
	PERFORM durable_proxy.hush(waiting, columns);
	IF found IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = '08006', MESSAGE = 'no database that has to answer can be reached',
			DETAIL = format('Asked were %s.', array_to_string(databases, ', ')), HINT = 'Try again when one is back.';
	END IF;
	RETURN found;
EXCEPTION WHEN query_canceled THEN
	PERFORM durable_proxy.hush(waiting, columns);
	RAISE;
END $$;

CREATE PROCEDURE durable.wait_for_work(executor_id text, queues text[] = '{}', timeout interval = '30 s', bind boolean = false,
	INOUT reason text = NULL)
LANGUAGE plpgsql
AS $$
BEGIN
	reason := durable_proxy.wait(ARRAY(SELECT durable_proxy.databases()),
		format('CALL durable.wait_for_work(%L, %L, %L, %L)', $1, $2, $3, $4), 'reason text') ->> 'reason';
END $$;

CREATE PROCEDURE durable.wait_for_end(task_id uuid, timeout interval = '30 s',
	INOUT status durable.task_status = NULL, INOUT output jsonb = NULL, INOUT error text = NULL)
LANGUAGE plpgsql
AS $$
DECLARE
	answer jsonb := durable_proxy.wait(ARRAY[durable_proxy.owner($1)],
		format('CALL durable.wait_for_end(%L, %L)', $1, $2), 'status text, output text, error text');
BEGIN
	status := answer ->> 'status';
	output := (answer ->> 'output')::jsonb;
	error := answer ->> 'error';
END $$;

CREATE PROCEDURE durable.wait_for_event(workflow_id uuid, topic text = NULL, after bigint = 0, timeout interval = '30 s',
	INOUT n bigint = NULL)
LANGUAGE plpgsql
AS $$
BEGIN
	n := durable_proxy.wait(ARRAY[durable_proxy.owner($1)],
		format('CALL durable.wait_for_event(%L, %L, %L, %L)', $1, $2, $3, $4), 'n bigint') ->> 'n';
END $$;
