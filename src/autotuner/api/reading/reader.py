"""Reader of stored studies that remembers what it has read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Generic, TypeVar

from pydantic import Field

from autotuner.api.reading.snapshots import Snapshot, Snapshots
from autotuner.api.results import positions
from autotuner.errors import NotFoundError, UsageError
from autotuner.report.overview import StudyOverview, overview
from autotuner.report.study_list import StudyRows, study_row
from autotuner.secrets import clean_model, known_secrets, secrets_in
from autotuner.store import ReadStore, UnreadableError, open_to_read
from autotuner.store.lists.pages import (
    STUDY_ORDERS,
    TRIAL_ORDERS,
    ListedStudy,
    StudyList,
    StudyQuery,
    TrialList,
    TrialQuery,
)
from autotuner.store.rows import read_event, read_study, read_trial
from autotuner.study.base import FrozenModel
from autotuner.study.trial import Trial
from autotuner.tuning.run_liveness import cut_off, living_holders

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from autotuner.report.result import StudyResult

Entry = TypeVar("Entry")
_MOST_OVERVIEWS = 2_000
_MOST_TRIALS = 2_000
"""Trials of pages that are remembered; reading and cleaning one takes half a millisecond."""


class Page(FrozenModel, Generic[Entry]):
    """A part of a list."""

    items: tuple[Entry, ...]
    total: int = Field(examples=[42])
    """Number of entries in the whole list, after filtering."""
    offset: int = Field(examples=[0])
    """Position of the first of ``items`` in it."""


class StudyReader:
    """Reads studies again and again; only what has changed is read from the store. May be used from several threads.
    Create it with :meth:`autotuner.Autotuner.reader`."""

    def __init__(self, store: str | None) -> None:
        """Uses the store at a SQLAlchemy URL; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``."""
        self._url = store
        self._snapshots = Snapshots()
        self._overviews: dict[str, tuple[object, StudyOverview]] = {}
        """By study: what the overview was made from, and the overview."""

    def result(self, name: str) -> StudyResult:
        """The result of a study; see :meth:`autotuner.Autotuner.load`.

        Args:
            name: The study's name.

        Returns:
            The result so far; the same object as before if nothing has changed.

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> reader = autotuner.open().reader()
            >>> reader.result("chat-8b") is reader.result("chat-8b")
            True
        """
        with open_to_read(self._url) as store:
            return self._snapshot(store, name).result

    def overview(self, name: str) -> StudyOverview:
        """A study with its progress and its answer so far; see :meth:`autotuner.Autotuner.overview`.

        Args:
            name: The study's name.

        Returns:
            The overview.

        Raises:
            UsageError: If the study is not stored.

        Example:
            >>> autotuner.open().reader().overview("chat-8b").running
            False
        """
        with open_to_read(self._url) as store:
            found = StudyList(store.source).read([name])
            if not found:
                raise _missing(name)
            return self._overview(store, found[0], living_holders(store), positions(store))

    def studies(
        self,
        *,
        sort: str = "age",
        state: str | None = None,
        engine: str | None = None,
        match: str | None = None,
        limit: int | None = 100,
        offset: int = 0,
        on_unreadable: Callable[[str], None] = lambda _: None,
    ) -> Page[StudyOverview]:
        """A page of the list of studies, filtered and sorted by the database.

        Args:
            sort: ``age``, ``name``, ``state``, ``gain`` or ``launches``.
            state: Only studies in this state, such as ``running`` or ``cut off``.
            engine: Only studies of this engine.
            match: Only names that match this pattern, with ``*`` and ``?``.
            limit: Most studies to return; None: all.
            offset: Position of the first one.
            on_unreadable: Called with one line for each study that is left out of the page because its rows are
                damaged.

        Returns:
            The page; its ``total`` counts damaged studies, too.

        Raises:
            UsageError: If the order is unknown.
            StoreError: If the store cannot be read.

        Example:
            >>> [found.name for found in autotuner.open().reader().studies(limit=10).items]
            ['chat-8b']
        """

        wanted = StudyQuery(order=sort, state=state, engine=engine, match=match, limit=limit, offset=offset)
        with open_to_read(self._url) as store:
            found, total = self._listed(store, wanted, living_holders(store), on_unreadable)
        return Page(items=found, total=total, offset=offset)

    def rows(
        self,
        *,
        sort: str = "age",
        backward: bool = False,
        standing: str | None = None,
        engine: str | None = None,
        contains: str | None = None,
        limit: int = 100,
        offset: int = 0,
        on_unreadable: Callable[[str], None] = lambda _: None,
    ) -> StudyRows:
        """A page of the list of studies with what people look at, as the web UI shows it.

        Args:
            sort: As for :meth:`studies`, like ``engine``, ``limit``, ``offset`` and ``on_unreadable``.
            backward: The other way round; studies without a gain come last all the same.
            standing: Only studies with this standing, such as ``queued``.
            engine: Only studies of this engine.
            contains: Only names that contain this text, in upper or lower case.
            limit: Most studies to return.
            offset: Position of the first one.
            on_unreadable: Called for each study that is left out.

        Returns:
            The page, with numbers of all stored studies by standing, and their engines.

        Raises:
            UsageError: If the order is unknown.
            StoreError: If the store cannot be read.

        Example:
            >>> found = autotuner.open().reader().rows(contains="CHAT")
            >>> found.items[0].name, found.standings
            ('chat-8b', {'done': 1})
        """
        wanted = StudyQuery(
            order=sort,
            backward=backward,
            standing=standing,
            engine=engine,
            contains=contains,
            limit=limit,
            offset=offset,
        )
        with open_to_read(self._url) as store:
            living = living_holders(store)
            found, total = self._listed(store, wanted, living, on_unreadable)
            lists = StudyList(store.source)
            return StudyRows(
                items=tuple(map(study_row, found)),
                total=total,
                offset=offset,
                standings=lists.standings(living),
                engines=tuple(lists.engines()),
            )

    def _listed(
        self, store: ReadStore, wanted: StudyQuery, living: Collection[str], on_unreadable: Callable[[str], None]
    ) -> tuple[tuple[StudyOverview, ...], int]:
        """The studies of a page, and the number of studies on all pages."""
        _check_order(wanted.order, STUDY_ORDERS)

        def skip(error: UnreadableError) -> None:
            on_unreadable(str(error))

        lists = StudyList(store.source)
        changes = self._changes(store, lists, skip) if wanted.order == "gain" else {}
        listed, total = lists.page(replace(wanted, living=living, changes=changes))
        places = positions(store)
        found = list[StudyOverview]()
        for one in listed:
            with _skipping(skip):
                found.append(self._overview(store, one, living, places))
        return tuple(found), total

    def trials(
        self,
        name: str,
        *,
        sort: str = "number",
        descending: bool = False,
        state: str | None = None,
        role: str | None = None,
        feasible: bool | None = None,
        cause: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Page[Trial]:
        """A page of a study's trials, filtered and sorted by the database.

        Args:
            name: The study's name.
            sort: ``number``, ``value`` (of the first objective), ``started`` or ``duration``; trials without that come
                last.
            descending: Largest first.
            state: Only trials in this state.
            role: Only trials with this purpose.
            feasible: Only trials that met the SLOs, or only those that missed them. Trials that failed, or whose SLOs
                are open, such as cut ones and those that are not ranked, are neither.
            cause: Only trials that failed for this cause.
            limit: Most trials to return.
            offset: Position of the first one.

        Returns:
            The page; trials are those of the study's result.

        Raises:
            UsageError: If the study is not stored, or the order is unknown.

        Example:
            >>> [trial.number for trial in autotuner.open().reader().trials("chat-8b", limit=2).items]
            [0, 1]
        """
        _check_order(sort, TRIAL_ORDERS)
        wanted = TrialQuery(
            order=sort,
            descending=descending,
            state=state,
            role=role,
            feasible=feasible,
            cause=cause,
            limit=limit,
            offset=offset,
        )
        with open_to_read(self._url) as store:
            spec = self._snapshots.spec(store, name)
            if spec is None:
                raise _missing(name)
            running = store.studies.holder(name)[1] in living_holders(store)
            texts, total = TrialList(store.source).page(name, replace(wanted, running=running))
        secrets = known_secrets() | frozenset(secrets_in(spec))
        trials = [_trial(name, text, secrets) for text in texts]
        return Page(items=tuple(trials if running else cut_off(trials)), total=total, offset=offset)

    def _snapshot(self, store: ReadStore, name: str) -> Snapshot:
        found = self._snapshots.current(store, name)
        if found is None:
            raise _missing(name)
        return found

    def _changes(
        self, store: ReadStore, lists: StudyList, skip: Callable[[UnreadableError], None]
    ) -> dict[str, float | None]:
        """Changes against the default of the studies whose answer is not stored."""
        found = dict[str, float | None]()
        for name in lists.unanswered():
            with _skipping(skip):
                snapshot = self._snapshots.current(store, name)
                if snapshot is not None:
                    found[name] = snapshot.answer.change
        return found

    def _overview(
        self, store: ReadStore, found: ListedStudy, living: Collection[str], places: Mapping[str, int]
    ) -> StudyOverview:
        running = found.row["owner_id"] in living
        place = places.get(found.name)
        answer = None if found.row["ending"] is not None else self._snapshot(store, found.name).answer
        seen = (found, running, place, answer)
        known = self._overviews.get(found.name)
        if known is not None and known[0] == seen:
            return known[1]
        record = read_study(found.row)
        made = overview(
            record,
            running=running,
            launches=found.launches,
            newest=None if found.newest is None else read_event(found.newest),
            trials=lambda: list(self._snapshot(store, found.name).trials),
            position=place,
        )
        if len(self._overviews) >= _MOST_OVERVIEWS:
            self._overviews.clear()
        self._overviews[found.name] = (seen, made)
        return made


@lru_cache(_MOST_TRIALS)
def _trial(study: str, text: str, secrets: frozenset[str]) -> Trial:
    return clean_model(read_trial(study, text), secrets)


def _check_order(sort: str, known: Sequence[str]) -> None:
    if sort not in known:
        raise UsageError.at("sort", "unknown order", value=sort, remedy=f"use {', '.join(known)}")


def _missing(name: str) -> NotFoundError:
    return NotFoundError.at("study", "not in the store", value=name)


@contextmanager
def _skipping(skip: Callable[[UnreadableError], None]) -> Iterator[None]:
    try:
        yield
    except UnreadableError as error:
        skip(error)
