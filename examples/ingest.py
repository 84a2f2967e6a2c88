#!/usr/bin/python3
"""Ingest a Debian package database (dpkg's status file) as a durable workflow.

    ingest.py --name ingest /var/lib/dpkg/status

Kill it wherever you like and run the same line again: it goes on where it was. The connection is
libpq's (PGHOST, PGDATABASE, ...). The steps:

    tables        transaction   creates the tables
    split         transaction   stores the file's stanzas, a section each: from here on the file
                                may change or vanish
    system        step          asks what system this is; fails twice, is retried by policy
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
import time
from datetime import timedelta
from pathlib import Path

from psycopg import Connection, sql

from durable import Executor, Failed, Json, Retry, Stop, Workflow

TABLES = """
    CREATE TABLE stanza (section text, position int, body text, PRIMARY KEY (section, position));
    CREATE TABLE package (name text, architecture text, version text NOT NULL,
                          section text NOT NULL, installed_kib int NOT NULL, summary text,
                          PRIMARY KEY (name, architecture));
    CREATE TABLE dependency (name text, architecture text, target text,
                             PRIMARY KEY (name, architecture, target));
    CREATE TABLE section (name text PRIMARY KEY, packages int NOT NULL, installed_kib int NOT NULL)
"""


# ---- reading the file --------------------------------------------------------------------------

def fields(stanza: str) -> dict[str, str]:
    """The fields of one package, without their continuation lines."""
    return dict(re.findall(r"^(\S+): *(.*)$", stanza, re.MULTILINE))


def dependencies(package: dict[str, str]) -> list[str]:
    """The names in `libc6 (>= 2.36), awk:any | mawk`."""
    names = re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]+)", package.get("Depends", ""))
    return sorted(set(names))


# ---- the workflow ------------------------------------------------------------------------------

class Ingest:
    """The program: a function of the workflow and of what its steps returned, of nothing else."""

    def __init__(self, schema: str, crash: Crash):
        self.schema = schema
        self.crash = crash

    def run(self, workflow: Workflow) -> Json:
        workflow.transaction("tables", self.create_tables)
        sections = workflow.transaction("split", lambda conn: self.split(conn, workflow.input))
        system = workflow.step("system", self.ask_system,
                               retry=Retry(max_retries=5, backoff=timedelta(seconds=0.2)))
        for name, packages in sections:
            workflow.child(f"section:{name}", self.load_section,
                           {"section": name, "packages": packages,
                            "batch": workflow.input["batch"]})
        return workflow.transaction("report", lambda conn: self.report(conn, system))

    def create_tables(self, conn: Connection) -> None:
        schema = sql.Identifier(self.schema)
        conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        conn.execute(TABLES)

    def split(self, conn: Connection, input: dict) -> Json:
        """Store the stanzas; return the sections and how many packages are in each."""
        text = Path(input["path"]).read_text(encoding="utf-8", errors="replace")
        sections: dict[str, list[str]] = {}
        for stanza in sorted(text.strip().split("\n\n")):
            if {"Package", "Version"} <= fields(stanza).keys():
                sections.setdefault(fields(stanza).get("Section", "none"), []).append(stanza)
        with conn.cursor().copy("COPY stanza FROM STDIN") as copy:
            for name, stanzas in sections.items():
                for position, stanza in enumerate(stanzas):
                    copy.write_row((name, position, stanza))
        return [[name, len(stanzas)] for name, stanzas in sorted(sections.items())]

    def ask_system(self, claim) -> Json:
        """Stands for a service that is down at first. The attempts are counted in the server."""
        if claim.attempt <= 2:
            raise ConnectionError("no answer (simulated)")
        release = Path("/etc/os-release").read_text()
        return re.search(r'^PRETTY_NAME="?([^"\n]*)', release, re.MULTILINE)[1]

    def load_section(self, child: Workflow) -> Json:
        section, batch = child.input["section"], child.input["batch"]
        for number, first in enumerate(range(0, child.input["packages"], batch), 1):
            child.transaction(f"batch-{number}", lambda conn: self.load_batch(
                conn, section, first, batch, f"{child.name}/batch-{number}"))
        return child.transaction("sum", lambda conn: self.sum_section(conn, section))

    def load_batch(self, conn: Connection, section: str, first: int, batch: int, step: str) -> Json:
        stanzas = conn.execute("SELECT body FROM stanza WHERE section = %s AND position >= %s"
                               " AND position < %s ORDER BY position",
                               (section, first, first + batch)).fetchall()
        packages = [fields(body) for body, in stanzas]
        with conn.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO package VALUES (%s, %s, %s, %s, %s, %s)",
                [(p["Package"], p["Architecture"], p["Version"], section,
                  int(p.get("Installed-Size", 0)), p.get("Description")) for p in packages])
            cursor.executemany(
                "INSERT INTO dependency VALUES (%s, %s, %s)",
                [(p["Package"], p["Architecture"], d) for p in packages for d in dependencies(p)])
        self.crash.inside(step, f"{len(packages)} packages written, not committed")
        return len(packages)

    def sum_section(self, conn: Connection, section: str) -> Json:
        return conn.execute("INSERT INTO section SELECT section, count(*), sum(installed_kib)"
                            " FROM package WHERE section = %s GROUP BY section"
                            " RETURNING packages", (section,)).fetchone()[0]

    def report(self, conn: Connection, system: str) -> Json:
        packages, kib = conn.execute("SELECT sum(packages), sum(installed_kib)"
                                     " FROM section").fetchone()
        largest = conn.execute("SELECT name, packages FROM section"
                               " ORDER BY packages DESC, name LIMIT 3").fetchall()
        needed = conn.execute("SELECT target, count(*) FROM dependency GROUP BY target"
                              " ORDER BY count(*) DESC, target LIMIT 3").fetchall()
        return {"system": system, "packages": packages, "installed_mib": int(kib) // 1024,
                "largest_sections": [list(row) for row in largest],
                "most_needed": [list(row) for row in needed]}


# ---- what a person sees, and the crash ---------------------------------------------------------

class Crash:
    """SIGKILL, at a step of the user's choosing: nothing is flushed, closed or rolled back here.

    before: the step is claimed, nothing else. inside: a batch's rows are written, not committed.
    after: the step is committed, and the process never learns what came next.
    """

    def __init__(self, step: str | None, when: str):
        self.step, self.when = step, when

    def before(self, step: str) -> None:
        self._at(step, "before", "claimed")

    def inside(self, step: str, detail: str) -> None:
        self._at(step, "inside", detail)

    def after(self, step: str) -> None:
        self._at(step, "after", "committed")

    def _at(self, step: str, when: str, detail: str) -> None:
        if (step, when) == (self.step, self.when):
            print(f"  KILLED   {step:<32} {detail}", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)


class Log:
    """Prints what becomes of each step and, for the demo, keeps it in a file, a JSON line each."""

    def __init__(self, journal: str | None, crash: Crash):
        self.journal = open(journal, "a", buffering=1) if journal else None
        self.crash = crash
        self.began = time.monotonic()

    def __call__(self, event: str, step: str, detail: str) -> None:
        if self.journal:
            print(json.dumps([event, step, detail]), file=self.journal)
        if event == "execute":
            self.began = time.monotonic()
            self.crash.before(step)
            return
        if event == "ran":
            milliseconds = (time.monotonic() - self.began) * 1000
            detail = f"{milliseconds:6.1f} ms" + ("" if detail == "attempt 1" else f", {detail}")
        print(f"  {event:<8} {step:<32} {detail}".rstrip(), flush=True)
        if event == "ran":
            self.crash.after(step)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", nargs="?", default="/var/lib/dpkg/status")
    parser.add_argument("--name", default="ingest", help="the workflow's name")
    parser.add_argument("--schema", default="demo", help="where the tables go")
    parser.add_argument("--batch", type=int, default=25, help="packages in a transaction")
    parser.add_argument("--executor", default="ingest", help="keep it when you start again")
    parser.add_argument("--kill-at", metavar="STEP", help="such as section:libs/batch-1")
    parser.add_argument("--kill-when", choices=["before", "inside", "after"], default="inside")
    parser.add_argument("--journal", metavar="FILE", help="append what becomes of each step")
    options = parser.parse_args()

    crash = Crash(options.kill_at, options.kill_when)
    with Executor(options.executor, f"options='-c search_path={options.schema}'",
                  observe=Log(options.journal, crash)) as executor:
        try:
            workflow = Workflow.start(executor, options.name,
                                      {"path": options.path, "batch": options.batch})
            print(f"{options.name}: process {os.getpid()}, lease {workflow.lease}", flush=True)
            report = workflow.run(Ingest(options.schema, crash).run)
        except (Failed, Stop) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 1
    print(f"{options.name}: completed")
    for key, value in report.items():
        print(f"  {key:<16} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
