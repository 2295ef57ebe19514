"""Structured concurrency beyond what anyio offers."""

import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")


async def first_of(*works: Callable[[], Awaitable[T]], result_outranks_error: bool = False) -> T:
    """Runs coroutine functions concurrently until one of them ends, then cancels the others.

    Args:
        works: Coroutine functions without arguments, at least one.
        result_outranks_error: Whether a result takes precedence over an exception if both occur before the
            cancellation takes effect. For plain waits, which have no cleanup that could fail.

    Returns:
        The result of the function that ended first.

    Raises:
        Exception: The earliest exception of any function, not wrapped in a group. An exception during the cancellation
            counts too, unless a result outranks it: a failed cleanup must not pass for a success.
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


async def run_program(command: Sequence[str], *, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Runs a program to its end; cancelling this ends it.

    ``anyio.run_process`` leaves a program behind if it is cancelled while the program starts.

    Args:
        command: The program and its arguments. It has no input.
        env: Its environment; None: that of this process.

    Returns:
        Its exit code and its output, errors included.

    Raises:
        OSError: If it cannot be started.
    """
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=env)
    output = bytearray()
    async with process:
        if process.stdout is not None:
            async for piece in process.stdout:
                output += piece
        code = await process.wait()
    return code, output.decode(errors="replace")
