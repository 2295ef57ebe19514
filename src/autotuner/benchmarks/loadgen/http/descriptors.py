"""The limit on open files: every request in flight needs a connection, and every connection a file descriptor."""

import contextlib
import resource

from autotuner.invalid_value import InvalidValueError

_OTHERS = 64
"""Descriptors of one process besides its connections: pipes, libraries, the event loop."""


def raise_descriptor_limit() -> None:
    """Raises the limit as far as it can be without privileges."""
    with contextlib.suppress(OSError, ValueError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def descriptor_limit() -> int:
    """Files that a process may have open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def check_descriptors(in_flight: int, workers: int) -> None:
    """Raises :class:`InvalidValueError` if a process may not open as many connections as it needs.

    Args:
        in_flight: Requests in flight, of all processes.
        workers: Processes that send them.
    """
    limit = descriptor_limit()
    needed = -(-in_flight // workers) + _OTHERS
    if limit != resource.RLIM_INFINITY and limit < needed:
        raise InvalidValueError(
            f"{in_flight} requests in flight need {needed} open files per process, and the limit is {limit}",
            remedy=f"raise the limit, e.g. with ulimit -Hn {needed}, or set benchmark.workers to more processes",
        )
