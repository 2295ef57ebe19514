"""The running study's own line into the event stream: phases, progress and notices, written in order, off the loop."""

import time
from collections.abc import Mapping
from types import TracebackType

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from autotuner.store import Store

_Line = tuple[str, Mapping[str, object], int | None, float]
_WAITING = 10_000


class Journal:
    """Accepts events from synchronous callbacks and writes them in order from one task.

    Use as ``async with Journal(store, study) as journal``; leaving writes what is still waiting. When the store cannot
    be written, :meth:`flush` and leaving raise its ``StoreError``; what is noted after that is lost.
    """

    def __init__(self, store: Store, study: str) -> None:
        self._store = store
        self._study = study
        self._send, self._receive = anyio.create_memory_object_stream[_Line | anyio.Event](float("inf"))
        self._tasks: TaskGroup | None = None
        self._error: Exception | None = None

    def note(self, kind: str, data: Mapping[str, object], *, trial: int | None = None) -> None:
        """Takes one event. Progress is dropped while the database cannot keep up; nothing else is."""
        if kind == "progress" and self._send.statistics().current_buffer_used > _WAITING:
            return
        self._send.send_nowait((kind, data, trial, time.time()))

    async def flush(self) -> None:
        """Returns when everything noted so far is in the store; raises when it could not be written."""
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
        """Goes on to the end whatever happens, so that nobody waits for ever on a full disk."""
        with anyio.CancelScope(shield=True):
            async with self._receive:
                async for item in self._receive:
                    if isinstance(item, anyio.Event):
                        item.set()
                    elif self._error is None:
                        await self._append(item)

    async def _append(self, line: _Line) -> None:
        kind, data, trial, at = line
        try:
            await run_sync(lambda: self._store.append(self._study, kind, data, trial=trial, at=at))
        except Exception as error:
            self._error = error
