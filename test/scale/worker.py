"""A worker of the test: `worker.py proxy CONNINFO LEDGER` or `worker.py map "FIRST LAST CONNINFO|..." LEDGER`."""

import logging
import sys
import time
from pathlib import Path

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "clients/python"))
import durable

kind, where, ledger = sys.argv[1:]
logging.basicConfig(level=logging.WARNING)


def application(kind, where):
    if kind == "proxy":
        return durable.App(where)
    databases = {}
    for entry in where.split("|"):
        first, last, dsn = entry.split(" ", 2)
        databases[int(first), int(last)] = dsn
    return durable.App(databases=databases)


app = application(kind, where)
book = psycopg.connect(ledger, autocommit=True)


def note(step, name, n):
    """An effect outside: once for a step, however often that is run."""
    with book.cursor() as cursor:
        cursor.execute("INSERT INTO ledger VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", (step.id, name, n))
    time.sleep(0.01)
    return n


@app.workflow("sum", queue="work")
def add(ctx: durable.Context, count: int) -> int:
    return sum(ctx.step(f"step {n}", lambda step, n=n: note(step, ctx.name, n)) for n in range(count))


@app.workflow("parent", queue="work")
def parent(ctx: durable.Context, count: int) -> int:
    kids = [ctx.child(f"kid {n}", add, 2, queue="work") for n in range(count)]
    return sum(ctx.gather(*kids)) + ctx.step("last", lambda step: note(step, ctx.name, 100))


if __name__ == "__main__":
    app.run(concurrency=4, patience=1)
