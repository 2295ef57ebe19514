"""Processes of a container as this machine sees them, found by their control groups.

Empty where they cannot be seen, as with an engine in a virtual machine.
"""

import os
from itertools import pairwise
from pathlib import Path

from autotuner.deployers.docker.container_spec import LOOPBACK
from autotuner.deployers.local import procfs

_PROC = Path("/proc")
_PROXY = "docker-proxy"


def pids(container_id: str) -> frozenset[int]:
    """Process ids of a container."""
    return frozenset(p.pid for p in procfs.processes() if _belongs(p.pid, container_id))


def proxies(port: int) -> frozenset[int]:
    """The engine's processes that copy between a published port and its container; their CPU time is the trial's."""
    wanted = ("-host-port", str(port))
    found = ((p.pid, procfs.cmdline(p.pid)) for p in procfs.processes())
    return frozenset(pid for pid, argv in found if argv and argv[0].endswith(_PROXY) and wanted in pairwise(argv))


def _belongs(pid: int, container_id: str) -> bool:
    try:
        return bool(container_id) and container_id in (_PROC / str(pid) / "cgroup").read_text()
    except OSError:
        return False


def server_argv(container_id: str, first: int, planned: tuple[str, ...], *, behind_init: bool) -> tuple[str, ...]:
    """The command line of the server as its process has it; ``planned`` where the process does not tell.

    ``first`` is the container's process 1 as this machine counts. Behind an init the server is its oldest child. A
    server that put a title in place of its arguments does not tell them.
    """
    if not _belongs(first, container_id):
        return planned
    server = first
    if behind_init:
        children = [p for p in procfs.processes() if p.parent == first and _belongs(p.pid, container_id)]
        if not children:
            return planned
        server = min(children, key=lambda p: p.started).pid
    seen = procfs.cmdline(server)
    told = [word for word in seen if word]
    return seen if len(told) > 1 or (len(planned) == 1 and seen) else planned


def foreign(container_id: str, port: int) -> str:
    """Why a port of loopback is not the container's alone; empty when it is.

    Another user's processes do not show their sockets. Then a listener has to be enough, on a port that was free and
    leased when the container started.
    """
    family = set(pids(container_id))
    if not any(os.access(_PROC / str(pid) / "fd", os.R_OK) for pid in family):
        return "" if port in procfs.listening_ports(LOOPBACK) else "the server no longer listens there"
    if not procfs.own_listener(LOOPBACK, port, family):
        return "the server no longer listens there"
    return "another process listens there too" if procfs.foreign_listener(LOOPBACK, port, family) else ""
