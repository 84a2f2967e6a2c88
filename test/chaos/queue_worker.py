#!/usr/bin/python3
"""A worker that takes workflows from a queue, one process of as many as you like.

    queue_worker.py --queue manifests --executor worker-1

It claims a few at a time and drives them one by one, tells the server that it lives, and takes
over the workflows of executors that have died. SIGTERM drains it: it ends the step it is in and
hands everything else back at once; somebody else goes on with the next step.

The work: for a package, count the files it has on this system and add up their sizes.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Callable

from psycopg import Connection

from durable import Executor, Failed, Json, Stop, Suspended, Workflow


def manifest(workflow: Workflow) -> Json:
    """Step: read the package's list of files. Transaction: store the sums."""
    package = workflow.input["package"]
    executor = workflow.executor.id

    def measure(claim) -> Json:
        info = Path(workflow.input["info"])
        lists = [*info.glob(f"{package}.list"), *info.glob(f"{package}:*.list")]
        paths = {Path(line) for file in lists for line in file.read_text().splitlines()}
        files = [path for path in paths if path.is_file() and not path.is_symlink()]
        time.sleep(workflow.input.get("pace", 0))  # as if it were more work
        return [len(files), sum(path.stat().st_size for path in files)]

    def store(conn: Connection) -> None:
        conn.execute("INSERT INTO demo_queue.manifest VALUES (%s, %s, %s, %s)",
                     (package, files, size, executor))

    files, size = workflow.step("measure", measure)
    workflow.transaction("store", store)
    return {"files": files, "bytes": size}


def unknown(workflow: Workflow) -> Json:
    raise LookupError("this worker has no handler of that name")


HANDLERS: dict[str, Callable[[Workflow], Json]] = {"manifest": manifest}


class Worker:
    """One executor on one queue."""

    def __init__(self, executor: Executor, queue: str, batch: int, stale_after: timedelta):
        self.executor, self.queue, self.batch = executor, queue, batch
        self.stale_after = stale_after
        self.next_recovery = 0.0

    def work(self) -> None:
        """Until SIGTERM: the dead's work first, then what was lost track of, then the queue."""
        draining = self.executor.draining
        while not draining.is_set():
            rows = self.recovered() or self.strays() or self.claimed()
            for row in rows:
                self.executor.held[row.workflow_id] = row.lease
            for row in rows:
                if not draining.is_set():
                    self.drive(row)
            if not rows:
                self.rest()
        handed_back = self.executor.call("release", executor_id=self.executor.id)[0][0]
        self.say(f"drained, {handed_back} handed back")

    def rest(self) -> None:
        self.executor.draining.wait(0.1)

    def claimed(self) -> list:
        return self.executor.call("claim", queue=self.queue, executor_id=self.executor.id,
                                  max_workflows=self.batch)

    def recovered(self) -> list:
        if time.monotonic() < self.next_recovery:
            return []
        self.next_recovery = time.monotonic() + self.stale_after.total_seconds() / 4
        rows = self.executor.call("recover", executor_id=self.executor.id, queue=self.queue,
                                  handlers=list(HANDLERS), stale_after=self.stale_after)
        for row in rows:
            self.say(f"recovered {row.name}: {row.reason}")
        return rows

    def strays(self) -> list:
        """Workflows that the server says are ours: the answer to a claim was lost on its way."""
        strays, self.executor.strays = self.executor.strays, []
        rows = []
        for id in strays:
            if id not in self.executor.held:
                row, = self.executor.call("attach", workflow_id=id, executor_id=self.executor.id)
                if row.status == "RUNNING" and row.owner == self.executor.id:
                    rows.append(SimpleNamespace(workflow_id=id, **row._asdict()))
        return rows

    def drive(self, row) -> None:
        """Run one workflow as far as it goes; whatever stops it concerns no other."""
        workflow = Workflow(self.executor, row.workflow_id, row.name, row.lease, row.input)
        try:
            workflow.run(HANDLERS.get(row.handler, unknown))
        except Failed as error:
            self.say(f"failed {error}")
        except Suspended as error:
            if not self.executor.draining.is_set():  # if it is, `work` hands everything back
                self.executor.call("release", executor_id=self.executor.id,
                                   workflow_id=row.workflow_id, run_at=error.args[1])
        except Stop as error:
            if self.executor.conn.closed:
                raise
            self.say(f"left {row.name}: {error}")

    def say(self, what: str) -> None:
        print(f"{self.executor.id} (process {os.getpid()}): {what}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queue", required=True)
    parser.add_argument("--executor", required=True, help="this process's id, no other's")
    parser.add_argument("--batch", type=int, default=4, help="workflows to claim at once")
    parser.add_argument("--heartbeat", type=float, default=30, metavar="SECONDS")
    parser.add_argument("--stale-after", type=float, default=180, metavar="SECONDS",
                        help="an executor silent for so long is dead")
    options = parser.parse_args()

    with Executor(options.executor, heartbeat=options.heartbeat, patience=5) as executor:
        signal.signal(signal.SIGTERM, lambda *_: executor.draining.set())
        worker = Worker(executor, options.queue, options.batch,
                        timedelta(seconds=options.stale_after))
        try:
            worker.work()
        except Stop as error:  # the server is gone: start again when it is back
            worker.say(str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
