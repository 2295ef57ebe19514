"""How much CPU others used during a window: a busy neighbor can halve what a CPU-bound engine reaches.

From ``/proc/stat`` (user, nice and system time of the host) less the trees of the server and of ourselves. Interrupt
time is left out: the kernel books the loopback traffic of the measurement itself there.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class CpuSample:
    """Seconds of CPU used since boot, at a moment."""

    at: float
    host_s: float
    ours_s: float


def sample(pids: Iterable[int]) -> CpuSample | None:
    """The host's CPU time, and that of this process's, and these processes', trees. None where there is no /proc."""
    try:
        fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    parents, used = _table()
    roots = {os.getpid(), *pids}
    ours = sum(seconds for pid, seconds in used.items() if _under(pid, roots, parents))
    return CpuSample(time.monotonic(), sum(map(int, fields[1:4])) / _TICKS, ours)


def foreign_cores(begin: CpuSample | None, end: CpuSample | None) -> float | None:
    """Cores used by others between two samples; None when a sample is missing or they are at the same time."""
    if begin is None or end is None or end.at <= begin.at:
        return None
    used = (end.host_s - begin.host_s) - (end.ours_s - begin.ours_s)
    return max(0.0, used / (end.at - begin.at))


def _table() -> tuple[dict[int, int], dict[int, float]]:
    """Per process its parent, and its CPU seconds with those of children that it has waited for."""
    parents = {}
    used = {}
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        try:
            text = (_PROC / entry.name / "stat").read_text()
        except OSError:
            continue  # it has just ended
        fields = text.rpartition(")")[2].split()
        pid = int(entry.name)
        parents[pid] = int(fields[1])
        used[pid] = sum(map(int, fields[11:15])) / _TICKS
    return parents, used


def _under(pid: int, roots: set[int], parents: dict[int, int]) -> bool:
    while pid > 0:
        if pid in roots:
            return True
        pid = parents.get(pid, 0)
    return False
