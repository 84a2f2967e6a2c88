"""How much CPU a server uses."""

import os
from pathlib import Path


def server_cpu(data: Path) -> float:
    """Seconds of all processes of the server with that data directory; those of ended ones are in their parent's."""
    postmaster = (data / "postmaster.pid").read_text().split()[0]
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return (_ticks(postmaster, True) + sum(map(_ticks, children))) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: str, children: bool = False) -> int:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return sum(map(int, fields[11 : 15 if children else 13]))
