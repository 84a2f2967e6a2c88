"""The command line, each verb."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import durable
import pytest
from durable.cli import main

HERE = Path(__file__).resolve().parent


@pytest.fixture
def cli(db, monkeypatch):
    def run(*args: str, code: int = 0, input: str = "") -> Any:
        monkeypatch.setenv("PGDATABASE", db.name)
        monkeypatch.setattr(sys, "stdin", io.StringIO(input))
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            assert main(list(args)) == code, said.getvalue()
        return json.loads(said.getvalue()) if "--json" in args and code == 0 else said.getvalue()

    return run


@pytest.fixture
def five(db):
    db.run("SELECT durable.create_queue('mail', if_exists => 'keep')")
    db.run("SELECT durable.cancel_tree(id) FROM durable.workflow WHERE status IN ('PENDING', 'RUNNING', 'PAUSED')")
    db.run(
        "SELECT durable.start('w' || n, handler => 'send', queue => 'mail', input => to_jsonb(n)) FROM generate_series(1, 5) n"
    )


def test_list_and_show(cli, five, db):
    rows = cli("list", "--queue", "mail", "--status", "pending", "--json")
    assert [row["name"] for row in rows] == ["w5", "w4", "w3", "w2", "w1"]
    assert "w3" in cli("list", "--name", "w3") and "w2" not in cli("list", "--name", "w3")
    assert cli("list", "--older", "1d", "--json") == []
    id, lease = db.run("SELECT workflow_id, lease FROM durable.claim('mail', 'cli')")[0]
    db.run("SELECT durable.emit(%s, 'progress', '1')", id)
    db.run("SELECT durable.await_callback(%s, 0, 'paid')", id)
    shown = cli("show", "w1")
    assert "w1 (workflow)" in shown and "input: 1" in shown and "paid" in shown and "progress" in shown
    assert cli("show", str(id), "--json")["waits"][0]["name"] == "paid"
    assert "there is no workflow nothing" in cli("show", "nothing", code=3)


def test_start_signal_and_tail(cli, five, db):
    started = cli(
        "start", "hello", "--handler", "h", "--queue", "mail", "--input", '{"a": 1}', "--priority", "9", "--json"
    )
    assert started["created"] and not cli("start", "hello", "--handler", "h", "--queue", "mail", "--json")["created"]
    assert "this is no JSON" in cli("start", "x", "--handler", "h", "--input", "{", code=2)
    assert "queue" in cli("start", "x", "--handler", "h", "--queue", "none", code=3)
    assert "sent" in cli("signal", "hello", "go", "--payload", "[1]", "--key", "k")
    assert "was sent before" in cli("signal", "hello", "go", "--key", "k")
    id = started["workflow_id"]
    assert db.run("SELECT name, workflow_id::text FROM durable.claim('mail', 'cli')") == [("hello", id)]
    follower = subprocess.Popen(
        [sys.executable, "-m", "durable.cli", "tail", "hello"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PGDATABASE": db.name, "PYTHONPATH": str(HERE.parent)},
    )
    time.sleep(0.5)
    db.run("SELECT durable.emit(%s, 'progress', '\"half\"')", id)
    db.run("SELECT durable.complete(%s, '\"done\"')", id)
    said = follower.communicate(timeout=20)[0].splitlines()
    assert said[0].endswith("1  progress  half") and said[1] == "COMPLETED  done" and follower.returncode == 0


def test_many_by_filter(cli, five, db):
    def count(status: str) -> int:
        return db.value("SELECT count(*) FROM durable.workflow WHERE queue_name = 'mail' AND status = %s", status)

    cancelled = count("CANCELLED")
    assert "Name a workflow, or give a filter" in cli("cancel", code=2)
    assert "cancel 5 workflows (w5, w4, w3 ...)?" in cli(
        "cancel", "--queue", "mail", "--status", "PENDING", code=1, input="n\n"
    )
    assert count("PENDING") == 5
    assert "pause: 5 of 5" in cli("pause", "--status", "PENDING", "--queue", "mail", input="y\n")
    assert count("PAUSED") == 5
    assert "resume: 2 of 2" in cli("resume", "w1", "w2")
    assert (
        cli("cancel", "--handler", "send", "--status", "pending", "--yes", "--json")["result"]
        == "cancel: 2 of 2 workflows"
    )
    assert (count("PAUSED"), count("CANCELLED")) == (3, cancelled + 2)
    assert "nothing matches" in cli("cancel", "--queue", "nowhere", "--yes", code=3)
    db.run("SELECT durable.resume_tree(id) FROM durable.workflow WHERE status = 'PAUSED'")
    db.run("SELECT durable.fail(workflow_id, 'no', lease) FROM durable.claim('mail', 'cli', 2)")
    assert "retry: 2 of 2" in cli("retry", "--queue", "mail", "--yes")
    assert "retry: 0 of 1" in cli("retry", "w5", code=1)


def test_queues(cli, db):
    cli("queue", "create", "q1", "--max-concurrency", "3", "--rate-limit", "10", "--rate-limit-window", "1 minute")
    cli("queue", "alter", "q1", "--max-concurrency", "4")
    cli("queue", "pause", "q1")
    row = next(row for row in cli("queue", "list", "--json") if row["queue_name"] == "q1")
    assert (row["max_concurrency"], row["rate_limit"], row["queue_paused"]) == (4, None, True)
    cli("queue", "resume", "q1")
    db.run("SELECT durable.start('d' || n, queue => 'q1') FROM generate_series(1, 3) n")
    assert "3 workflows cancelled" in cli("queue", "drain", "q1")
    cli("queue", "drop", "q1")
    assert "q1" not in cli("queue", "list")


def test_schedules(cli, five):
    cli(
        "schedule",
        "create",
        "nightly",
        "30 2 * * *",
        "--queue",
        "mail",
        "--handler",
        "send",
        "--timezone",
        "Europe/Berlin",
    )
    cli("schedule", "create", "nightly", "30 3 * * *", "--queue", "mail", "--replace")
    assert "30 3 * * *" in cli("schedule", "list")
    assert cli("schedule", "trigger", "nightly", "--json")["workflow_id"]
    cli("schedule", "pause", "nightly")
    assert cli("schedule", "list", "--json")[0]["paused"] is True
    cli("schedule", "resume", "nightly")
    cli("schedule", "drop", "nightly")
    assert len(cli("schedule", "next", "@daily", "--count", "3", "--json")) == 3
    assert "cron" in cli("schedule", "next", "99 * * * *", code=1)


def test_check_purge_and_top(cli, five, db):
    assert cli("check", "--json") == []
    db.run("SELECT durable.cancel_tree(id) FROM durable.workflow WHERE status IN ('PENDING', 'RUNNING', 'PAUSED')")
    assert cli("purge", "--older", "0 s", "--status", "cancelled", "--json")["workflows"] >= 5
    assert "QUEUE_NAME" in cli("top", "--count", "1")


def test_fork(cli, db):
    id = db.value("SELECT workflow_id FROM durable.start('old', executor_id => 'cli')")
    db.run("SELECT durable.complete(step_id, '1') FROM durable.claim_step(%s, 0, 'a')", id)
    forked = cli("fork", "old", "--from-sequence", "1", "--name", "new", "--json")
    assert db.value("SELECT count(*) FROM durable.history(%s)", forked["workflow_id"]) == 1


def test_no_server(cli):
    assert cli("--dsn", "host=/nowhere", "list", code=5)


def test_worker(db, tmp_path):
    (tmp_path / "shop.py").write_text(
        "import durable\napp = durable.App()\n@app.workflow('hello', queue='cli')\n"
        "def hello(ctx: durable.Context, who: str) -> str:\n    return ctx.step('say', lambda: 'hello ' + who)\n"
    )
    app = durable.App(db.conninfo)
    handle = app.start("hello", "hello-1", "Ann", queue="cli")
    worker = subprocess.Popen(
        [sys.executable, "-m", "durable.cli", "worker", "shop:app"],
        cwd=tmp_path,
        env={**os.environ, "PGDATABASE": db.name, "PYTHONPATH": str(HERE.parent)},
    )
    assert handle.result(20) == "hello Ann"
    worker.terminate()
    assert worker.wait(20) == 0
    app.close()
