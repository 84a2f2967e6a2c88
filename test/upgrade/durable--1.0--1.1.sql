/* test/upgrade/durable--1.0--1.1.sql */

-- complain if script is sourced in psql, rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION durable UPDATE TO '1.1'" to load this file. \quit

-- Nobody's release: test/t/006_upgrade.pl updates to it. It makes one change of each kind that a release may need.

-- a column
ALTER TABLE durable.step ADD COLUMN note text COLLATE "C";

-- a column of a row type, at its end
CREATE OR REPLACE VIEW durable.task AS
	SELECT w.id, w.parent_id, w.parent_sequence AS sequence, w.name, w.handler, w.status,
		'WORKFLOW'::durable.task_kind AS kind, w.input, w.output, w.error, w.queue_name, w.executor_id,
		coalesce(w.retry_count, 0) AS retry_count, coalesce(w.max_retries, 0) AS max_retries, w.recovery_count,
		w.created_at, w.started_at, w.completed_at, w.deadline, w.lease, NULL::int AS attempt,
		NULL::text COLLATE "C" AS wait, w.run_at, w.concurrency_key,
		(SELECT g.tags FROM durable.workflow_tags g WHERE g.workflow_id = w.id) AS tags, NULL::text COLLATE "C" AS note
	FROM durable.workflow w
	UNION ALL
	SELECT durable.step_id(s.workflow_id, s.sequence), s.workflow_id, s.sequence, s.name, NULL::text COLLATE "C", s.status,
		s.kind, s.input, s.output, s.error, NULL::text COLLATE "C", s.executor_id,
		s.retry_count, s.max_retries, 0,
		s.started_at, s.started_at, s.completed_at, s.deadline, s.lease, s.attempt, s.wait, s.run_at, NULL::text COLLATE "C", NULL::jsonb, s.note
	FROM durable.step s
	WHERE s.kind <> 'WORKFLOW';

-- a table
CREATE TABLE durable.remark
(
	remark text NOT NULL,
	CONSTRAINT remark_pkey PRIMARY KEY (remark)
);
SELECT pg_catalog.pg_extension_config_dump('durable.remark', '');

-- a function
CREATE FUNCTION durable.remark(remark text) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'INSERT INTO durable.remark VALUES ($1)';
COMMENT ON FUNCTION durable.remark(text) IS 'Remarks';

-- an argument
DROP FUNCTION durable.is_completed(uuid);
CREATE FUNCTION durable.is_completed(task_id uuid, note text = NULL) RETURNS boolean
AS 'MODULE_PATHNAME', 'durable_is_completed'
LANGUAGE C STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION durable.is_completed(uuid, text) IS 'Whether a workflow or step is COMPLETED. Errors: WF001, 22004';

-- another setting of a table
ALTER TABLE durable.queue SET (fillfactor = 70);

-- Nothing is PUBLIC's.
REVOKE ALL ON FUNCTION durable.remark(text), durable.is_completed(uuid, text) FROM PUBLIC;
REVOKE ALL ON TABLE durable.remark FROM PUBLIC;
UPDATE pg_catalog.pg_type AS t
	SET typacl = ARRAY[pg_catalog.makeaclitem(t.typowner, t.typowner, 'USAGE', false)]
	WHERE t.oid OPERATOR(pg_catalog.=) 'durable.remark'::pg_catalog.regtype;
