"""Processes of a container on this machine, found by their control groups.

They are not visible if the engine runs in a virtual machine; the functions then return nothing.
"""

import os
from itertools import pairwise
from pathlib import Path

from autotuner.deployers.docker.container_spec import LOOPBACK
from autotuner.deployers.local import procfs

_PROC = Path("/proc")
_PROXY = "docker-proxy"


def pids(container_id: str) -> frozenset[int]:
    """Returns the process ids of a container."""
    return frozenset(p.pid for p in procfs.processes() if _belongs(p.pid, container_id))


def proxies(port: int) -> frozenset[int]:
    """Returns the process ids of the engine's proxies for a published port; their CPU time counts for the trial."""
    option = ("-host-port", str(port))
    running = ((p.pid, procfs.cmdline(p.pid)) for p in procfs.processes())
    return frozenset(pid for pid, argv in running if argv and argv[0].endswith(_PROXY) and option in pairwise(argv))


def _belongs(pid: int, container_id: str) -> bool:
    try:
        return bool(container_id) and container_id in (_PROC / str(pid) / "cgroup").read_text()
    except OSError:
        return False


def server_argv(container_id: str, first: int, planned: tuple[str, ...], *, behind_init: bool) -> tuple[str, ...]:
    """Returns the command line of the server's process; ``planned`` if it is not visible.

    Args:
        container_id: Id of the container.
        first: Process id, on this machine, of the container's process 1.
        planned: The command line that the container was created with. It is also returned for a server that has
            replaced its arguments with a process title.
        behind_init: Whether process 1 is an init; the server is then its oldest child.
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
    nonempty = [argument for argument in seen if argument]
    return seen if len(nonempty) > 1 or (len(planned) == 1 and seen) else planned


def port_conflict(container_id: str, port: int) -> str:
    """Explains why a loopback port does not belong to the container alone; empty if it does.

    The sockets of another user's processes cannot be inspected. Any listener is accepted then: the port was free and
    leased when the container started.
    """
    family = set(pids(container_id))
    if not any(os.access(_PROC / str(pid) / "fd", os.R_OK) for pid in family):
        return "" if port in procfs.listening_ports(LOOPBACK) else "the server no longer listens there"
    if not procfs.own_listener(LOOPBACK, port, family):
        return "the server no longer listens there"
    return "another process listens there too" if procfs.foreign_listener(LOOPBACK, port, family) else ""
