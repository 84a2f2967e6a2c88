"""Two clusters with databases of buckets, and proxies: for the test and for scale/bench.

The first cluster is the one of scripts/with-cluster; others are made beside it, in the same way.
"""

import atexit
import os
import subprocess
import tempfile
from pathlib import Path

import psycopg

TREE = Path(__file__).resolve().parents[2]
GENERATE = TREE / "scale/plproxy/generate"


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


class Cluster:
    """A server, by its data directory, socket directory and port."""

    def __init__(self, data, host, port):
        self.data, self.host, self.port = Path(data), host, port

    @classmethod
    def first(cls):
        return cls(Path(os.environ["PGHOST"]) / "data", os.environ["PGHOST"], int(os.environ["PGPORT"]))

    @classmethod
    def another(cls, n=1):
        # beside the first, where scripts/with-cluster stops what is left
        cluster = cls(tempfile.mkdtemp(dir=os.environ["PGHOST"]) + "/data", os.environ["PGHOST"], int(os.environ["PGPORT"]) + n)
        run("initdb", "-D", cluster.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        with open(cluster.data / "postgresql.conf", "a") as conf:
            conf.write(f"include '{os.environ['TEMP_CONFIG']}'\nlisten_addresses = ''\nunix_socket_directories = '{cluster.host}'\n")
            conf.write(f"port = {cluster.port}\nfsync = off\n")
        cluster.start()
        atexit.register(cluster.stop)
        return cluster

    def configure(self, **settings):
        """Sets what needs a restart, and restarts."""
        with open(self.data / "postgresql.conf", "a") as conf:
            conf.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        self.stop()
        self.start()

    def start(self):
        # without pipes of ours, which the server would keep open
        subprocess.run(
            ["pg_ctl", "-D", self.data, "-l", self.data / "server.log", "-w", "start"], check=True, stdout=subprocess.DEVNULL
        )

    def stop(self, mode="fast"):
        subprocess.run(["pg_ctl", "-D", self.data, "-m", mode, "-w", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def dsn(self, database):
        return f"host={self.host} port={self.port} dbname={database}"

    def create(self, database):
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return self.dsn(database)


def ranges(n):
    """The buckets of n databases, from first to last."""
    return [(4096 * i // n, 4096 * (i + 1) // n - 1) for i in range(n)]


def rows(dsn, query, args=None):
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(query, args)
        return cursor.fetchall() if cursor.description else []


def value(dsn, query, args=None):
    return rows(dsn, query, args)[0][0]


def owner(dsn, first=None, last=None):
    """Makes a database own those buckets, by default none."""
    rows(dsn, "CREATE EXTENSION durable")
    rows(dsn, "SELECT durable.set_buckets(%s)", ["{}" if first is None else f"{{[{first},{last + 1})}}"])


def proxy(dsn, databases):
    schema = run(GENERATE, *databases)
    run("psql", "-qX", "-d", dsn, input=schema)
