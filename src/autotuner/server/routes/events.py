"""The events of a study as they happen."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from autotuner.errors import AutotunerError
from autotuner.secrets import clean_text
from autotuner.server.callers import Reader, Tuner
from autotuner.server.routes.studies import Name

router = APIRouter(prefix="/api/v1/studies/{name}/events", tags=["events"])

logger = logging.getLogger(__name__)

_RETRY_MS = 2_000
_CHECK_S = 2.0
"""Time between two checks of the client's token; it may be revoked or expire while the stream is open."""
_LAST = 2**63 - 1
"""Largest integer of a database."""


@router.get("", summary="Follow a study", response_class=EventSourceResponse)
async def events(
    request: Request,
    tuner: Tuner,
    caller: Reader,
    name: Name,
    last_event_id: Annotated[
        int,
        Header(
            ge=0, le=_LAST, description="`id` of the last event that the client has; browsers send it by themselves."
        ),
    ] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events, beginning with the study's first one. `event` is the kind, `id` the position in the stream,
    and `data` one line of `autotuner watch NAME --json`. The stream ends when the study is deleted, when the token
    is revoked or expires, and when the server ends."""
    yield ServerSentEvent(comment="stream of events", retry=_RETRY_MS)
    access = tuner.access()
    checked = time.monotonic()
    try:
        async with aclosing(tuner.stream(name, after=last_event_id)) as batches:
            async for batch in batches:
                if request.app.state.ending:
                    return
                if time.monotonic() - checked > _CHECK_S:
                    if not await run_sync(access.still_valid, caller.id):
                        return
                    checked = time.monotonic()
                for event in batch:
                    yield ServerSentEvent(raw_data=clean_text(event.line()), event=event.kind, id=str(event.seq))
    except AutotunerError as error:  # the status is already sent; clients connect again and get that of the error
        logger.warning("the stream of events of %s ended: %s", name, error)
