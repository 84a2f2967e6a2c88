import os

from contest import CONCURRENCY, CONNECTIONS, KIND, STEPS, began, contest, did, each
from dbos import DBOS

url = "postgresql://{PGUSER}@/{PGDATABASE}?host={PGHOST}".format_map(os.environ)
DBOS(config={"name": "bench", "system_database_url": url, "sys_db_pool_size": CONNECTIONS, "log_level": "ERROR"})


@DBOS.step()
def work(step: int) -> dict[str, int]:
    return did(step)


@DBOS.workflow()
def program(n: int) -> None:
    began(n)
    if KIND == "job":
        did()
        return
    for step in range(STEPS):
        work(step)


def enqueue(first: int, number: int) -> None:
    each(range(first, first + number), lambda n: DBOS.enqueue_workflow("bench", program, n))


def register() -> None:
    DBOS.register_queue("bench", worker_concurrency=CONCURRENCY, polling_interval_sec=0.02)


DBOS.launch()
contest(enqueue, register)
