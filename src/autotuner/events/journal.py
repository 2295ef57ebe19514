"""Writer of the event stream: accepts events from the loop and stores them in order from a thread."""

import logging
from collections.abc import Sequence
from types import TracebackType

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from autotuner.events.types import Event, WindowProgress
from autotuner.store import Store
from autotuner.store.webhooks.records import Notification

logger = logging.getLogger(__name__)

_WAITING = 10_000
"""Queued events above which progress is dropped, which bounds the memory of a run beside a stuck database."""


class Journal:
    """Accepts events from synchronous callbacks and writes them in order from one task.

    Use as ``async with Journal(store) as journal``; leaving writes what is still queued. When the store cannot be
    written, :meth:`flush` and leaving raise its ``StoreError``; later events are lost.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # An anyio.Event in the queue marks a flush: it is set once everything before it has been written.
        self._send, self._receive = anyio.create_memory_object_stream[Event | anyio.Event](float("inf"))
        self._tasks: TaskGroup | None = None
        self._error: Exception | None = None

    def note(self, event: Event) -> None:
        """Queues one event. Progress is dropped while the database cannot keep up; nothing else is."""
        if isinstance(event, WindowProgress) and self._send.statistics().current_buffer_used > _WAITING:
            return
        level = logging.DEBUG if isinstance(event, WindowProgress) else logging.INFO
        if logger.isEnabledFor(level):
            logger.log(level, "%s", event.line())
        self._send.send_nowait(event)

    async def flush(self) -> None:
        """Returns once every event noted so far is stored; raises if one could not be written."""
        written = anyio.Event()
        await self._send.send(written)
        await written.wait()
        if self._error is not None:
            raise self._error

    async def __aenter__(self) -> "Journal":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._write)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send.close()
        if self._tasks is not None:
            await self._tasks.__aexit__(None, None, None)
        if self._error is not None and error is None:
            raise self._error

    async def _write(self) -> None:
        """Drains the queue to its end even after an error, so that no flush waits forever on a full disk."""
        with anyio.CancelScope(shield=True):
            async with self._receive:
                async for item in self._receive:
                    if isinstance(item, anyio.Event):
                        item.set()
                    elif self._error is None:
                        await self._append(item)

    async def _append(self, event: Event) -> None:
        try:
            await run_sync(append, self._store, event)
        except Exception as error:
            self._error = error


def append(store: Store, event: Event, notifications: Sequence[Notification] = ()) -> None:
    """Stores one event, and the messages about it for webhooks. Raises ``StoreError``."""
    store.events.append(
        event.study, event.kind, event.payload(), trial=event.trial, at=event.at, notifications=notifications
    )
