"""A coroutine with others beside it: the first failure of any of them ends all, and is raised as it is."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def run_beside(work: Coroutine[Any, Any, None], *others: Coroutine[Any, Any, None]) -> None:
    """Runs ``work`` to its end. ``others`` may end before it; they are cancelled with its end."""
    main = asyncio.ensure_future(work)
    waiting: set[asyncio.Future[None]] = {main, *map(asyncio.ensure_future, others)}
    everything = tuple(waiting)
    try:
        while not main.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in everything:
            task.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
