"""Processes and listening sockets of this machine, read from ``/proc``.

Every result is a snapshot: a process may end at any time, and is then absent from the next one.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"
_GONE = frozenset("ZXx")
"""States of processes that have ended but were not reaped by their parents yet."""


class Stat(NamedTuple):
    """One process."""

    pid: int
    parent: int
    group: int
    session: int
    state: str
    threads: int
    started: float
    """Seconds since boot."""

    @property
    def alive(self) -> bool:
        """Whether it still runs. A zombie does not, unless only its main thread has ended."""
        return self.state not in _GONE or self.threads > 1


def stat(pid: int) -> Stat | None:
    """The process; None if it has ended."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(
        pid, int(fields[1]), int(fields[2]), int(fields[3]), fields[0], int(fields[17]), int(fields[19]) / _TICKS
    )


def processes() -> Iterator[Stat]:
    """All running processes, without zombies."""
    for name in os.listdir(_PROC):  # noqa: PTH208 - names only, and often
        if name.isdigit():
            found = stat(int(name))
            if found and found.alive:
                yield found


def environ(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty if it has ended or belongs to another user."""
    try:
        data = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in data.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def carries(pid: int, labels: Mapping[str, str]) -> bool:
    """Whether a process was started with all of these environment variables."""
    found = environ(pid)
    return all(found.get(name) == value for name, value in labels.items())


def cmdline(pid: int) -> tuple[str, ...]:
    """The command line of the running process; empty if it has ended."""
    try:
        data = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(argument) for argument in data.split(b"\0")[:-1])


def name(pid: int) -> str:
    """The program's short name, at most 15 characters; empty if it has ended."""
    try:
        return (_PROC / str(pid) / "comm").read_text(errors="replace").strip()
    except OSError:
        return ""


def family(root: int) -> set[int]:
    """Ids of a process, its session and all their descendants that are running."""
    everyone = list(processes())
    members = {p.pid for p in everyone if p.pid == root or p.session == root}
    grew = True
    while grew:
        children = {p.pid for p in everyone if p.parent in members} - members
        members |= children
        grew = bool(children)
    return members


def send(target: Stat, number: signal.Signals) -> None:
    """Signals exactly this process: a reused process id is never hit."""
    with suppress(ProcessLookupError, PermissionError):
        handle = os.pidfd_open(target.pid)
        try:
            now = stat(target.pid)
            if now and now.started == target.started:
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


def foreign_listener(host: str, port: int, ours: set[int]) -> bool:
    """Whether a process other than ``ours`` could answer connections to ``host:port``."""
    return bool(_listening(host, port) - _sockets(ours))


def own_listener(host: str, port: int, ours: set[int]) -> bool:
    """Whether one of ``ours`` answers connections to ``host:port``."""
    return bool(_listening(host, port) & _sockets(ours))


def listening_ports(host: str) -> set[int]:
    """Ports on which a process listens for this address, directly or by wildcard."""
    return {port for port, _ in _listeners(host)}


def _listening(host: str, port: int) -> set[int]:
    return {inode for number, inode in _listeners(host) if number == port}


def _listeners(host: str) -> Iterator[tuple[int, int]]:
    """(port, socket inode) of everything that listens for this address, directly or by wildcard."""
    wanted = ip_address(host)
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, number = fields[1].rpartition(":")
            if fields[3] == _LISTEN and _serves(_address(address), wanted):
                yield int(number, 16), int(fields[9])


def _address(text: str) -> IPv4Address | IPv6Address:
    """An address as the kernel writes it: 32-bit words in the machine's byte order."""
    raw = bytes.fromhex(text)
    data = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
    address = ip_address(data)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _serves(bound: IPv4Address | IPv6Address, wanted: IPv4Address | IPv6Address) -> bool:
    return bound == wanted or (bound.is_unspecified and (bound.version == wanted.version or bound.version == 6))


def _sockets(pids: set[int]) -> set[int]:
    """Inodes of the sockets that these processes hold."""
    return {inode for pid in pids for inode in _sockets_of(pid)}


def _sockets_of(pid: int) -> set[int]:
    """Inodes of one process's sockets. When a process ends, its main thread releases them before the other threads
    do."""
    found = _sockets_in(f"{_PROC}/{pid}/fd")
    if not found:
        with suppress(OSError):
            for thread in os.listdir(f"{_PROC}/{pid}/task"):  # noqa: PTH208 - names only, and often
                found |= _sockets_in(f"{_PROC}/{pid}/task/{thread}/fd")
    return found


def _sockets_in(folder: str) -> set[int]:
    found = set()
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names only, and often
            with suppress(OSError):
                target = os.readlink(f"{folder}/{name}")  # noqa: PTH115 - not a path
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
    return found
