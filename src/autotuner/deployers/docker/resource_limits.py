"""Check of the requested ulimits against the limits of the Docker engine's process.

Raising a limit above the engine's own requires CAP_SYS_RESOURCE. A rootless engine, or one that runs in a container
itself, does not have it, and would refuse every start.
"""

import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autotuner.deployers.docker.settings import DockerSettings

_RESOURCE = 24
"""Bit number of CAP_SYS_RESOURCE in capability.h."""
_UNLIMITED = -1
_ROWS = {
    "as": "Max address space", "core": "Max core file size", "cpu": "Max cpu time", "data": "Max data size",
    "fsize": "Max file size", "locks": "Max file locks", "memlock": "Max locked memory",
    "msgqueue": "Max msgqueue size", "nice": "Max nice priority", "nofile": "Max open files",
    "nproc": "Max processes", "rss": "Max resident set", "rtprio": "Max realtime priority",
    "rttime": "Max realtime timeout", "sigpending": "Max pending signals", "stack": "Max stack size",
}  # fmt: skip
"""Row in /proc/PID/limits by Docker's name of the limit."""


def refused(socket_path: str | None, info: Mapping[str, Any], settings: DockerSettings) -> list[str]:
    """Returns the limits that the engine would refuse, one message each; empty also if its process cannot be read.

    Args:
        socket_path: The engine's Unix socket.
        info: The output of ``docker info``.
        settings: The deployer's settings.
    """
    pid = _peer(socket_path) if socket_path else 0
    rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or ())
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return []
    if not status.startswith("Name:\tdockerd\n") or (_may_raise(status) and not rootless):
        return []
    return exceeding(limits, settings.ulimits)


def exceeding(limits: str, requested: Mapping[str, int | str]) -> list[str]:
    """Returns a message for each requested limit above that of a process.

    Args:
        limits: Content of the process's /proc/PID/limits.
        requested: Limit or ``soft:hard`` by Docker's name of it; -1 for unlimited.
    """
    found = []
    for name, limit in requested.items():
        hard = int(str(limit).rpartition(":")[2])
        own = _hard(limits, _ROWS.get(name, ""))
        if own is not None and own != _UNLIMITED and (hard == _UNLIMITED or hard > own):
            found.append(f"{name}={limit} exceeds the engine's own limit ({own}), which it is not permitted to raise")
    return found


def _peer(path: str) -> int:
    """Returns the id of the process that listens on a socket; 0 if unknown."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return 0
    pid: int = struct.unpack("3i", credentials)[0]
    return pid


def _may_raise(status: str) -> bool:
    row = next((line for line in status.splitlines() if line.startswith("CapEff:")), "CapEff: 0")
    return bool(int(row.split()[1], 16) >> _RESOURCE & 1)


def _hard(limits: str, row: str) -> int | None:
    """Returns the hard limit in a row; -1 if unlimited, None if there is no such row."""
    line = next((text for text in limits.splitlines() if row and text.startswith(row)), None)
    if line is None:
        return None
    hard = line.removeprefix(row).split()[1]
    return _UNLIMITED if hard == "unlimited" else int(hard)
