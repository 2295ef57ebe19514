"""Blocking calls that run an event loop, also inside a notebook, whose own loop runs already."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import anyio

T = TypeVar("T")


def in_event_loop() -> bool:
    """Whether this thread runs an event loop, which a blocking call would stop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def outside_loop(work: Callable[[], T]) -> T:
    """The result of ``work``, which may start a loop: in another thread where this one runs a loop already."""
    if not in_event_loop():
        return work()
    with ThreadPoolExecutor(max_workers=1) as elsewhere:
        return elsewhere.submit(work).result()


def blocking(work: Callable[[], Awaitable[T]]) -> T:
    """The result of a coroutine function."""
    return outside_loop(lambda: anyio.run(work))
