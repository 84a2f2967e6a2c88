"""The measured variants: what each sends for one workflow of ten steps, as a pgbench script.

Every value that an SDK would pass as a parameter is a pgbench variable, so a parameter under -M prepared:
:n a new name, :client_id the executor, :out an output of 100 bytes, :pool the number of recorded workflows.
"""

import re
from dataclasses import dataclass

STEPS = 10
OUTPUT = '{"result": "' + 86 * "a" + '"}'  # 100 bytes
NEW_NAME = r"\set n random(1, 1000000000000)"
FROM_POOL = r"\set p random(1, :pool)"


@dataclass
class Variant:
    text: str
    lines: list[str]
    steps: int = STEPS

    @property
    def script(self) -> str:
        return "\n".join(line if re.search(r"\\(gset|set|if|endif)\b", line) else line + ";" for line in self.lines) + "\n"

    @property
    def round_trips(self) -> int:
        return sum(not line.startswith("\\") for line in self.lines)


# ---- (a) raw: the rows that the extension writes, by hand, with no check at all --------------------

# An id that sorts by time, as the extension's do: microseconds, then random bits.
RAW_ID = ("(encode(int8send((extract(epoch FROM clock_timestamp()) * 1000000)::int8), 'hex') "
          "|| encode(int8send(:n), 'hex'))::uuid")

RAW_START = (
    "INSERT INTO durable.workflow (id, root_id, status, lease, created_at, started_at, name, executor_id) "
    f"SELECT i, i, 'RUNNING', 1, now(), now(), :n, :client_id FROM (SELECT {RAW_ID}) x (i) RETURNING id AS w \\gset")
RAW_END = "UPDATE durable.workflow SET status = 'COMPLETED', output = :out, completed_at = now() WHERE id = :w"


def raw_claim(i: int) -> str:
    return ("INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, executor_id, "
            f"max_retries, started_at) VALUES (:w, {i}, 1, 1, 'RUNNING', 'STEP', 'step', :client_id, 0, now())")


def raw_complete(i: int) -> str:
    return ("UPDATE durable.step SET status = 'COMPLETED', output = :out, completed_at = now() "
            f"WHERE workflow_id = :w AND sequence = {i}")


RAW_FUSED = Variant("(a) raw, UPDATE and next INSERT in one statement", [
    NEW_NAME, RAW_START, raw_claim(0),
    *(f"WITH done AS ({raw_complete(i - 1)}) {raw_claim(i)}" for i in range(1, STEPS)),
    raw_complete(STEPS - 1), RAW_END])

RAW_TWO = Variant("(a) raw, two transactions a step", [
    NEW_NAME, RAW_START,
    *(line for i in range(STEPS) for line in (raw_claim(i), raw_complete(i))),
    RAW_END])


# ---- (b) the seed: ctx.rs, start, step and complete, on its one table -------------------------------

SEED_COLUMNS = ("id, parent_id, sequence, name, handler, kind, status::text, input, output, error, retry_count, "
                "max_retries, timeout_ms, deadline_epoch_ms, queue_name, executor_id, recovery_count, "
                "max_recovery_attempts, created_at, started_at, completed_at")


def seed_find(id: str) -> str:
    """check_status, check_deadline, and the first half of complete_task."""
    return f"SELECT {SEED_COLUMNS} FROM seed.task WHERE id = {id} LIMIT 1"


def seed_complete(id: str) -> list[str]:
    return [seed_find(id), "UPDATE seed.task SET status = 'COMPLETED', output = :out, completed_at = now() "
                           f"WHERE id = {id} RETURNING {SEED_COLUMNS}"]


def seed_find_or_create(i: int) -> list[str]:
    return ["INSERT INTO seed.task (id, parent_id, sequence, name, kind, status, input, max_retries) "
            f"VALUES (gen_random_uuid(), :w, {i}, 'step', 'STEP', 'PENDING', NULL, 0) "
            "ON CONFLICT (parent_id, sequence) DO NOTHING",
            "SELECT id AS s, status::text, output FROM seed.task "
            f"WHERE parent_id = :w AND sequence = {i} FOR UPDATE SKIP LOCKED"]


SEED_RUNNING = (
    "UPDATE seed.task SET status = 'RUNNING', started_at = COALESCE(started_at, now()), deadline_epoch_ms = CASE "
    "WHEN 'RUNNING' = 'RUNNING' AND timeout_ms IS NOT NULL THEN EXTRACT(EPOCH FROM now()) * 1000 + timeout_ms "
    "ELSE deadline_epoch_ms END WHERE id = :s")


def seed_step(i: int) -> list[str]:
    insert, lock = seed_find_or_create(i)
    return [seed_find(":w"), seed_find(":w"), "BEGIN", insert, lock + r" \gset", SEED_RUNNING, "COMMIT",
            *seed_complete(":s")]


SEED = Variant("(b) the seed, nine statements a step", [
    NEW_NAME,
    "SELECT id FROM seed.task WHERE name = :n AND parent_id IS NULL AND status = 'RUNNING' LIMIT 1",
    "BEGIN",
    "INSERT INTO seed.task (id, parent_id, sequence, name, kind, status, input, started_at, executor_id) VALUES "
    "(gen_random_uuid(), NULL, NULL, :n, 'WORKFLOW', 'RUNNING', 'null', now(), :client_id) RETURNING id AS w \\gset",
    "COMMIT",
    *(line for i in range(STEPS) for line in seed_step(i)),
    *seed_complete(":w")])

SEED_REPLAY = Variant("(b) the seed's replay", [
    FROM_POOL, r"SELECT seed_id AS w FROM bench.pool WHERE n = :p \gset",
    *(line for i in range(STEPS) for line in (
        seed_find(":w"), seed_find(":w"), "BEGIN", *seed_find_or_create(i), "COMMIT"))])


# ---- the extension ------------------------------------------------------------------------------------

START = r"SELECT workflow_id AS w FROM durable.start(:n, executor_id => :client_id) \gset"
END = "SELECT durable.complete(:w, :out, lease => 1)"
COMPLETE = "SELECT durable.complete(:s, :out, lease => 1, attempt => 1)"


def claim_step(i: int) -> str:
    return ("SELECT step_id AS s, action, output, attempt FROM "
            f"durable.claim_step(:w, {i}, 'step', lease => 1, executor_id => :client_id)")


CLAIM_COMPLETE = Variant("(c) claim_step, complete", [
    NEW_NAME, START,
    *(line for i in range(STEPS) for line in (claim_step(i) + r" \gset", COMPLETE)),
    END])

COMPLETE_AND_CLAIM = Variant("(d) complete_and_claim", [
    NEW_NAME, START, claim_step(0) + r" \gset",
    *(STEPS - 1) * [
        "SELECT step_id AS s, action, output, attempt FROM durable.complete_and_claim"
        r"(:s, :out, 'step', lease => 1, executor_id => :client_id, attempt => 1) \gset"],
    COMPLETE, END])

REPLAY = Variant("(e) replay by claim_step", [
    FROM_POOL, r"SELECT id AS w FROM bench.pool WHERE n = :p \gset",
    *(claim_step(i) for i in range(STEPS))])

HISTORY = Variant("(e) replay by history", [
    FROM_POOL, "SELECT h.* FROM bench.pool p, durable.history(p.id) h WHERE p.n = :p"])

# Its unit is the workflow. There is a backlog, so that each claim finds one, maybe another client's.
QUEUE = Variant("(f) start into a queue, claim, complete", [
    NEW_NAME, "SELECT workflow_id FROM durable.start(:n, queue => 'q')",
    r"SELECT workflow_id AS w, lease FROM durable.claim('q', :client_id) \gset",
    "SELECT durable.complete(:w, :out, lease => :lease)"], steps=1)

START_CLAIM = Variant("start into a queue, claim", [
    NEW_NAME, "SELECT workflow_id FROM durable.start(:n, queue => 'q')",
    "SELECT workflow_id, lease FROM durable.claim('q', :client_id)"], steps=1)

# Where nothing else waits, a claim may come too early for what another has just started, and find nothing.
QUEUE_DRAINED = Variant("start into an empty queue, claim, complete", [
    *QUEUE.lines[:2],
    "SELECT coalesce(max(workflow_id::text), '') AS w, coalesce(max(lease), 0) AS lease FROM durable.claim('q', :client_id) \\gset",
    r"\if :lease > 0", QUEUE.lines[3], r"\endif"], steps=1)

# The same by the least that a queue can be (minimal.sql).
MINIMAL = Variant("minimal: INSERT, UPDATE of one SKIP LOCKED, UPDATE", [
    NEW_NAME, "INSERT INTO minimal.job (queue, name) VALUES ('q', :n) RETURNING id",
    "UPDATE minimal.job SET status = 'RUNNING', lease = lease + 1, executor_id = :client_id, started_at = now() "
    "WHERE id = (SELECT id FROM minimal.job WHERE queue = 'q' AND status = 'PENDING' AND run_at <= now() "
    "ORDER BY priority DESC, run_at, id LIMIT 1 FOR UPDATE SKIP LOCKED) "
    r"RETURNING id AS w, name, input, lease, created_at \gset",
    "UPDATE minimal.job SET status = 'COMPLETED', output = :out, completed_at = now() "
    "WHERE id = :w AND lease = :lease AND status = 'RUNNING'"], steps=1)

# ---- many at once ---------------------------------------------------------------------------------------

MANY = 100
NAMES = f"ARRAY(SELECT :n || ' ' || i FROM generate_series(1, {MANY}) i)"
IDS = f"ARRAY(SELECT durable.step_id(:w, i) FROM generate_series(0, {MANY - 1}) i)"


def many(value: str) -> str:
    return f"array_fill({value}, '{{{MANY}}}')"


START_SINGLE = Variant("start, 100 times", [
    NEW_NAME, *(f"SELECT * FROM durable.start(:n || ' {i}', executor_id => :client_id)" for i in range(MANY))], steps=MANY)
START_MANY = Variant("start_many of 100", [
    NEW_NAME, f"SELECT * FROM durable.start_many({NAMES}, executor_id => :client_id)"], steps=MANY)

FAN_OUT_SINGLE = Variant("claim_step 100 times, complete 100 times", [
    NEW_NAME, START, *(claim_step(i) for i in range(MANY)),
    *(f"SELECT durable.complete(durable.step_id(:w, {i}), :out, lease => 1, attempt => 1)" for i in range(MANY))], steps=MANY)
FAN_OUT_MANY = Variant("claim_steps and complete_many of 100", [
    NEW_NAME, START,
    "SELECT * FROM durable.claim_steps(:w, 0, " + many("'step'::text") + ", lease => 1, executor_id => :client_id)",
    f"SELECT * FROM durable.complete_many({IDS}, {many(':out::jsonb')}, {many('1')}, {many('1')})"], steps=MANY)

CLAIM_SINGLE = Variant("claim_step 100 times", [NEW_NAME, START, *(claim_step(i) for i in range(MANY))], steps=MANY)
CLAIM_MANY = Variant("claim_steps of 100", [NEW_NAME, START, FAN_OUT_MANY.lines[2]], steps=MANY)

# A process that drives 32 workflows of 20 steps: one after the other in each round of steps, or all at once.
DRIVEN, ROUNDS = 32, 20
DRIVE = [
    NEW_NAME,
    f"SELECT array_agg(workflow_id) AS ws, {', '.join(f'(array_agg(workflow_id))[{i}] AS w{i}' for i in range(1, DRIVEN + 1))} "
    f"FROM durable.start_many(ARRAY(SELECT :n || ' ' || i FROM generate_series(1, {DRIVEN}) i), executor_id => :client_id) \\gset",
    "SELECT count(action) FROM unnest(:ws::uuid[]) w, durable.claim_step(w, 0, 'step', lease => 1, executor_id => :client_id)"]


def driven(value: str) -> str:
    return f"array_fill({value}, '{{{DRIVEN}}}')"


PAIR_SINGLE = Variant("complete_and_claim, 32 times", [*DRIVE, *(
    f"SELECT step_id, action, output, attempt FROM durable.complete_and_claim(durable.step_id(:w{i}, {n}), :out, 'step', "
    "lease => 1, executor_id => :client_id, attempt => 1)" for n in range(ROUNDS) for i in range(1, DRIVEN + 1))], steps=DRIVEN * ROUNDS)
PAIR_MANY = Variant("complete_and_claim_many of 32", [*DRIVE, *(
    "SELECT step_id, action, output, attempt FROM durable.complete_and_claim_many("
    f"ARRAY(SELECT durable.step_id(w, {n}) FROM unnest(:ws::uuid[]) w), {driven(':out::jsonb')}, {driven(chr(39) + 'step' + chr(39) + '::text')}, "
    f"{driven('1')}, {driven('1')}, executor_id => :client_id)" for n in range(ROUNDS))], steps=DRIVEN * ROUNDS)

# at least so many times the rate of single calls
BATCHES = [("start_many of 100 : start", START_MANY, START_SINGLE, 5),
           ("claim_steps of 100 : claim_step", CLAIM_MANY, CLAIM_SINGLE, 5),
           ("claim_steps and complete_many of 100 : claim_step and complete", FAN_OUT_MANY, FAN_OUT_SINGLE, 5)]
PAIRS = ("complete_and_claim_many of 32 : complete_and_claim", PAIR_MANY, PAIR_SINGLE, 3)

# Batches of jobs: ours, and what graphile-worker does (minimal.sql). The unit is the job. What was claimed goes back as arrays.
QUEUE_MANY = Variant("start_many, claim and complete_many of 100", [
    NEW_NAME, f"SELECT * FROM durable.start_many({NAMES}, queue => 'q')",
    "SELECT array_agg(workflow_id) AS w, array_agg(lease) AS leases, count(*) AS claimed "
    rf"FROM durable.claim('q', :client_id, {MANY}) \gset",
    "SELECT * FROM durable.complete_many(:w::uuid[], array_fill(:out::jsonb, ARRAY[:claimed::int]), :leases::int[])"], steps=MANY)
GRAPHILE_MANY = Variant("graphile-worker's add, claim and completion of 100", [
    f"SELECT * FROM graphile.add(ARRAY(SELECT ROW('task', NULL, NULL, NULL, NULL, NULL, NULL, NULL)::graphile.spec "
    f"FROM generate_series(1, {MANY})))",
    "WITH raw AS (SELECT queue_id, priority, run_at, id FROM graphile.job "
    "WHERE available AND run_at <= now() AND task_id = ANY (ARRAY[1]) AND (queue_id IS NULL OR queue_id IN "
    "(SELECT id FROM graphile.queue WHERE available FOR UPDATE SKIP LOCKED)) "
    f"ORDER BY priority, run_at LIMIT {MANY} FOR UPDATE SKIP LOCKED), "
    "chosen AS (SELECT DISTINCT ON (queue_id, CASE WHEN queue_id IS NULL THEN id END) queue_id, priority, run_at, id FROM raw "
    "ORDER BY queue_id, CASE WHEN queue_id IS NULL THEN id END, priority, run_at), "
    "queues AS (UPDATE graphile.queue q SET locked_by = :client_id, locked_at = now() FROM chosen c WHERE q.id = c.queue_id), "
    "jobs AS (UPDATE graphile.job j SET attempts = j.attempts + 1, locked_by = :client_id, locked_at = now() "
    "FROM chosen c WHERE j.id = c.id RETURNING j.*) "
    r"SELECT array_agg(id) AS ids FROM jobs \gset",
    "DELETE FROM graphile.job USING unnest(:ids::bigint[]) n WHERE id = n"], steps=MANY)
# ---- waits: ten signals for a workflow, each taken by a wait -----------------------------------------------------------

RAW_SIGNAL = ("INSERT INTO durable.signal (id, workflow_id, name, payload, sent_at) "
              f"VALUES ({RAW_ID.replace(':n', '(:n::bigint + {i})')}, {{w}}, 'go', :out, clock_timestamp())")
RAW_TAKE = ("WITH taken AS (UPDATE durable.signal SET sequence = {i} WHERE workflow_id = :w AND id = (SELECT id FROM durable.signal "
            "WHERE workflow_id = :w AND name = 'go' AND sequence IS NULL ORDER BY id LIMIT 1) RETURNING payload)")
RAW_WAIT = "INSERT INTO durable.step (workflow_id, sequence, lease, attempt, status, kind, name, wait, started_at"
SIGNAL = "SELECT durable.signal({w}, 'go', :out)"
AWAIT = "SELECT action, output FROM durable.await_signal(:w, {i}, 'go', lease => 1)"
ASK_START = "SELECT workflow_id AS w FROM durable.start(:n, executor_id => :client_id) \\gset"


def ten(*lines: str) -> list[str]:
    return [line.format(i=i, w=":w") for i in range(STEPS) for line in lines]


RAW_SIGNAL_FIRST = Variant("raw: a signal, then the wait that takes it", [NEW_NAME, RAW_START, *ten(
    RAW_SIGNAL, RAW_TAKE + f" {RAW_WAIT}, completed_at, output) SELECT :w, {{i}}, 1, 1, 'COMPLETED', 'WAIT', 'go', 'signal', now(), now(), payload FROM taken")])
SIGNAL_FIRST = Variant("signal, await_signal", [NEW_NAME, ASK_START, *ten(SIGNAL, AWAIT)])
RAW_WAIT_FIRST = Variant("raw: a wait, a signal, its end", [NEW_NAME, RAW_START, *ten(
    f"WITH wait AS ({RAW_WAIT}) VALUES (:w, {{i}}, 1, 1, 'PENDING', 'WAIT', 'go', 'signal', now())) "
    "INSERT INTO durable.open_wait (workflow_id, sequence) VALUES (:w, {i})", RAW_SIGNAL,
    RAW_TAKE + ", closed AS (DELETE FROM durable.open_wait WHERE workflow_id = :w AND sequence = {i}) "
    "UPDATE durable.step SET status = 'COMPLETED', completed_at = now(), output = payload FROM taken WHERE workflow_id = :w AND sequence = {i}")])
WAIT_FIRST = Variant("await_signal, signal, await_signal", [NEW_NAME, ASK_START, *ten(AWAIT, SIGNAL, AWAIT)])
WAITS = [("signal and the wait that takes it : raw", SIGNAL_FIRST, RAW_SIGNAL_FIRST, 0.8),
         ("a wait, its signal and its end : raw", WAIT_FIRST, RAW_WAIT_FIRST, 0.8)]


def to_one(statement: str, workflow_id: str) -> Variant:
    """Signals to one workflow."""
    return Variant(statement.split()[0], [NEW_NAME, statement.format(i=0, w=f"'{workflow_id}'")], steps=1)


MAIN = [RAW_FUSED, RAW_TWO, SEED, CLAIM_COMPLETE, COMPLETE_AND_CLAIM, SEED_REPLAY, REPLAY, HISTORY, QUEUE]
COMPARED = [[RAW_FUSED, COMPLETE_AND_CLAIM, SEED], [RAW_TWO, CLAIM_COMPLETE], [SEED_REPLAY, HISTORY, REPLAY], [QUEUE]]
GROWTH = [RAW_FUSED, CLAIM_COMPLETE, COMPLETE_AND_CLAIM, REPLAY, HISTORY, QUEUE]
