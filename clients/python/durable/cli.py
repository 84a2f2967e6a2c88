"""The command line, `durable --help`. Needs psycopg alone; the server is that of --dsn, or of PGHOST and its like.

Exit codes: 0 done, 1 refused by the server or failed, 2 wrong arguments, 3 no such thing, 4 not found to be in order
(`check`), 5 no server.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

Row = dict[str, Any]
STATUSES = ["PENDING", "RUNNING", "PAUSED", "COMPLETED", "FAILED", "CANCELLED"]
FINISHED = ("COMPLETED", "FAILED", "CANCELLED")


class Refused(Exception):
    """What ends the command with a message and an exit code."""

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


class Server:
    """A session, and calls by name."""

    def __init__(self, dsn: str):
        try:
            self.conn = psycopg.connect(
                dsn, autocommit=True, prepare_threshold=None, row_factory=dict_row, application_name="durable"
            )
        except psycopg.OperationalError as error:
            raise Refused(str(error).strip(), 5) from error

    def rows(self, query: str, *args: Any) -> list[Row]:
        return self.conn.execute(query.encode(), args).fetchall()

    def call(self, function: str, **args: Any) -> list[Row]:
        """`SELECT * FROM durable.function(...)`; arguments that are None keep their defaults."""
        given = {name: value for name, value in args.items() if value is not None}
        named = sql.SQL(", ").join(
            sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder(name)) for name in given
        )
        return self.conn.execute(
            sql.SQL("SELECT * FROM durable.{}({})").format(sql.Identifier(function), named), given
        ).fetchall()

    def has(self, function: str, argument: str) -> bool:
        return bool(
            self.rows(
                "SELECT 1 FROM pg_proc WHERE pronamespace = 'durable'::regnamespace AND proname = %s"
                " AND %s = ANY (proargnames)",
                function,
                argument,
            )
        )

    def find(self, what: str) -> Row:
        """A workflow by its id, or the last one of a name."""
        rows: list[Row] = []
        try:
            rows = self.rows("SELECT * FROM durable.task WHERE id = %s", UUID(what))
        except psycopg.errors.InsufficientPrivilege:
            (row,) = self.call("status", task_id=UUID(what))
            return {"id": UUID(what), "name": what, "status": row["status"]}
        except ValueError:
            pass
        if not (rows := rows or self.call("list", name=what, max_rows=1)):
            raise Refused(f"there is no workflow {what}", 3)
        return rows[0]


# ---- what a person sees ------------------------------------------------------------------------------


class Printer:
    """Tables for a terminal, or JSON: one document, or a line for each row of what goes on."""

    def __init__(self, as_json: bool):
        self.as_json = as_json

    def table(self, rows: Iterable[Row], columns: str = "") -> None:
        rows = list(rows)
        if self.as_json:
            print(json.dumps(rows, default=plain, indent=1))
            return
        names = columns.split() or list(rows[0] if rows else [])
        cells = [[text(row.get(name)) for name in names] for row in rows]
        widths = [max(len(line[n]) for line in [names, *cells]) for n in range(len(names))]
        wide = shutil.get_terminal_size((140, 24)).columns if sys.stdout.isatty() else 10_000
        for line in [[name.upper() for name in names], *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()[:wide])

    def line(self, row: Row, text: str) -> None:
        print(json.dumps(row, default=plain) if self.as_json else text, flush=True)

    def said(self, message: str, **more: Any) -> None:
        self.line({"result": message, **more}, message)


def plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else str(value)


def text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value.astimezone():%Y-%m-%d %H:%M:%S}"
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.1f} s"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value).replace("\n", "\\n")


def given_json(value: str | None) -> Jsonb | None:
    if value is None:
        return None
    try:
        return Jsonb(json.loads(value))
    except ValueError as error:
        raise Refused(f"this is no JSON: {value} ({error})", 2) from error


# ---- many by a filter ------------------------------------------------------------------------------------


def matching(server: Server, options: argparse.Namespace, limit: int | None = None) -> list[Row]:
    """The workflows that all filters match, the newest first."""
    filters = {
        "status": options.status,
        "name": options.name,
        "queue_name": options.queue,
        "handler": options.handler,
        "root_only": None if options.all else True,
        "tags": given_json(options.tags),
    }
    before = None
    if options.older:
        before = server.rows("SELECT durable.clock() - %s::interval AS t", options.older)[0]["t"]
    found: list[Row] = []
    after: UUID | None = None
    while limit is None or len(found) < limit:
        page = server.call("list", **filters, after_id=after, max_rows=1000 if limit is None or before else limit)
        found += [row for row in page if before is None or (row["completed_at"] or row["created_at"]) < before]
        if len(page) < 1000:
            break
        after = page[-1]["id"]
    return found if limit is None else found[:limit]


def chosen(server: Server, options: argparse.Namespace, verb: str) -> list[Row]:
    """The one that is named, or all that the filters match, after asking."""
    if options.workflow:
        return [server.find(what) for what in options.workflow]
    if not any([options.status, options.name, options.queue, options.handler, options.tags, options.older]):
        raise Refused(
            f"{verb} what? Name a workflow, or give a filter (--status, --queue, --name, --handler, --tags, --older).",
            2,
        )
    rows = matching(server, options)
    if not rows:
        raise Refused("nothing matches", 3)
    if not options.yes:
        example = ", ".join(row["name"] for row in rows[:3]) + (" ..." if len(rows) > 3 else "")
        print(f"{verb} {len(rows)} workflows ({example})? [y/N] ", end="", flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise Refused("nothing was done")
    return rows


def each(server: Server, options: argparse.Namespace, verb: str, do: Callable[[Row], Any]) -> int:
    """Does something for each workflow that was chosen; what is refused for one does not keep the others."""
    refused = []
    rows = chosen(server, options, verb)
    for row in rows:
        try:
            do(row)
        except psycopg.Error as error:
            refused.append(f"{row['name']} {row['id']}: {error.diag.message_primary or error}")
    options.printer.said(f"{verb}: {len(rows) - len(refused)} of {len(rows)} workflows", refused=refused)
    for line in refused if not options.json else []:
        print(line, file=sys.stderr)
    return 1 if refused else 0


# ---- the verbs -----------------------------------------------------------------------------------------


def worker(server: None, options: argparse.Namespace) -> int:
    """Runs an application's worker: MODULE:APP."""
    module, _, name = options.app.partition(":")
    sys.path.insert(0, os.getcwd())
    try:
        app = getattr(importlib.import_module(module), name or "app")
    except (ImportError, AttributeError) as error:
        raise Refused(f"there is no {options.app}: {error}", 3) from error
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    if options.dsn:
        app.conninfo = options.dsn
    more = {"concurrency": options.concurrency} if options.concurrency else {}
    app.run(options.queue or None, patience=options.patience, grace=options.grace, **more)
    return 0


def list_(server: Server, options: argparse.Namespace) -> None:
    """Lists workflows, the newest first."""
    options.printer.table(
        matching(server, options, options.limit), "id name handler status queue_name executor_id created_at error"
    )


def show(server: Server, options: argparse.Namespace) -> None:
    """Shows a workflow: its tree, history, open waits and events."""
    task = server.find(options.workflow)
    history = server.call("history", workflow_id=task["id"])
    waits = [row for row in history if row["wait"] and row["status"] == "PENDING"]
    events = server.call("events", workflow_id=task["id"], max_rows=options.limit)
    if options.json:
        print(
            json.dumps(
                {"workflow": task, "history": history, "waits": waits, "events": events}, default=plain, indent=1
            )
        )
        return
    print("\n".join(row["tree"] for row in server.call("tree", workflow_id=task["id"])))
    for title, value in ("input", task.get("input")), ("output", task.get("output")), ("error", task.get("error")):
        if value is not None:
            print(f"\n{title}: {text(value)}")
    for title, rows, columns in (
        ("history", history, "sequence name kind status attempt output error"),
        ("waits for", waits, "sequence name wait run_at step_id"),
        ("events", events, "n topic payload emitted_at"),
    ):
        if rows:
            print(f"\n{title}:")
            options.printer.table(rows, columns)


def tail(server: Server, options: argparse.Namespace) -> int:
    """Follows a workflow: its events as they come, and how it ends."""
    task, after = server.find(options.workflow), options.after
    while True:
        status = server.call("status", task_id=task["id"])[0]["status"]
        for event in server.call("events", workflow_id=task["id"], topic=options.topic, after=after):
            after = event["n"]
            options.printer.line(
                event, f"{text(event['emitted_at'])}  {event['n']}  {event['topic']}  {text(event['payload'])}"
            )
        if status in FINISHED:
            break
        server.rows("CALL durable.wait_for_event(%s, %s, %s, '30 s', NULL)", task["id"], options.topic, after)
    (end,) = server.rows("CALL durable.wait_for_end(%s, '0 s')", task["id"])
    options.printer.line(end, f"{end['status']}  {text(end['output'] if end['error'] is None else end['error'])}")
    return 0 if end["status"] == "COMPLETED" else 1


def start(server: Server, options: argparse.Namespace) -> None:
    """Starts a workflow in a queue."""
    (row,) = server.call(
        "start",
        name=options.name,
        handler=options.handler,
        input=given_json(options.input),
        queue=options.queue,
        priority=options.priority,
        run_at=options.run_at,
        timeout=options.timeout,
        tags=given_json(options.tags),
    )
    word = "started" if row["created"] else f"is there already, {row['status']}"
    options.printer.said(f"{row['workflow_id']} {word}", workflow_id=row["workflow_id"], created=row["created"])


def signal_(server: Server, options: argparse.Namespace) -> None:
    """Sends a signal."""
    task = server.find(options.workflow)
    (row,) = server.call(
        "signal", workflow_id=task["id"], name=options.signal, payload=given_json(options.payload), key=options.key
    )
    options.printer.said("sent" if row["signal"] else "was sent before", workflow_id=task["id"])


def pause(server: Server, options: argparse.Namespace) -> int:
    """Pauses workflows, and all below them."""
    return each(server, options, "pause", lambda row: server.call("pause_tree", workflow_id=row["id"]))


def resume(server: Server, options: argparse.Namespace) -> int:
    """Resumes paused workflows."""
    return each(server, options, "resume", lambda row: server.call("resume_tree", workflow_id=row["id"]))


def cancel(server: Server, options: argparse.Namespace) -> int:
    """Cancels workflows and all below them, at once, or, with --gently, asks them to end."""
    if options.gently:
        return each(
            server,
            options,
            "ask to end",
            lambda row: server.call(
                "request_cancel", workflow_id=row["id"], reason=options.reason, grace=options.grace
            ),
        )
    return each(server, options, "cancel", lambda row: server.call("cancel_tree", workflow_id=row["id"]))


def retry(server: Server, options: argparse.Namespace) -> int:
    """Runs failed workflows again, from their last completed step."""
    if not options.workflow and not options.status:
        options.status = "FAILED"
    return each(
        server,
        options,
        "retry",
        lambda row: server.call("resume_failed", workflow_id=row["id"], from_sequence=options.from_sequence),
    )


def fork(server: Server, options: argparse.Namespace) -> None:
    """Begins a new run from a position of another, with a copy of what was recorded before."""
    task = server.find(options.workflow)
    (row,) = server.call(
        "fork",
        workflow_id=task["id"],
        from_sequence=options.from_sequence,
        name=options.name,
        input=given_json(options.input),
        queue=options.queue or task.get("queue_name"),
    )
    options.printer.said(f"{row['workflow_id']} {row['status']}", workflow_id=row["workflow_id"])


def schedule(server: Server, options: argparse.Namespace) -> None:
    """Schedules: list, create, pause, resume, trigger, drop, next."""
    if options.action == "list":
        options.printer.table(
            server.rows("SELECT * FROM durable.schedule ORDER BY name"),
            "name cron timezone queue_name next_run_at last_run_at skipped paused error",
        )
    elif options.action == "create":
        server.call(
            "create_schedule",
            name=options.name,
            cron=options.cron,
            queue=options.queue,
            handler=options.handler,
            input=given_json(options.input),
            timezone=options.timezone,
            overlap=options.overlap,
            catch_up=options.catch_up,
            if_exists="alter" if options.replace else None,
        )
        options.printer.said(f"schedule {options.name} is there")
    elif options.action == "next":
        rows = server.call("next_runs", cron=options.cron, timezone=options.timezone, max_rows=options.count)
        options.printer.table(rows)
    else:
        (row,) = server.call(f"{options.action}_schedule", name=options.name)
        started = row.get("trigger_schedule")
        options.printer.said(
            f"{options.action}: {options.name}" + (f", run {started}" if started else ""), workflow_id=started
        )


def queue(server: Server, options: argparse.Namespace) -> None:
    """Queues: list, create, alter, pause, resume, drain, drop."""
    if options.action == "list":
        columns = (
            "queue_name pending due oldest_pending running paused suspended max_concurrency rate_limit queue_paused"
        )
        options.printer.table(server.rows("SELECT * FROM durable.stats ORDER BY queue_name NULLS LAST"), columns)
        return
    if options.action in ("create", "alter"):
        limits = {
            "max_concurrency": options.max_concurrency,
            "rate_limit": options.rate_limit,
            "fair": options.fair or None,
            "rate_limit_window": options.rate_limit_window,
            "key_concurrency": options.key_concurrency,
        }
        server.call(f"{options.action}_queue", name=options.name, **limits)
    elif options.action == "drain":
        total = 0
        while count := server.call("drain_queue", name=options.name)[0]["drain_queue"]:
            total += count
        options.printer.said(f"drain: {options.name}, {total} workflows cancelled", cancelled=total)
        return
    else:
        server.call(f"{options.action}_queue", name=options.name)
    options.printer.said(f"{options.action}: {options.name}")


def check(server: Server, options: argparse.Namespace) -> int:
    """Checks every rule of the state machine; no row is good."""
    rows = server.call("check")
    options.printer.table(rows, "task_id problem")
    return 4 if rows else 0


def purge(server: Server, options: argparse.Namespace) -> None:
    """Deletes trees that have ended so long ago."""
    workflows = steps = 0
    while True:
        (row,) = server.call("purge", older_than=options.older, status=options.status)
        if not row["workflows"]:
            break
        workflows, steps = workflows + row["workflows"], steps + row["steps"]
    options.printer.said(f"purged {workflows} workflows, {steps} steps", workflows=workflows, steps=steps)


def top(server: Server, options: argparse.Namespace) -> None:
    """Shows queues, rates and executors, again and again."""
    for n in range(options.count or sys.maxsize):
        if n:
            time.sleep(options.interval)
        stats = server.rows("SELECT * FROM durable.stats ORDER BY queue_name NULLS LAST")
        executors = server.rows(
            "SELECT executor_id, last_seen, coalesce(why, 'alive') AS state, running, app_version"
            " FROM durable.executors(15)"
        )
        if options.json:
            options.printer.line({"queues": stats, "executors": executors}, "")
            continue
        if sys.stdout.isatty():
            print("\033[2J\033[H", end="")
        print(f"{datetime.now(UTC).astimezone():%H:%M:%S}\n")
        columns = "queue_name due pending oldest_pending running suspended paused stale completed_last_minute"
        options.printer.table(stats, columns + " failed_last_minute max_concurrency queue_paused")
        if executors:
            print()
            options.printer.table(executors)


def ui(server: None, options: argparse.Namespace) -> int:
    """Starts the dashboard, by npx."""
    if (npx := shutil.which("npx")) is None:
        raise Refused("the dashboard needs Node: install it, or run `npx durable-ui` where it is", 3)
    return subprocess.call([npx, "durable-ui", *([options.dsn] if options.dsn else []), *options.rest])


# ---- arguments ---------------------------------------------------------------------------------------


def parser() -> argparse.ArgumentParser:
    """All verbs and their arguments."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--dsn", default=argparse.SUPPRESS, help="the server, as libpq takes it; default: PGHOST and its like"
    )
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="JSON in the place of tables")
    filters = argparse.ArgumentParser(add_help=False)
    filters.add_argument("--status", type=str.upper, choices=STATUSES)
    filters.add_argument("--queue")
    filters.add_argument("--name")
    filters.add_argument("--handler")
    filters.add_argument("--tags", metavar="JSON", help="those whose tags contain this object")
    filters.add_argument("--older", metavar="INTERVAL", help="ended, or else created, so long ago: '1d', '2 hours'")
    filters.add_argument("--all", action="store_true", help="children, too")
    many = argparse.ArgumentParser(add_help=False, parents=[filters])
    many.add_argument("workflow", nargs="*", help="ids or names; without any, all that the filters match")
    many.add_argument("--yes", action="store_true", help="do not ask")

    top_level = argparse.ArgumentParser(
        prog="durable",
        description="Workflows of the PostgreSQL extension durable.",
        epilog=(__doc__ or "").split("\n\n")[1],
        parents=[common],
    )
    verbs = top_level.add_subparsers(metavar="VERB", required=True)

    def verb(
        name: str, fn: Callable[..., Any], *parents: argparse.ArgumentParser, under: Any = verbs
    ) -> argparse.ArgumentParser:
        doc = (fn.__doc__ or "").split("\n")[0]
        made: argparse.ArgumentParser = under.add_parser(name, help=doc, description=doc, parents=[common, *parents])
        made.set_defaults(fn=fn)
        return made

    def actions(name: str, fn: Callable[..., Any], *names: str) -> dict[str, argparse.ArgumentParser]:
        inner = verb(name, fn).add_subparsers(metavar="ACTION", required=True, dest="action")
        return {action: inner.add_parser(action, parents=[common]) for action in names}

    w = verb("worker", worker)
    w.add_argument("app", metavar="MODULE:APP")
    w.add_argument("--queue", action="append", help="default: those of the application's workflows")
    w.add_argument("--concurrency", type=int)
    w.add_argument("--patience", type=float, default=5, metavar="SECONDS", help="a longer wait gives its place free")
    w.add_argument("--grace", type=float, default=30, metavar="SECONDS", help="for steps that run, at SIGTERM")
    verb("list", list_, filters).add_argument("--limit", type=int, default=100)
    s = verb("show", show)
    s.add_argument("workflow", metavar="ID|NAME")
    s.add_argument("--limit", type=int, default=100, help="so many events")
    t = verb("tail", tail)
    t.add_argument("workflow", metavar="ID|NAME")
    t.add_argument("--topic")
    t.add_argument("--after", type=int, default=0)
    b = verb("start", start)
    b.add_argument("name")
    b.add_argument("--handler", required=True)
    b.add_argument("--queue", default="default")
    b.add_argument("--input", metavar="JSON")
    b.add_argument("--priority", type=int)
    b.add_argument("--run-at")
    b.add_argument("--timeout")
    b.add_argument("--tags", metavar="JSON")
    g = verb("signal", signal_)
    g.add_argument("workflow", metavar="ID|NAME")
    g.add_argument("signal")
    g.add_argument("--payload", metavar="JSON")
    g.add_argument("--key")
    verb("pause", pause, many)
    verb("resume", resume, many)
    c = verb("cancel", cancel, many)
    c.add_argument("--gently", action="store_true", help="ask them to end by themselves")
    c.add_argument("--reason")
    c.add_argument("--grace", metavar="INTERVAL", help="after which they are cancelled all the same")
    verb("retry", retry, many).add_argument("--from-sequence", type=int)
    f = verb("fork", fork)
    f.add_argument("workflow", metavar="ID|NAME")
    f.add_argument("--from-sequence", type=int, required=True)
    f.add_argument("--name")
    f.add_argument("--input", metavar="JSON")
    f.add_argument("--queue")
    by_action = actions("schedule", schedule, "list", "create", "pause", "resume", "trigger", "drop", "next")
    for action in "create", "pause", "resume", "trigger", "drop":
        by_action[action].add_argument("name")
    for action in "create", "next":
        by_action[action].add_argument("cron")
        by_action[action].add_argument("--timezone", default="UTC")
    by_action["next"].add_argument("--count", type=int, default=10)
    by_action["create"].add_argument("--queue", required=True)
    by_action["create"].add_argument("--handler")
    by_action["create"].add_argument("--input", metavar="JSON")
    by_action["create"].add_argument("--overlap", choices=["skip", "queue", "all", "cancel"])
    by_action["create"].add_argument("--catch-up", choices=["none", "last", "all"])
    by_action["create"].add_argument("--replace", action="store_true", help="alter it if it is there")
    by_action = actions("queue", queue, "list", "create", "alter", "pause", "resume", "drain", "drop")
    for action, made in by_action.items():
        if action != "list":
            made.add_argument("name")
        if action in ("create", "alter"):
            for limit in "--max-concurrency", "--rate-limit", "--key-concurrency":
                made.add_argument(limit, type=int)
            made.add_argument("--rate-limit-window", metavar="INTERVAL")
            made.add_argument("--fair", action="store_true")
    verb("check", check)
    p = verb("purge", purge)
    p.add_argument("--older", metavar="INTERVAL", required=True)
    p.add_argument("--status", action="append", type=str.upper, choices=STATUSES[3:])
    o = verb("top", top)
    o.add_argument("--interval", type=float, default=2, metavar="SECONDS")
    o.add_argument("--count", type=int, help="so often; default: for ever")
    verb("ui", ui).add_argument("rest", nargs=argparse.REMAINDER)
    return top_level


def main(args: list[str] | None = None) -> int:
    """The program `durable`."""
    options = parser().parse_args(args, argparse.Namespace(dsn="", json=False))
    options.printer = Printer(options.json)
    if args is None:  # as a program
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        server = None if options.fn in (worker, ui) else Server(options.dsn)
        return int(options.fn(server, options) or 0)
    except Refused as refused:
        print(f"durable: {refused}", file=sys.stderr)
        return refused.code
    except psycopg.Error as error:
        for line in (error.diag.message_primary or str(error), error.diag.message_detail, error.diag.message_hint):
            if line:
                print(f"durable: {line.strip()}", file=sys.stderr)
        return 3 if error.sqlstate in ("WF001", "WF012") else 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
