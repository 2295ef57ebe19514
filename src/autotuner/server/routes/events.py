"""Events as they happen, of one study or of all."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from autotuner import EventFeed, FedEvent
from autotuner.errors import AutotunerError
from autotuner.server.callers import Reader, TokenChecks
from autotuner.server.routes.studies import Name

router = APIRouter(prefix="/api/v1", tags=["events"])

logger = logging.getLogger(__name__)

_RETRY_MS = 2_000
_PING_S = 15.0
"""Time without events after which a comment is sent, so that proxies keep the connection."""
_LAST = 2**63 - 1
"""Largest integer of a database."""
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
"""The second one keeps nginx from collecting events before it sends them."""


class EventStream(StreamingResponse):
    """Server-sent events that are written once for all readers. FastAPI's own response writes them for each, and passes
    them through two channels."""

    media_type = "text/event-stream"


LastEventId = Annotated[
    int | None,
    Header(ge=0, le=_LAST, description="`id` of the last event that the client has; browsers send it by themselves."),
]


Brief = Annotated[
    bool, Query(description="Leave out most stored `progress` of windows that have ended; pages of a study need none.")
]


@router.get("/studies/{name}/events", summary="Follow a study", response_class=EventStream)
async def events(
    request: Request, caller: Reader, name: Name, brief: Brief = False, last_event_id: LastEventId = None
) -> EventStream:
    """Server-sent events, beginning with the study's first one. `event` is the kind, `id` the position in the stream,
    and `data` one line of `autotuner watch NAME --json`. The stream ends when the study is deleted, when the token
    is revoked or expires, and when the server ends."""
    return EventStream(_stream(request, caller.id, name, last_event_id or 0, brief=brief), headers=_HEADERS)


@router.get("/events", summary="Follow all studies", response_class=EventStream)
async def all_events(request: Request, caller: Reader, last_event_id: LastEventId = None) -> EventStream:
    """Server-sent events of all studies, from now on, or those after `Last-Event-ID`; `0` begins with the first one.
    They are those of the studies' own streams. `seq` in `data` identifies an event; `id` is the position from which a
    client continues, and may be smaller: then it gets some events a second time."""
    return EventStream(_stream(request, caller.id, None, last_event_id), headers=_HEADERS)


async def _stream(
    request: Request, token: str, name: str | None, after: int | None, *, brief: bool = False
) -> AsyncIterator[bytes]:
    feed: EventFeed = request.app.state.feed
    checks: TokenChecks = request.app.state.token_checks
    sent = time.monotonic()
    try:
        if name is None and after is None:
            after = await feed.position()
        # A client that loses its connection before the first event continues from here, too.
        begin = None if name is not None else str(after)
        yield format_sse_event(comment="stream of events", retry=_RETRY_MS, id=begin)
        async with aclosing(feed.read(name, after=after, brief=brief)) as batches:
            async for batch in batches:
                if not await checks.still_valid(token):
                    return
                if batch:
                    yield b"".join(_frame(fed, fed.event.seq if name is not None else fed.resume) for fed in batch)
                elif time.monotonic() - sent < _PING_S:
                    continue
                else:
                    yield KEEPALIVE_COMMENT
                sent = time.monotonic()
    except AutotunerError as error:  # the status is already sent; clients connect again and get that of the error
        logger.warning("the stream of events of %s ended: %s", name or "all studies", error)


def _frame(fed: FedEvent, identity: int) -> bytes:
    return f"event: {fed.event.kind}\ndata: {fed.line}\nid: {identity}\n\n".encode()
