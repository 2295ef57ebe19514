"""Whether the kernel has killed a process for want of memory, by its own counters.

SIGKILL alone says nothing: an administrator, a service manager or a script sends the same. The control group of this
process counts the kills in it and below it, whichever limit caused them, and servers are in it too. Where it has no
counter, the machine's own one stands in.
"""

import re
from pathlib import Path

_PROC = Path("/proc")
_CGROUPS = Path("/sys/fs/cgroup")
_COUNTER = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


def oom_kills() -> int | None:
    """Kills so far, to be compared with a later call; None where nothing counts them."""
    for file in (*_control_group(), _PROC / "vmstat"):
        try:
            found = _COUNTER.search(file.read_text())
        except OSError:
            continue
        if found:
            return int(found[1])
    return None


def ran_out(before: int | None) -> bool:
    """Whether there were more since ``before``."""
    now = oom_kills()
    return before is not None and now is not None and now > before


def _control_group() -> list[Path]:
    """Files that may have this process's counter. Seen from inside of a container, its own group is the root."""
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
