"""Cursor over a study's event stream, for views in this process or another."""

import logging
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import anyio
from anyio.to_thread import run_sync

from autotuner.events.types import Event, UnknownEvent, parse
from autotuner.store import Store

logger = logging.getLogger(__name__)

POLL_S = 0.25
PAGE = 1000
"""Most events that are read at once."""


def read(store: Store, study: str, *, after: int = 0, limit: int = PAGE) -> Sequence[Event | UnknownEvent]:
    """The study's events with a ``seq`` above ``after``, in order, at most ``limit`` of them.

    Rows that this version cannot read are included as :class:`UnknownEvent`, so that a cursor can move past them.
    """
    events = [parse(record) for record in store.events.read(study, after=after, limit=limit)]
    for event in events:
        if isinstance(event, UnknownEvent):
            logger.warning("study %s: event %d skipped: %s", study, event.seq, event.why)
    return events


async def follow(store: Store, study: str, *, after: int = 0) -> AsyncGenerator[Sequence[Event | UnknownEvent]]:
    """Yields new events as they arrive, and an empty sequence when there are none at the moment (time to redraw).

    Never ends by itself; the caller closes it.
    """
    while True:
        events = await run_sync(partial(read, store, study, after=after, limit=PAGE))
        if events:
            after = events[-1].seq
        yield events
        if len(events) < PAGE:
            await anyio.sleep(POLL_S)
