"""The reading half of the store for commands that only look at results: a local SQLite file by the standard library.

Importing SQLAlchemy takes longer than everything else that such a command does. What the reader does not take (another
database, a file of another revision, one that is missing or cannot be opened) is the :class:`Store`'s, which makes,
migrates or refuses it.
"""

import re
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import quote

from autotuner.store.paths import data_home, default_url
from autotuner.store.records import EventRecord, OwnerRecord, StudyRecord
from autotuner.store.rows import (
    BUSY_TIMEOUT_S,
    FINISHED,
    HEAD,
    UnreadableError,
    read_event,
    read_owner,
    read_studies,
    read_study,
    read_trial,
    storable,
    unusable_store,
)
from autotuner.study.trial import Trial

_PLAIN_URL = re.compile(r"sqlite:///(?!:|file:)([^?%]+)")
"""URLs that name a file as it is, without escapes and options; SQLAlchemy reads all others."""
_OTHERS = 0o077


class Reading(Protocol):
    """What both the store and the reader can be asked; see the store's methods of the same names."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def clock(self) -> float: ...
    def owners(self) -> list[OwnerRecord]: ...
    def study(self, name: str) -> StudyRecord | None: ...
    def studies(self) -> list[StudyRecord]: ...
    def unreadable(self) -> list[str]: ...
    def trials(self, study: str) -> list[Trial]: ...
    def launch_counts(self) -> dict[str, int]: ...
    def last_event(self, study: str, kind: str) -> EventRecord | None: ...


def open_to_read(url: str | None = None) -> Reading:
    """The store at a SQLAlchemy URL, for reading; None: the default one. Raises :class:`StoreError`."""
    reader = Reader.of(url)
    if reader is not None:
        return reader
    from autotuner.store.store import Store

    return Store.open(url)


class Reader:
    """A local SQLite store at the newest revision, opened read-only. Make one with :func:`open_to_read`."""

    def __init__(self, path: Path) -> None:
        """Raises ``sqlite3.Error`` or ``OSError`` for a file that cannot be read."""
        self.url = "sqlite:///" + quote(str(path), safe=" +/")
        """For display, spelled as SQLAlchemy spells it."""
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        self._db.row_factory = sqlite3.Row

    @classmethod
    def of(cls, url: str | None = None) -> Self | None:
        """None for what is left to the store."""
        path = _file_of(url or default_url())
        if path is None:
            return None
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):  # SQLite would wait at a pipe; the store says what it is
                return None
            # The store closes a data directory that other users could read; its file alone would stay open.
            if path.parent == data_home() and (mode | path.parent.stat().st_mode) & _OTHERS:
                return None
            found = cls(path)
        except (sqlite3.Error, OSError, ValueError):
            return None
        try:
            rows = found._db.execute("SELECT version_num FROM alembic_version").fetchall()
        except sqlite3.Error:
            rows = []
        if [tuple(row) for row in rows] == [(HEAD,)]:
            return found
        found.close()
        return None

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def clock(self) -> float:
        """Seconds since the epoch: SQLite has no clock of its own."""
        return time.time()

    def owners(self) -> list[OwnerRecord]:
        """All owners ever seen."""
        return [read_owner(row) for row in self._rows("SELECT * FROM owners")]

    def study(self, name: str) -> StudyRecord | None:
        """One study, None when it is not stored. Raises :class:`UnreadableError`."""
        rows = self._rows("SELECT * FROM studies WHERE name = ?", storable(name))
        return read_study(rows[0]) if rows else None

    def studies(self) -> list[StudyRecord]:
        """All studies by name; without those that cannot be read, which :meth:`unreadable` tells."""
        return [found for found in self._records() if isinstance(found, StudyRecord)]

    def unreadable(self) -> list[str]:
        """One line for each study whose row cannot be read."""
        return [str(found) for found in self._records() if isinstance(found, UnreadableError)]

    def trials(self, study: str) -> list[Trial]:
        """A study's trials by number."""
        rows = self._rows("SELECT trial FROM trials WHERE study = ? ORDER BY number", study)
        return [read_trial(study, row["trial"]) for row in rows]

    def launch_counts(self) -> dict[str, int]:
        """Trials with a result, by study; studies without any are left out."""
        marks = ", ".join("?" * len(FINISHED))
        query = f"SELECT study, count(*) AS n FROM trials WHERE state IN ({marks}) GROUP BY study"  # noqa: S608
        return {row["study"]: int(row["n"]) for row in self._rows(query, *FINISHED)}

    def last_event(self, study: str, kind: str) -> EventRecord | None:
        """The newest event of that kind; None where there is none."""
        query = "SELECT * FROM events WHERE study = ? AND kind = ? ORDER BY seq DESC LIMIT 1"
        rows = self._rows(query, study, kind)
        return read_event(rows[0]) if rows else None

    def _records(self) -> Iterator[StudyRecord | UnreadableError]:
        return read_studies(self._rows("SELECT * FROM studies ORDER BY name"))

    def _rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        with self._said(), closing(self._db.execute(query, values)) as cursor:
            return [dict(row) for row in cursor]

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise unusable_store(self.url, str(error)) from None


def _file_of(url: str | Path) -> Path | None:
    """The SQLite file that is named without further options."""
    if isinstance(url, Path):
        return url
    plain = _PLAIN_URL.fullmatch(url)
    return Path(plain[1]) if plain else None
