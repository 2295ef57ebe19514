"""Events as they happen, for many readers at once: the store is polled once for all of them."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import anyio
from anyio.to_thread import run_sync

from autotuner.api.reading.stream_position import StreamPosition
from autotuner.errors import AutotunerError
from autotuner.events.types import Event, UnknownEvent, parse
from autotuner.logs import FailureLog
from autotuner.secrets import clean_text, known_secrets
from autotuner.store import UnreadableError, open_to_read
from autotuner.store.rows import Row, read_event

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

POLL_S = 0.1
"""Time between two looks at the store while there are readers."""
IDLE_S = 2.0
"""Longest time without a batch, so that readers can notice what else has changed."""
PAGE = 1000
"""Most events that are read at once."""
MOST_WAITING = 5_000
"""Events that a slow reader may be behind; then its stream ends, and it continues when it connects again."""
MOST_KEPT = 10_000
"""Events that are kept as they are sent: pages of a study read all of its events, and finding secrets in one takes a
fifth of a millisecond."""

_REPLACE_PROGRESS = frozenset({"progress", "phase", "trial_finished"})
"""Kinds after which the progress before them says nothing about what the trial is doing."""


@dataclass(frozen=True)
class FedEvent:
    """An event on its way to readers."""

    event: Event | UnknownEvent
    resume: int
    """Position from which a reader of all studies misses nothing. It may be smaller than the event's own ``seq``:
    transactions of different studies may end in another order than their events are numbered."""

    line: str
    """The event as one line of JSON without secrets."""


class _Reader:
    def __init__(self, study: str | None) -> None:
        self.study = study
        self.waiting = deque[FedEvent]()
        self.changed = anyio.Event()
        self.error: AutotunerError | None = None
        self.ended = False

    def put(self, events: Sequence[FedEvent]) -> None:
        if not self.ended:
            self.waiting.extend(events)
            self.ended = len(self.waiting) > MOST_WAITING
        self.changed.set()

    def remind(self) -> None:
        """Ends :meth:`take`, with or without events."""
        self.changed.set()

    def end(self, error: AutotunerError | None = None) -> None:
        self.error = error
        self.ended = True
        self.changed.set()

    async def take(self) -> list[FedEvent]:
        """What arrived since the last call; empty after :meth:`remind`."""
        if not self.waiting and not self.ended:
            await self.changed.wait()
        self.changed = anyio.Event()
        found = list(self.waiting)
        self.waiting.clear()
        return found


class EventFeed:
    """Events of all studies on one event loop. Create it with :meth:`autotuner.Autotuner.feed`, and keep :meth:`run`
    running beside its readers."""

    def __init__(self, store: str | None) -> None:
        """Uses the store at a SQLAlchemy URL; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``."""
        self._url = store
        self._readers = set[_Reader]()
        self._position: StreamPosition | None = None
        self._beginning = anyio.Lock()
        self._wanted = anyio.Event()
        self._closed = False
        self._failures = FailureLog(logger, "the streams of events ended")

    @property
    def readers(self) -> int:
        """Number of readers.

        Example:
            >>> autotuner.open().feed().readers
            0
        """
        return len(self._readers)

    async def position(self) -> int:
        """Position behind all events that are stored now, for :meth:`read`.

        Returns:
            A position in the events of all studies.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> anyio.run(autotuner.open().feed().position) > 0
            True
        """
        last = await run_sync(self._last)
        return last if self._position is None else min(last, self._position.settled)

    def close(self) -> None:
        """End all readers' streams.

        Example:
            >>> autotuner.open().feed().close()
        """
        self._closed = True
        for reader in self._readers:
            reader.end()

    async def run(self) -> None:
        """Poll the store while there are readers, until it is cancelled.

        Example:
            >>> async def main() -> None:
            ...     with anyio.move_on_after(0):
            ...         await autotuner.open().feed().run()
            >>> anyio.run(main)
        """
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._remind)
            await self._deliver()

    async def read(
        self, study: str | None = None, *, after: int | None = None, brief: bool = False
    ) -> AsyncGenerator[list[FedEvent]]:
        """The events of a study, or of all studies, as they happen.

        Args:
            study: The study's name; None: all studies.
            after: Only events behind this position: for a study, the ``seq`` of its last event; for all studies, the
                last :attr:`FedEvent.resume`. None: only events from now on.
            brief: Whether most stored progress of windows that have ended may be left out: it is the larger part of
                the events of a long study.

        Returns:
            An iterator over batches. One without events comes at least every two seconds. It ends when the study is
            deleted, when the feed is closed, and when its reader is too slow.

        Raises:
            StoreError: If the store, or the study's events, cannot be read. Damaged events of one study do not end a
                stream of all studies.
            AutotunerError: After a defect, whose traceback is in the log. The caller may read again.

        Example:
            >>> async def main() -> str:
            ...     async for batch in autotuner.open().feed().read("chat-8b", after=0):
            ...         return batch[0].event.kind
            >>> anyio.run(main)
            'study_started'
        """
        with self._reading(study) as reader:
            newest = (await self._begin()).highest
            start = await self.position() if after is None else after
            last = start
            recent = deque[int](maxlen=MOST_WAITING + 2 * StreamPosition.WINDOW)
            # What is stored already; the feed delivers what comes after the reader was registered. Most readers that
            # connect again have seen everything, and there may be many of them at once.
            unread = start < newest
            while unread:
                stored = await run_sync(self._stored, study, last, brief)
                last = stored.last
                unread = stored.full
                recent.extend(stored.numbers)
                if stored.events:
                    yield stored.events
            seen = frozenset(recent)
            yield []
            while not self._closed:
                found = await reader.take()
                if reader.error is not None:
                    raise reader.error
                ended = reader.ended
                yield [fed for fed in found if fed.event.seq > start and fed.event.seq not in seen]
                if ended:
                    return

    async def _remind(self) -> None:
        """Wakes all readers regularly. A timeout for each of them would take a third of the time for an event."""
        while True:
            await anyio.sleep(IDLE_S)
            for reader in self._readers:
                reader.remind()

    async def _deliver(self) -> None:
        while True:
            if not self._readers:
                self._position = None  # readers that come later read what happens until then themselves
                self._wanted = anyio.Event()
                await self._wanted.wait()
            try:
                full = await self._poll()
                self._failures.succeeded()
            except Exception as error:  # even a defect must end neither this task nor the server that it is part of
                # Readers end, and connect again: what was missed meanwhile is read for each of them.
                self._failures.failed(error)
                for reader in self._readers:
                    reader.end(error if isinstance(error, AutotunerError) else _defect())
                self._position = None
                full = False
            if not full:
                await anyio.sleep(POLL_S)

    @contextmanager
    def _reading(self, study: str | None) -> Iterator[_Reader]:
        reader = _Reader(study)
        self._readers.add(reader)
        self._wanted.set()
        try:
            yield reader
        finally:
            self._readers.discard(reader)

    async def _begin(self) -> StreamPosition:
        """Has new events delivered to all readers from now on."""
        async with self._beginning:
            if self._position is None:
                self._position = await run_sync(self._newest)
            return self._position

    async def _poll(self) -> bool:
        """Delivers what is new. Returns whether there may be more at once."""
        names = {reader.study for reader in self._readers if reader.study is not None}
        new = await run_sync(self._new, await self._begin(), names)
        if new.events:
            for reader in self._readers:
                mine = new.events if reader.study is None else new.of(reader.study)
                if mine:
                    reader.put(mine)
        for study, error in new.ended.items():
            self._end(study, error)
        return new.full

    def _end(self, study: str, error: AutotunerError | None) -> None:
        for reader in self._readers:
            if reader.study == study:
                reader.end(error)

    def _newest(self) -> StreamPosition:
        """The position behind what is stored now, in a thread."""
        with open_to_read(self._url) as store:
            return StreamPosition(store.events.newest_numbers(StreamPosition.WINDOW), time.monotonic())

    def _new(self, position: StreamPosition, names: set[str]) -> _New:
        """What is new, in a thread. Moves the position behind it."""
        with open_to_read(self._url) as store:
            rows = store.events.rows_after(position.highest, position.missing, limit=PAGE)
            new = position.advance([int(row["seq"]) for row in rows], time.monotonic())
            rows = [row for row in rows if int(row["seq"]) in new]
            gone = names - store.studies.stored(names)
        ended: dict[str, AutotunerError | None] = dict.fromkeys(gone)
        events = list[FedEvent]()
        for row in rows:
            try:
                events.append(_fed(row, position))
            except UnreadableError as error:
                ended[str(row["study"])] = error
        return _New(events, ended, full=len(rows) >= PAGE)

    def _stored(self, study: str | None, after: int, brief: bool) -> _Stored:
        """What is stored already, in a thread."""
        with open_to_read(self._url) as store:
            rows = store.events.rows(study, after=after, limit=PAGE)
        numbers = [int(row["seq"]) for row in rows]
        events = list[FedEvent]()
        for row in _brief(rows) if brief else rows:
            try:
                events.append(_fed(row, self._position))
            except UnreadableError as error:
                if study is not None:
                    raise
                logger.warning("left out of a stream of all studies: %s", error)
        return _Stored(events, numbers, last=numbers[-1] if numbers else after, full=len(rows) >= PAGE)

    def _last(self) -> int:
        with open_to_read(self._url) as store:
            return store.events.last_seq()


@dataclass(frozen=True)
class _Stored:
    """A part of what was stored before a reader came."""

    events: list[FedEvent]
    numbers: list[int]
    """``seq`` of all of its events, also of those that are left out."""
    last: int
    """``seq`` of its last event."""
    full: bool
    """Whether there may be more."""


@dataclass(frozen=True)
class _New:
    """The result of one poll of the store."""

    events: list[FedEvent]
    ended: dict[str, AutotunerError | None]
    """Studies that were deleted, or whose events cannot be read."""
    full: bool
    """Whether there may be more at once."""

    def of(self, study: str) -> list[FedEvent]:
        """The events of one study."""
        return [fed for fed in self.events if fed.event.study == study]


def _brief(rows: Sequence[Row]) -> list[Row]:
    """Rows without the progress that a later one of the same trial replaces."""
    replaced = set[tuple[str, int | None]]()
    kept = list[Row]()
    for row in reversed(rows):
        trial = (row["study"], row["trial"])
        if row["kind"] != "progress" or trial not in replaced:
            kept.append(row)
        if row["kind"] in _REPLACE_PROGRESS:
            replaced.add(trial)
    return kept[::-1]


def _fed(row: Row, position: StreamPosition | None) -> FedEvent:
    """The event of a row. Raises :class:`UnreadableError`, also for a defect: one event must not end other streams."""
    try:
        event, line = _written(tuple(row.items()), known_secrets())
    except UnreadableError:
        raise
    except Exception as error:
        logger.exception("study %s: event %s cannot be sent", row["study"], row["seq"])
        raise UnreadableError(str(row["study"]), f"event {row['seq']} of ", error) from error
    settled = event.seq if position is None else position.settled
    return FedEvent(event, min(event.seq, settled), line)


@lru_cache(MOST_KEPT)
def _written(row: tuple[tuple[str, object], ...], secrets: frozenset[str]) -> tuple[Event | UnknownEvent, str]:
    """The event of a row, and its line without these secrets."""
    event = parse(read_event(dict(row)))
    line = clean_text(event.line(), secrets)
    line.encode()  # as every stream will
    if isinstance(event, UnknownEvent):
        logger.warning("study %s: event %d skipped: %s", event.study, event.seq, event.why)
    return event, line


def _defect() -> AutotunerError:
    """For readers, whose streams end for a reason that they cannot act on."""
    return AutotunerError("the events cannot be read", remedy="this is a defect of autotuner; the log has the details")
