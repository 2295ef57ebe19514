"""A small process that lives as long as its runner, and runs a program if the runner is killed.

For what runs elsewhere and does not end with its runner: a container, under its own engine. The runner speaks first: a
length and a marshaled :class:`Order`; later ``done``, when there is nothing left to do. As with the supervisor, only
small modules are imported: one of these starts with every container.
"""

from __future__ import annotations

import marshal
import os
import select

TYPE_CHECKING = False  # typing's own would cost as long as all the rest
if TYPE_CHECKING:
    from typing import TypedDict

    class Order(TypedDict):
        """What the runner asks for."""

        runner: int
        """Its pid."""
        argv: list[str]
        """The program to run."""
        input: bytes
        """Its stdin; at most what a pipe holds."""


def main(order_fd: int) -> None:
    """Waits, and becomes the order's program when the runner has ended without a word."""
    os.set_inheritable(order_fd, False)
    size = int.from_bytes(os.read(order_fd, 8), "big")
    data = b""
    while len(data) < size:
        more = os.read(order_fd, size - len(data))
        if not more:
            return  # nothing was begun yet
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
