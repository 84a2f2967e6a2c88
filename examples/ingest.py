#!/usr/bin/env python3
"""Ingest a Debian package database (dpkg's status file) as a durable workflow.

    ingest.py --name ingest /var/lib/dpkg/status

Kill it wherever you like and run the same line again: it goes on where it was. The server is libpq's choice (PGHOST,
PGDATABASE ...). The steps:

    tables        transaction   creates the tables
    split         transaction   stores the file's stanzas: from here on the file may change or vanish
    system        step          asks what system this is; fails twice, is tried again by policy
    section:X     child         one for each section of the packages
      batch-N     transaction   loads some packages and what they depend on
      sum         transaction   adds the section up
    report        transaction   adds everything up: the workflow's output
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import durable

TABLES = """
    CREATE TABLE stanza (section text, position int, body text, PRIMARY KEY (section, position));
    CREATE TABLE package (name text, architecture text, version text NOT NULL, section text NOT NULL,
                          installed_kib int NOT NULL, summary text, PRIMARY KEY (name, architecture));
    CREATE TABLE dependency (name text, architecture text, target text, PRIMARY KEY (name, architecture, target));
    CREATE TABLE section (name text PRIMARY KEY, packages int NOT NULL, installed_kib int NOT NULL)
"""

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("path", nargs="?", default="/var/lib/dpkg/status")
parser.add_argument("--name", default="ingest", help="the workflow's name")
parser.add_argument("--schema", default="demo", help="where the tables go")
parser.add_argument("--batch", type=int, default=25, help="packages in a transaction")
parser.add_argument("--executor", default="ingest", help="keep it when you start again")
parser.add_argument("--kill", metavar="STEP:WHEN", help="SIGKILL, such as section:libs/batch-1:inside (or before, after)")
options = parser.parse_args()
app = durable.App(executor=options.executor, options=f"-c search_path={options.schema}")


@app.workflow("ingest")
def ingest(ctx: durable.Context, job: dict) -> dict:
    ctx.transaction("tables", create_tables)
    sections = ctx.transaction("split", split, job["path"])
    system = ctx.step("system", ask_system, retry=durable.Retry(5, backoff=0.2))
    for name, packages in sections:
        ctx.child(f"section:{name}", load_section, {"section": name, "packages": packages, "batch": job["batch"]})
    return ctx.transaction("report", report, system)


@app.workflow("section")
def load_section(ctx: durable.Context, job: dict) -> int:
    for number, first in enumerate(range(0, job["packages"], job["batch"]), 1):
        ctx.transaction(f"batch-{number}", load_batch, job["section"], first, job["batch"], number)
    return ctx.transaction("sum", sum_section, job["section"])


# ---- the steps: what they do happens once, and together with their record -------------------------------


def create_tables(tx: Any) -> None:
    tx.execute(f"CREATE SCHEMA IF NOT EXISTS {options.schema}")
    tx.execute(TABLES)


def fields(stanza: str) -> dict[str, str]:
    """The fields of one package, without their continuation lines."""
    return dict(re.findall(r"^(\S+): *(.*)$", stanza, re.MULTILINE))


def split(tx: Any, path: str) -> list:
    """Stores the stanzas; the sections, and how many packages are in each."""
    sections: dict[str, list[str]] = {}
    for stanza in sorted(Path(path).read_text(encoding="utf-8", errors="replace").strip().split("\n\n")):
        if {"Package", "Version"} <= fields(stanza).keys():
            sections.setdefault(fields(stanza).get("Section", "none"), []).append(stanza)
    with tx.cursor().copy("COPY stanza FROM STDIN") as copy:
        for name, stanzas in sections.items():
            for position, stanza in enumerate(stanzas):
                copy.write_row((name, position, stanza))
    return [[name, len(stanzas)] for name, stanzas in sorted(sections.items())]


def ask_system(step: durable.Step) -> str:
    """Stands for a service that is down at first. The attempts are counted in the server."""
    if step.attempt <= 2:
        raise ConnectionError("no answer (simulated)")
    return re.search(r'^PRETTY_NAME="?([^"\n]*)', Path("/etc/os-release").read_text(), re.MULTILINE)[1]


def load_batch(tx: Any, section: str, first: int, batch: int, number: int) -> int:
    rows = tx.execute("SELECT body FROM stanza WHERE section = %s AND position >= %s AND position < %s ORDER BY position",
                      (section, first, first + batch)).fetchall()
    packages = [fields(body) for body, in rows]
    with tx.cursor() as cursor:
        cursor.executemany("INSERT INTO package VALUES (%s, %s, %s, %s, %s, %s)", [
            (p["Package"], p["Architecture"], p["Version"], section, int(p.get("Installed-Size", 0)), p.get("Description"))
            for p in packages])
        cursor.executemany("INSERT INTO dependency VALUES (%s, %s, %s)", [
            (p["Package"], p["Architecture"], target) for p in packages
            for target in set(re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", p.get("Depends", "")))])
    kill(f"section:{section}/batch-{number}", "inside")
    return len(packages)


def sum_section(tx: Any, section: str) -> int:
    return tx.execute("INSERT INTO section SELECT section, count(*), sum(installed_kib) FROM package WHERE section = %s"
                      " GROUP BY section RETURNING packages", (section,)).fetchone()[0]


def report(tx: Any, system: str) -> dict:
    packages, kib = tx.execute("SELECT sum(packages), sum(installed_kib) FROM section").fetchone()
    largest = tx.execute("SELECT name, packages FROM section ORDER BY packages DESC, name LIMIT 3").fetchall()
    needed = tx.execute("SELECT target, count(*) FROM dependency GROUP BY target ORDER BY count(*) DESC, target LIMIT 3")
    return {"system": system, "packages": packages, "installed_mib": int(kib) // 1024, "largest_sections": largest,
            "most_needed": needed.fetchall()}


# ---- what a person sees, and the crash -------------------------------------------------------------------


def kill(step: str, when: str) -> None:
    """SIGKILL, at a step of the user's choosing: nothing is flushed, closed or rolled back here."""
    if options.kill == f"{step}:{when}":
        print(json.dumps(["killed", step]), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


@app.observers.append
def observe(event: str, flow: durable.Context, name: str | None, *_: Any) -> None:
    """Is told what becomes of each step: a line of JSON each, for demo.py."""
    if name is not None:
        step = name if flow.name == options.name else f"{flow.name}/{name}"
        if event == "execute":
            kill(step, "before")
        else:
            print(json.dumps([event, step]), flush=True)
        if event == "completed":
            kill(step, "after")


if __name__ == "__main__":
    try:
        done = app.drive(ingest, options.name, {"path": options.path, "batch": options.batch})
    except durable.DurableError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    for key, value in done.items():
        print(f"{key:<16} {value}")
