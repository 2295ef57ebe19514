"""Watcher process that runs a program if its runner is killed.

Containers do not end with their runner, because the engine owns them. The runner first writes a length and a marshaled
:class:`Order`, and ``done`` once there is nothing left to clean up. Like the supervisor, this module imports only small
modules, because one watcher starts with every container.
"""

from __future__ import annotations

import marshal
import os
import select

TYPE_CHECKING = False  # importing typing would double the start time
if TYPE_CHECKING:
    from typing import TypedDict

    class Order(TypedDict):
        """Instructions of the runner."""

        runner: int
        """Process id of the runner."""
        argv: list[str]
        """The program to run."""
        input: bytes
        """Stdin of the program; at most what a pipe holds."""


def main(order_fd: int) -> None:
    """Waits for the runner, and replaces this process with the program if the runner died before ``done``.

    Args:
        order_fd: Reading end of the pipe from the runner.
    """
    os.set_inheritable(order_fd, False)
    size = int.from_bytes(os.read(order_fd, 8), "big")
    data = b""
    while len(data) < size:
        more = os.read(order_fd, size - len(data))
        if not more:
            return  # the runner ended before it created anything
        data += more
    order: Order = marshal.loads(data)  # noqa: S302 - from the runner, through a pipe
    if _is_done(order_fd, order["runner"]):
        os._exit(0)
    reading, writing = os.pipe()
    os.write(writing, order["input"])
    os.close(writing)
    os.dup2(reading, 0)
    os.execv(order["argv"][0], order["argv"])  # noqa: S606 - no shell is wanted


def _is_done(order_fd: int, runner: int) -> bool:
    poll = select.poll()
    poll.register(order_fd, select.POLLIN)
    try:
        pidfd = os.pidfd_open(runner)
    except ProcessLookupError:
        return False
    poll.register(pidfd, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if order_fd in ready:
            return os.read(order_fd, 16).startswith(b"done")
        if pidfd in ready:
            return False
