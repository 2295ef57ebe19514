"""Structured concurrency that anyio does not provide."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

T = TypeVar("T")


async def first_of(*works: Callable[[], Awaitable[T]], result_outranks_error: bool = False) -> T:
    """Runs coroutine functions side by side until one of them ends, and cancels the others.

    Args:
        works: Coroutine functions without arguments, at least one.
        result_outranks_error: Whether a result counts more than an exception, where both arrive before the first
            cancellation takes effect. For plain waits, which have no cleanup that could fail.

    Returns:
        The result of the one that ended first.

    Raises:
        Exception: The earliest exception of any of them, as it is and not in a group. One that is raised while the
            others are cancelled counts too, unless a result outranks it: a cleanup that failed must not pass for a
            success.
    """
    results: list[T] = []
    errors: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def run(work: Callable[[], Awaitable[T]]) -> None:
            try:
                results.append(await work())
            except Exception as error:
                errors.append(error)
            tasks.cancel_scope.cancel()

        for work in works:
            tasks.start_soon(run, work)
    if errors and not (result_outranks_error and results):
        raise errors[0]
    return results[0]
