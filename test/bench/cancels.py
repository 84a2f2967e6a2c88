"""cancel_tree against one UPDATE."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Iterator

from harness import FEW_ROUNDS, Figure, Found, checkpoint, connect, create, drop, empty, say, shuffled

TREE = 100_000  # tasks


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """Yields a list of one element: the most private memory that the process has had so far, in MB."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while True:
            kb = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]
            peak[0] = max(peak[0], int(kb) // 1024)
            if done.wait(0.01):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def cancels(postmaster: int, rng: random.Random) -> Found:
    """cancel_tree against one plain UPDATE of as many rows, each in a new copy of the same database."""
    assign = "SET status = 'CANCELLED', completed_at = now() WHERE status IN ('PENDING', 'RUNNING')"
    workflows = f"WITH w AS (UPDATE durable.workflow {assign} RETURNING 1) SELECT count(*) FROM w"
    both = (f"WITH w AS (UPDATE durable.workflow {assign} RETURNING 1), "
            f"s AS (UPDATE durable.step {assign} AND kind <> 'WORKFLOW' RETURNING 1) "
            "SELECT (SELECT count(*) FROM w) + (SELECT count(*) FROM s)")
    cancel = "SELECT durable.cancel_tree(bench.id(9, 0))"
    ratios, notes = [], []
    for text, fill_tree, update in [
            (f"{TREE:,} workflows", f"CALL bench.fill_tree({TREE}, 0)", workflows),
            (f"{TREE:,} tasks, 9 of 10 steps", f"CALL bench.fill_tree({TREE // 10}, 9)", both)]:
        say(f"cancel_tree: {text}")
        create("tree", empty(), fill_tree)
        times, memory = defaultdict(list), defaultdict(list)
        for _ in range(FEW_ROUNDS):
            for sql in shuffled(rng, [cancel, update]):
                create("tree_copy", "tree")
                checkpoint()
                with connect("tree_copy") as conn, watched(conn.info.backend_pid) as peak:
                    began = time.monotonic()
                    changed = conn.execute(sql).fetchone()[0]
                    times[sql].append(time.monotonic() - began)
                    assert changed == TREE, f"{sql}: {changed}"
                memory[sql].append(peak[0])
        ratios.append(Figure(f"cancel_tree of {text} : one UPDATE of as many rows",
                            [a / b for a, b in zip(times[cancel], times[update])], 2, False))
        notes.append(f"cancel_tree of {text}: {median(times[cancel]):.2f} s, at most {max(memory[cancel])} MB of private "
                     f"memory; one UPDATE: {median(times[update]):.2f} s, {max(memory[update])} MB.")
    drop("tree", "tree_copy")
    return Found(ratios, notes)
