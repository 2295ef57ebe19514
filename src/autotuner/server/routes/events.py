"""The events of a study as they happen."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.sse import EventSourceResponse, ServerSentEvent

from autotuner.secrets import clean_text
from autotuner.server.callers import Reader, Tuner
from autotuner.server.routes.studies import Name

router = APIRouter(prefix="/api/v1/studies/{name}/events", tags=["events"])

_RETRY_MS = 2_000


@router.get("", summary="Follow a study", response_class=EventSourceResponse)
async def events(
    tuner: Tuner,
    _: Reader,
    name: Name,
    last_event_id: Annotated[
        int, Header(ge=0, description="`id` of the last event that the client has; browsers send it by themselves.")
    ] = 0,
) -> AsyncIterator[ServerSentEvent]:
    """Server-sent events, beginning with the study's first one. `event` is the kind, `id` the position in the stream,
    and `data` one line of `autotuner watch NAME --json`. The stream ends when the study is deleted."""
    yield ServerSentEvent(comment="stream of events", retry=_RETRY_MS)
    async with aclosing(tuner.stream(name, after=last_event_id)) as batches:
        async for batch in batches:
            for event in batch:
                yield ServerSentEvent(raw_data=clean_text(event.line()), event=event.kind, id=str(event.seq))
