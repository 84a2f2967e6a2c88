"""Who takes part, and how each is installed and started."""

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
CLIENTS = HERE.parent
PYTHON = "/usr/bin/python3"
NODE = "22"  # pg-boss and graphile-worker need it; for all, so that they are alike


class Missing(Exception):
    """A contestant cannot take part, and why."""


@dataclass(frozen=True)
class Contestant:
    """A program that speaks the protocol of README.md, and the packages that it needs."""

    name: str
    program: str
    npm: tuple[str, ...] = ()
    pypi: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict, hash=False)

    is_queue: bool = False  # of jobs, without steps: a workflow is a chain of jobs

    @property
    def is_ours(self) -> bool:
        return self.name.startswith("durable")

    def does(self, kind: str) -> bool:
        """A plain job has no steps that could be fused."""
        return kind == "workflow" or self.env != FUSED


PG, PSYCOPG = "pg@8.23.1", "psycopg[binary]==3.3.9"
FUSED = {"BENCH_FUSED": "1"}
GRAPHILE = "graphile-worker@0.18.0"
ABSURDCTL = "absurdctl==0.5.1"  # has the schema
CONTESTANTS = [
    Contestant("durable, TypeScript", "durable.mjs", npm=(PG,)),
    Contestant("durable, TypeScript, fused", "durable.mjs", npm=(PG,), env=FUSED),
    Contestant("durable, Python", "durable_python.py", pypi=(PSYCOPG,)),
    Contestant("durable, Python, fused", "durable_python.py", pypi=(PSYCOPG,), env=FUSED),
    Contestant("durable, Rust", "durable.rs"),
    Contestant("DBOS, TypeScript", "dbos.mjs", npm=("@dbos-inc/dbos-sdk@5.3.0", PG)),
    Contestant("DBOS, Python", "dbos_python.py", pypi=("dbos==3.4.0", PSYCOPG)),
    Contestant("absurd, TypeScript", "absurd.mjs", npm=("absurd-sdk@0.5.0", PG), pypi=(ABSURDCTL,)),
    Contestant("absurd, Python", "absurd_python.py", pypi=("absurd-sdk==0.5.1", PSYCOPG, ABSURDCTL)),
    Contestant("pg-boss", "pgboss.mjs", npm=("pg-boss@12.38.0", PG), is_queue=True),
    Contestant("graphile-worker", "graphile.mjs", npm=(GRAPHILE, PG), is_queue=True),
    Contestant(
        "graphile-worker, batched", "graphile.mjs", npm=(GRAPHILE, PG), env={"BENCH_BATCHED": "1"}, is_queue=True
    ),
]


class Scratch:
    """A directory for each contestant, with what it needs, for this run only.

    Offline, there is nothing but what is installed here already: enough for ours.
    """

    def __init__(self, path: Path, offline: bool):
        self.path, self.offline = path, offline
        self.node = "node"

    def place(self, contestant: Contestant) -> Path:
        return self.path / contestant.program

    def command(self, contestant: Contestant) -> list[str]:
        match contestant.program.rsplit(".", 1)[1]:
            case "py":
                python = PYTHON if self.offline else "venv/bin/python"
                return [python, str(HERE / contestant.program)]
            case "mjs":
                return [self.node, contestant.program]
            case _:
                return [os.environ["BENCH_RUST"]]

    def install(self, contestant: Contestant) -> None:
        place = self.place(contestant)
        if place.exists():  # another one of the same program has been here
            return
        if contestant.program.endswith(".rs") and not os.access(os.environ.get("BENCH_RUST", ""), os.X_OK):
            raise Missing("BENCH_RUST does not name its program, which make bench-clients builds, with cargo")
        place.mkdir()
        try:
            if contestant.program.endswith(".mjs"):
                self.install_node()
                shutil.copy(HERE / "contest.mjs", place)
                shutil.copy(HERE / contestant.program, place)
                self.install_npm(contestant, place)
            if contestant.pypi and not self.offline:
                run(PYTHON, "-m", "venv", "venv", cwd=place)
                run("venv/bin/pip", "install", "-q", "--disable-pip-version-check", *contestant.pypi, cwd=place)
            if ABSURDCTL in contestant.pypi:
                schema = run(
                    "venv/bin/python", "-c", "import absurdctl; print(absurdctl.BUNDLED_SCHEMA_SQL)", cwd=place
                )
                (place / "absurd.sql").write_text(schema)
        except Missing:
            shutil.rmtree(place)
            raise

    def install_npm(self, contestant: Contestant, place: Path) -> None:
        if not self.offline:
            npm_install(place, *contestant.npm)
        if contestant.is_ours:
            client = CLIENTS / "typescript"
            if not (client / "dist").exists():
                run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=client)
                run("npm", "run", "build", cwd=client)
            modules = place / "node_modules"
            modules.mkdir(exist_ok=True)
            (modules / "durable-client").symlink_to(client)
            if self.offline:
                (modules / "pg").symlink_to(client / "node_modules/pg")

    def install_node(self) -> None:
        if self.offline or self.node != "node":
            return
        machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        package = f"node-{platform.system().lower()}-{machine}"
        place = self.path / "node"
        place.mkdir(exist_ok=True)
        npm_install(place, f"{package}@{NODE}")
        self.node = str(place / "node_modules" / package / "bin/node")


def npm_install(place: Path, *packages: str) -> None:
    (place / "package.json").write_text('{"private": true, "type": "module"}')
    run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages, cwd=place)


def run(*command: str, cwd: Path) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Missing(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise Missing(f"{' '.join(command)} failed: {said[-300:]}")
    return done.stdout
