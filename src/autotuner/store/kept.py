"""Databases whose connections stay open, for processes that use a store all the time.

Opening a database costs more than most queries: an engine, a connection, and the check of the revision. With SQLite,
closing the last connection also writes the journal back.

Nothing here imports SQLAlchemy, because commands that only read results ask whether the store is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass
class _Kept:
    users: int
    engine: Engine | None = None
    file: tuple[int, int] | None = None
    """Device and inode of a SQLite file when it was opened."""


_kept: dict[str, _Kept] = {}
_lock = Lock()


@contextmanager
def keeping(url: str | Path) -> Iterator[None]:
    """Keeps connections to this database open until the end of the block, for all in this process that spell its URL
    in the same way."""
    key = str(url)
    with _lock:
        _kept.setdefault(key, _Kept(users=0)).users += 1
    try:
        yield
    finally:
        with _lock:
            found = _kept[key]
            found.users -= 1
            if not found.users:
                del _kept[key]
        if not found.users and found.engine is not None:
            found.engine.dispose()


def is_kept(url: str | Path) -> bool:
    """Whether connections to this database are kept open."""
    return str(url) in _kept


def kept_engine(url: str | Path, file: Path | None, connect: Callable[[], Engine]) -> Engine | None:
    """The engine of a kept database; None if it is not kept.

    Args:
        url: The database.
        file: Its file. If it was replaced, as by a restored backup, it is opened again.
        connect: Opens the database.

    Raises:
        StoreError: If it cannot be opened.
    """
    found = _kept.get(str(url))
    if found is None:
        return None
    with _lock:
        if found.engine is not None and found.file != _identity(file):
            found.engine.dispose()
            found.engine = None
        if found.engine is None:
            found.engine = connect()
            found.file = _identity(file)
        return found.engine


def _identity(file: Path | None) -> tuple[int, int] | None:
    try:
        status = file.stat() if file is not None else None
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status is not None else None
