"""What all contestants in Python share: the protocol with `run`, see README.md."""

import os
import random
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

STEPS = 10
MODE, KIND = sys.argv[1:3]
CONCURRENCY, COUNT, SECONDS = map(int, sys.argv[3:6])
CONNECTIONS = max(10, CONCURRENCY)  # of the contestant's pool, whoever it is

total = 0
lock = threading.Lock()
running: dict[int, float] = {}  # when each has begun
runs = threading.Condition()


def began(n: int) -> None:
    """A workflow's function begins to run: the one of that number."""
    if MODE == "latency":
        now = time.perf_counter()
        with runs:
            running[n] = now
            runs.notify()


def did(step: int = 0) -> dict[str, int]:
    """A step of a workflow is done, or a job."""
    global total
    with lock:
        total += 1
    return {"step": step}


def say(what: str, value: float) -> None:
    print(what, value, flush=True)


def each(numbers: range, call: Callable[[int], object]) -> None:
    """So many calls, not all at once."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        list(threads.map(call, numbers))


def contest(enqueue: Callable[[int, int], None], work: Callable[[], None]) -> None:
    """`enqueue(first, number)` so many, numbered from the first; `work()` runs what is in the queue, in a thread."""
    (latency if MODE == "latency" else throughput)(enqueue, threading.Thread(target=work, daemon=True))
    time.sleep(60)  # it is ended from outside
    os._exit(0)


def until(number: int, seconds: float) -> None:
    """Until so much is done, or the time is over."""
    over = time.monotonic() + seconds
    while total < number and time.monotonic() < over:
        time.sleep(0.005)


def throughput(enqueue: Callable[[int, int], None], work: threading.Thread) -> None:
    """Until all have ended, or the time is over; the first second is not counted."""
    every = COUNT * STEPS if KIND == "workflow" else COUNT
    enqueue(0, COUNT)
    say("ready", 0)
    sys.stdin.readline()
    work.start()
    until(1, 60)
    until(every // 10, 1)
    say("begin", total)
    until(every, SECONDS)
    say("end", total)


def latency(enqueue: Callable[[int, int], None], work: threading.Thread) -> None:
    """One after the other, each into an idle worker's queue."""
    work.start()
    time.sleep(1)
    over = time.monotonic() + SECONDS
    for n in range(COUNT):
        if time.monotonic() > over:
            break
        since = time.perf_counter()
        enqueue(n, 1)
        with runs:
            runs.wait_for(lambda n=n: n in running)
        say("latency", running[n] - since)
        time.sleep(random.uniform(0.02, 0.22))  # not in step with who polls
    say("end", 0)
