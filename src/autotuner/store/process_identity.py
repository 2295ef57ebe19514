"""Which process a runner is, in a form that another process can check later without any clock.

The kernel's boot id, the PID namespace, the pid and the start time in clock ticks since boot name one process of one
kernel. None of them moves when the wall clock is set. Elsewhere than on Linux, psutil's start time takes their place.
"""

import os
import socket
import sys
from pathlib import Path
from typing import NamedTuple, Self

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HAS_PROC = sys.platform.startswith("linux")
_ENDED = frozenset("ZXx")
"""States of a process that has ended and only waits to be collected by its parent."""


class ProcessIdentity(NamedTuple):
    """One process. An empty ``boot`` compares with nothing."""

    boot: str
    """The kernel's boot id; platform and host name where there is none."""
    pid_namespace: int
    """Inode of the PID namespace: pids mean the same only within one. 0 where there are none."""
    pid: int
    ticks: int
    """Start time in the kernel's clock ticks since boot; in microseconds since the epoch outside of Linux."""

    @property
    def text(self) -> str:
        """For an environment variable or a label; see :meth:`parse`."""
        return ":".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The identity that :attr:`text` came from; None for any other text."""
        boot, *numbers = text.rsplit(":", 3)
        if len(numbers) != 3 or not boot or not all(n.isascii() and n.isdigit() for n in numbers):
            return None
        return cls(boot, int(numbers[0]), int(numbers[1]), int(numbers[2]))

    @classmethod
    def of_this_process(cls) -> Self:
        """This process."""
        pid = os.getpid()
        boot = _boot()
        namespace = _namespace()
        ticks = _ticks(pid) if boot else None
        return cls(boot if ticks else "", namespace, pid, ticks or 0)

    def is_running(self) -> bool | None:
        """Whether the process still runs; None where that cannot be seen from here: another kernel, another PID
        namespace, or a process that this user may not look at."""
        if not self.boot or (self.boot, self.pid_namespace) != (_boot(), _namespace()):
            return None
        ticks = _ticks(self.pid)
        if ticks is not None:
            return ticks == self.ticks
        if _is_zombie(self.pid):
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except PermissionError:
            pass
        return None  # it exists, and /proc hides it (hidepid)


def _boot() -> str:
    """Empty where pids cannot be compared: ``/proc`` may belong to another PID namespace than this process."""
    if not _HAS_PROC:
        return f"{sys.platform}-{socket.gethostname()}"
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # noqa: PTH115 - the link's text, not a path
            return ""
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on; empty where the process is gone or hidden."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def _is_zombie(pid: int) -> bool:
    fields = _stat(pid)
    # A process whose first thread has ended, while others run, shows as a zombie and lives.
    return bool(fields) and fields[0] in _ENDED and int(fields[17]) <= 1


def _ticks(pid: int) -> int | None:
    """The start time of a process that runs; None where it is gone or hidden."""
    if not _HAS_PROC:
        return _microseconds(pid)
    fields = _stat(pid)
    return int(fields[19]) if fields and not _is_zombie(pid) else None


def _microseconds(pid: int) -> int | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 1e6)
    except psutil.Error:
        return None
