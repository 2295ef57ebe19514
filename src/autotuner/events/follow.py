"""A cursor over a study's events: the one way any view learns what happens, in this process or another."""

from collections.abc import AsyncIterator
from functools import partial

import anyio
from anyio.to_thread import run_sync

from autotuner.store import Store
from autotuner.store.records import EventRecord

POLL_S = 0.25
PAGE = 1000


async def follow(store: Store, study: str, *, after: int = 0) -> AsyncIterator[list[EventRecord]]:
    """Yields new events as they come, and an empty list when there are none at the moment (time to redraw).

    Never ends by itself: the caller leaves when it has seen what it waited for.
    """
    while True:
        events = await run_sync(partial(store.events, study, after=after, limit=PAGE))
        if events:
            after = events[-1].seq
        yield events
        if len(events) < PAGE:
            await anyio.sleep(POLL_S)
