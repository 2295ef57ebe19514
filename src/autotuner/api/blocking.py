"""Blocking calls that need an event loop, also inside a notebook, which already runs one."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio

T = TypeVar("T")


def in_event_loop() -> bool:
    """Whether this thread runs an event loop, which a blocking call would stall."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def outside_loop(work: Callable[[], T]) -> T:
    """Calls ``work``, which may start an event loop; in another thread if this one already runs a loop."""
    if not in_event_loop():
        return work()
    with ThreadPoolExecutor(max_workers=1) as elsewhere:
        return elsewhere.submit(work).result()


def blocking(work: Callable[[], Awaitable[T]]) -> T:
    """Runs a coroutine function to its end and returns its result."""
    return outside_loop(lambda: anyio.run(work))
