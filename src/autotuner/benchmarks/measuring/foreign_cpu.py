"""CPU time that foreign processes used during a window; a busy neighbor can halve the throughput of a CPU-bound engine.

It is the host's user, nice and system time in ``/proc/stat``, minus that of the server's processes and of ours.
Interrupt time is excluded, because the kernel accounts the measurement's own loopback traffic there.
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
    """CPU time used since boot, in seconds."""

    at: float
    """Monotonic time of the sample, in seconds."""
    host_s: float
    """By all processes of the host."""
    ours_s: float
    """By the server, the load generator and this process, with their descendants."""


def sample(pids: Iterable[int]) -> CpuSample | None:
    """Samples the CPU time of the host, and of this process and ``pids`` with their descendants.

    Returns:
        None if the system has no ``/proc``.
    """
    try:
        fields = (_PROC / "stat").read_text().split("\n", 1)[0].split()
    except OSError:
        return None
    parents, used = _table()
    roots = {os.getpid(), *pids}
    ours = sum(seconds for pid, seconds in used.items() if _under(pid, roots, parents))
    return CpuSample(time.monotonic(), sum(map(int, fields[1:4])) / _TICKS, ours)


def foreign_cores(begin: CpuSample | None, end: CpuSample | None) -> float | None:
    """Average number of cores used by foreign processes between two samples; None if a sample is missing or no time
    has passed between them."""
    if begin is None or end is None or end.at <= begin.at:
        return None
    used = (end.host_s - begin.host_s) - (end.ours_s - begin.ours_s)
    return max(0.0, used / (end.at - begin.at))


def _table() -> tuple[dict[int, int], dict[int, float]]:
    """The parent of each process, and its CPU seconds including those of children that it has waited for."""
    parents = {}
    used = {}
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit():
            continue
        try:
            text = (_PROC / entry.name / "stat").read_text()
        except OSError:
            continue  # the process has just ended
        # The command name, in parentheses, may itself contain spaces and parentheses.
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
