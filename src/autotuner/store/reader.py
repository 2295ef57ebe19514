"""Read-only access to a local SQLite store through the standard library, for commands that only read results.

Importing SQLAlchemy takes longer than everything else that such a command does. :class:`Store` opens what this module
does not: another database, a file at another revision, or one that is missing or damaged.
"""

import re
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Self
from urllib.parse import quote

from autotuner.store.kept import is_kept
from autotuner.store.paths import data_home, default_url
from autotuner.store.queries import ReadStore
from autotuner.store.rows import BUSY_TIMEOUT_S, HEAD, Row, StoreError

_PLAIN_URL = re.compile(r"sqlite:///(?!:|file:)([^?%]+)")
"""URLs of a file without escapes and options; SQLAlchemy parses all others."""
_OTHERS = 0o077
"""Mode bits of group and others."""


def open_to_read(url: str | None = None) -> ReadStore:
    """Opens the store at a SQLAlchemy URL for reading; None: the default one. Raises :class:`StoreError`."""
    if not is_kept(url or default_url()):
        file = SqliteFile.of(url)
        if file is not None:
            return ReadStore(file)
    from autotuner.store.store import Store

    return Store.open(url)


class SqliteFile:
    """A local SQLite file at the newest revision, opened read-only."""

    dialect = "sqlite"

    def __init__(self, path: Path) -> None:
        """Raises ``sqlite3.Error`` or ``OSError`` for a file that cannot be read."""
        self.url = "sqlite:///" + quote(str(path), safe=" +/")
        """For display, spelled as SQLAlchemy spells it."""
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S)
        self._db.row_factory = sqlite3.Row

    @classmethod
    def of(cls, url: str | None = None) -> Self | None:
        """The file at a URL; None if only :class:`Store` can open it."""
        path = _file_of(url or default_url())
        if path is None:
            return None
        try:
            mode = path.stat().st_mode
            if not stat.S_ISREG(mode):  # SQLite would block on a pipe; the store reports what it is
                return None
            # The store makes a data directory private that other users could read.
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

    def rows(self, query: str, **values: object) -> list[Row]:
        """The rows of one SELECT. Raises :class:`StoreError`."""
        try:
            with closing(self._db.execute(query, values)) as cursor:
                return [dict(row) for row in cursor]
        except sqlite3.Error as error:
            raise StoreError.unusable(self.url, str(error)) from None

    def clock(self) -> float:
        """Seconds since the epoch: SQLite has no clock of its own."""
        return time.time()

    def close(self) -> None:
        """Closes the connection."""
        self._db.close()


def _file_of(url: str | Path) -> Path | None:
    """The SQLite file that a URL names without further options; None for any other URL."""
    if isinstance(url, Path):
        return url
    plain = _PLAIN_URL.fullmatch(url)
    return Path(plain[1]) if plain else None
