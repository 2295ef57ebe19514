"""Identity of a process, which another process can check later without a clock.

The kernel's boot id, the PID namespace, the pid and the start time in clock ticks since boot identify one process of
one kernel. None of them changes when the wall clock is set. Outside of Linux, psutil's start time replaces the ticks.
"""

import os
import socket
import sys
from pathlib import Path
from typing import NamedTuple, Self

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HAS_PROC = sys.platform.startswith("linux")
_ENDED = frozenset("ZXx")
"""States of a process that has ended and has not been reaped by its parent yet."""


class ProcessIdentity(NamedTuple):
    """One process. With an empty ``boot`` it cannot be compared."""

    boot: str
    """The kernel's boot id; platform and host name outside of Linux."""
    pid_namespace: int
    """Inode of the PID namespace, within which pids are unique; 0 if unknown."""
    pid: int
    ticks: int
    """Start time in the kernel's clock ticks since boot; in microseconds since the epoch outside of Linux."""

    @property
    def text(self) -> str:
        """Text for an environment variable or a label; see :meth:`parse`."""
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
        """Whether the process still runs; None if that is not visible from here: another kernel, another PID namespace,
        or a process that this user may not inspect."""
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
    """The boot id; empty if pids cannot be compared because ``/proc`` belongs to another PID namespace."""
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
    """The fields of ``/proc/PID/stat`` from the third on; empty if the process is gone or hidden."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def _is_zombie(pid: int) -> bool:
    fields = _stat(pid)
    # A process whose first thread has ended is shown as a zombie while its other threads still run.
    return bool(fields) and fields[0] in _ENDED and int(fields[17]) <= 1


def _ticks(pid: int) -> int | None:
    """The start time of a running process; None if it is gone or hidden."""
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
