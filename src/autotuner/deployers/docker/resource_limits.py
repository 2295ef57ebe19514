"""Whether a Docker engine can give containers the limits that the settings ask for.

A limit above the engine's own takes CAP_SYS_RESOURCE, which an engine without root's rights, or one that runs in a
container itself, lacks. It then refuses every start.
"""

import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotuner.deployers.docker.settings import DockerSettings

_RESOURCE = 24
"""Bit of CAP_SYS_RESOURCE, as in capability.h."""
_UNLIMITED = -1
_ROWS = {
    "as": "Max address space", "core": "Max core file size", "cpu": "Max cpu time", "data": "Max data size",
    "fsize": "Max file size", "locks": "Max file locks", "memlock": "Max locked memory",
    "msgqueue": "Max msgqueue size", "nice": "Max nice priority", "nofile": "Max open files",
    "nproc": "Max processes", "rss": "Max resident set", "rtprio": "Max realtime priority",
    "rttime": "Max realtime timeout", "sigpending": "Max pending signals", "stack": "Max stack size",
}  # fmt: skip
"""Docker's name of a limit, and its row in /proc/PID/limits."""


def refused(socket_path: str | None, info: Mapping[str, Any], settings: DockerSettings) -> list[str]:
    """The limits that the engine will refuse, one line each; empty also if its process cannot be read."""
    pid = _peer(socket_path) if socket_path else 0
    rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or ())
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return []
    if not status.startswith("Name:\tdockerd\n") or (_may_raise(status) and not rootless):
        return []
    return over(limits, settings.ulimits)


def over(limits: str, wanted: Mapping[str, int | str]) -> list[str]:
    """The wanted limits above those of a process, whose /proc/PID/limits this is."""
    found = []
    for name, limit in wanted.items():
        hard = int(str(limit).rpartition(":")[2])
        own = _hard(limits, _ROWS.get(name, ""))
        if own is not None and own != _UNLIMITED and (hard == _UNLIMITED or hard > own):
            found.append(f"{name}={limit} is above the engine's own limit ({own}), which it has no right to raise")
    return found


def _peer(path: str) -> int:
    """The process that listens on a socket; 0 where it cannot be seen."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            told = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0
    pid: int = struct.unpack("3i", told)[0]
    return pid


def _may_raise(status: str) -> bool:
    row = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(row.split()[1], 16) >> _RESOURCE & 1)


def _hard(limits: str, row: str) -> int | None:
    """The hard limit; -1 for unlimited."""
    line = next((text for text in limits.splitlines() if row and text.startswith(row)), None)
    if line is None:
        return None
    hard = line.removeprefix(row).split()[1]
    return _UNLIMITED if hard == "unlimited" else int(hard)
