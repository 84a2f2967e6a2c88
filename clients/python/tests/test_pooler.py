"""Behind PgBouncer in transaction mode, with default settings, without being told."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import durable
import psycopg
import pytest

PGBOUNCER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"


@pytest.mark.skipif(not Path(PGBOUNCER).exists(), reason="there is no pgbouncer")
def test_pgbouncer(db, tmp_path):
    info = psycopg.connect(db.conninfo).info
    (tmp_path / "ini").write_text(
        f"[databases]\n{db.name} = host={info.host} port={info.port} user={info.user}\n[pgbouncer]\nlisten_addr =\n"
        f"unix_socket_dir = {tmp_path}\nlisten_port = 6544\nauth_type = any\npool_mode = transaction\n"
    )
    pooler = subprocess.Popen([PGBOUNCER, "-q", str(tmp_path / "ini")], stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 10
        while not os.path.exists(tmp_path / ".s.PGSQL.6544"):
            assert time.monotonic() < end and pooler.poll() is None
            time.sleep(0.05)
        app = durable.App(f"host={tmp_path} port=6544 dbname={db.name}")

        @app.workflow("pooled", queue="pooled")
        def pooled(ctx, n):
            for i in range(8):
                ctx.step(f"s{i}", int)
            ctx.transaction("t", lambda tx: tx.execute("SELECT 1") and None)
            return 2 * n

        app.queue("pooled")
        worker = threading.Thread(target=app.run, kwargs={"concurrency": 4, "handle_signals": False})
        worker.start()
        handles = [app.start(pooled, f"pooled-{n}", n) for n in range(30)]
        try:
            assert [handle.result(timeout=30) for handle in handles] == [2 * n for n in range(30)]
        finally:
            app.stop()
            worker.join(30)
            app.close()
    finally:
        pooler.terminate()
        pooler.wait(10)
