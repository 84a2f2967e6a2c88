#!/usr/bin/env python3
"""A worker, one process of as many as you like: for each package in its queue it counts the files and their sizes.

    durable worker manifest:app        # or: manifest.py

SIGTERM drains it. Kill it, and another one takes over what it had in hand at once.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import durable

app = durable.App(version=None)
app.queue("manifests", max_concurrency=20)


@app.workflow("manifest", queue="manifests")
def manifest(ctx: durable.Context, job: dict) -> dict:
    files, size = ctx.step("measure", measure, job["package"], job["info"])
    ctx.transaction("store", lambda tx: tx.execute(
        "INSERT INTO demo_queue.manifest VALUES (%s, %s, %s, %s)", (job["package"], files, size, os.getpid())))
    return {"files": files, "bytes": size}


def measure(package: str, info: str) -> list[int]:
    lists = [*Path(info).glob(f"{package}.list"), *Path(info).glob(f"{package}:*.list")]
    paths = {Path(line) for each in lists for line in each.read_text().splitlines()}
    files = [path for path in paths if path.is_file() and not path.is_symlink()]
    time.sleep(0.02)  # as if it were more work
    return [len(files), sum(path.stat().st_size for path in files)]


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format=f"%(message)s (process {os.getpid()})")
    app.run(concurrency=4)
