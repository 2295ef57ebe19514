"""Files of backups: opened, and created whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from autotuner import __version__
from autotuner.errors import UsageError
from autotuner.store import Store
from autotuner.store import backup as archives
from autotuner.store.backup import BackupSummary
from autotuner.store.files import private_file
from autotuner.store.paths import data_home

_STREAM = "-"


def write(url: str | None, file: str | Path) -> BackupSummary:
    """Writes a backup; see :meth:`autotuner.Autotuner.backup`."""
    with _created(file) as to, Store.open(url) as store:
        return archives.write_backup(store.database, data_home(), to, version=__version__)


def restore(url: str | None, file: str | Path) -> BackupSummary:
    """Restores a backup; see :meth:`autotuner.Autotuner.restore`."""
    with _opened(file) as source, Store.open(url) as store:
        return archives.restore(store.database, data_home(), source, shown=str(file))


@contextmanager
def _created(file: str | Path) -> Iterator[IO[bytes]]:
    """A new private file, which appears under its name when it is complete; or stdout."""
    if str(file) == _STREAM:
        if sys.stdout.isatty():
            raise UsageError.at(_STREAM, "is a terminal", remedy="name a file, or send the output to one")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if path.exists():
        raise UsageError.at(str(path), "exists", remedy="name a new file")
    beside = path.with_name(f".{path.name}.{uuid4().hex[:12]}.part")
    private_file(beside)
    try:
        with beside.open("wb") as to:
            yield to
            to.flush()
            os.fsync(to.fileno())
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _opened(file: str | Path) -> Iterator[IO[bytes]]:
    if str(file) == _STREAM:
        yield sys.stdin.buffer
        return
    path = Path(file)
    if not path.is_file():
        why = "is not a file" if path.exists() else "no such file"
        raise UsageError.at(str(path), why)
    with path.open("rb") as source:
        yield source
