"""Out-of-memory kills, by the kernel's own counters.

SIGKILL alone proves nothing: an administrator, a service manager or a script sends it too. The control group of this
process, to which its servers belong, counts the kills in it and below it, whichever limit caused them. Without such a
counter, the machine's is used.
"""

import re
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_COUNTER = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills() -> int | None:
    """Number of kills so far; None if there is no counter."""
    for file in (*_control_group(), _PROC / "vmstat"):
        try:
            found = _COUNTER.search(file.read_text())
        except OSError:
            continue
        if found:
            return int(found[1])
    return None


def ran_out(before: int | None) -> bool:
    """Whether there were kills since :func:`oom_kills` returned ``before``."""
    now = oom_kills()
    return before is not None and now is not None and now > before


def _control_group() -> list[Path]:
    """Files that may contain this process's counter. Seen from inside a container, its own group is the root."""
    try:
        lines = (_PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        inside = path.lstrip("/")
        if not controllers:
            found += [_CGROUPS / inside / "memory.events", _CGROUPS / "memory.events"]
        elif "memory" in controllers.split(","):
            folder = _CGROUPS / "memory"
            found += [folder / inside / "memory.oom_control", folder / "memory.oom_control"]
    return found
