#!/usr/bin/env python3
"""A worker without a client library: the jobs of a queue, by a driver alone.

    queue_worker.py --queue thumbnails

Start jobs from anywhere: SELECT durable.start('thumbnail-7', '{"image": 7}', 'thumbnail', queue => 'thumbnails', max_retries => 3)

One connection waits, and is bound to the executor: it is woken when there is work, and when this process dies the
server knows at once, and another worker's wait ends to take over. The other connection claims, and ends what was done.
Run as many of them as you like. SIGTERM ends one when the job that it is at is done, and hands the others back.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import time
from typing import Any

import psycopg
from psycopg.types.json import Jsonb


def thumbnail(job: Any) -> Any:
    if job["image"] < 0:
        raise ValueError(f"there is no image {job['image']}")
    time.sleep(job.get("seconds", 0.1))
    return {"bytes": 9000 + job["image"]}


HANDLERS = {"thumbnail": thumbnail}


class Stopped(Exception):
    """It was told to stop while it waits, or is about to."""


class Worker:
    def __init__(self, queue: str, executor: str) -> None:
        self.queue, self.executor = queue, executor
        self.is_waiting = self.is_stopping = False
        self.ear = psycopg.connect(autocommit=True)
        self.conn = psycopg.connect(autocommit=True)
        self.conn.execute("SELECT durable.create_queue(%s, if_exists => 'keep')", [queue])

    def stop(self, *_: object) -> None:
        self.is_stopping = True
        if self.is_waiting:
            self.is_waiting = False
            raise Stopped

    def run(self) -> None:
        print(f"{self.executor} waits for work", flush=True)
        while not self.is_stopping:
            try:
                self.is_waiting = True
                if self.is_stopping:
                    break
                reason = self.ear.execute(
                    "CALL durable.wait_for_work(%s, ARRAY[%s], bind => true)", [self.executor, self.queue]
                ).fetchone()
                self.is_waiting = False
            except Stopped:
                break
            call = "claim(%(queue)s, %(executor)s, 10, %(handlers)s)"
            if reason == ("recover",):
                call = "recover(%(executor)s, 10, queue => %(queue)s, handlers => %(handlers)s)"
            for job in self.conn.execute(
                f"SELECT workflow_id, handler, input, lease FROM durable.{call}",
                {"queue": self.queue, "executor": self.executor, "handlers": list(HANDLERS)},
            ).fetchall():
                if not self.is_stopping:
                    self.work(*job)
        self.conn.execute("SELECT durable.release(%s)", [self.executor])

    def work(self, id: str, handler: str, input: Any, lease: int) -> None:
        """What fails is tried again, as the job's start has said. What somebody has taken over (WF008) is theirs to end."""
        try:
            try:
                output = HANDLERS[handler](input)
            except Exception as error:
                self.conn.execute("SELECT durable.fail(%s, %s, %s)", [id, str(error), lease])
                print(f"{input} failed: {error}", flush=True)
            else:
                self.conn.execute("SELECT durable.complete(%s, %s, %s)", [id, Jsonb(output), lease])
                print(f"{input} done: {output}", flush=True)
        except psycopg.Error as error:
            if error.sqlstate != "WF008":
                raise


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queue", default="thumbnails")
    parser.add_argument("--executor", default=f"{socket.gethostname()}-{os.getpid()}")
    worker = Worker(**vars(parser.parse_args()))
    signal.signal(signal.SIGTERM, worker.stop)
    worker.run()
