"""Writing of a backup, while studies run.

The rows of all tables are read in one snapshot, the files after it. A trial's files are complete before its row says
that the trial has ended, so every trial that the backup calls finished has all of its files.
"""

import io
import json
import os
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterator
from gzip import GzipFile
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, func, select

from autotuner.store.backup.archive import END, FORMAT, MANIFEST, STUDIES, TABLES, BackupSummary, Ending, Manifest
from autotuner.store.database import Database
from autotuner.store.rows import HEAD
from autotuner.store.tables import metadata

_LEVEL = 6
"""Compression level of gzip; 9 takes three times as long for 1% less."""
_IN_MEMORY = 16 << 20
"""Bytes of a table that are kept in memory before a temporary file is used."""
_MODE = 0o600


def write_backup(database: Database, home: Path, to: IO[bytes], *, version: str) -> BackupSummary:
    """Writes the rows of a database and the files of its studies into an open file.

    Args:
        database: The open database.
        home: The data directory, with the folder ``studies``.
        to: A file or a pipe that takes bytes.
        version: Version of the program.

    Returns:
        What was written.

    Raises:
        StoreError: If the database cannot be read.
        OSError: If a file cannot be read or written.
    """
    with (
        GzipFile("", "wb", _LEVEL, to) as zipped,
        tarfile.open(fileobj=zipped, mode="w|") as archive,
    ):
        with database.snapshot() as connection:
            at = time.time()
            counts = _add_rows(archive, connection, version, at)
        files = _add_files(archive, home)
        _add(archive, END, io.BytesIO(Ending(files=files).model_dump_json().encode()), at)
    return BackupSummary(studies=counts["studies"], trials=counts["trials"], files=files, at=at)


def _add_rows(archive: tarfile.TarFile, connection: Connection, version: str, at: float) -> dict[str, int]:
    """Adds the manifest and the rows of all tables, and returns the number of rows by table."""
    counts = {
        table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in metadata.sorted_tables
    }
    manifest = Manifest(format=FORMAT, revision=HEAD, version=version, at=at, rows=counts)
    _add(archive, MANIFEST, io.BytesIO(manifest.model_dump_json().encode()), at)
    for name in counts:
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as rows:
            for line in _lines(connection, name):
                rows.write(line)
            _add(archive, f"{TABLES}{name}.jsonl", rows, at)
    return counts


def _lines(connection: Connection, name: str) -> Iterator[bytes]:
    """The rows of a table as JSON lines, in the order of their keys."""
    table = metadata.tables[name]
    found = connection.execution_options(yield_per=500).execute(select(table).order_by(*table.primary_key))
    for row in found.mappings():
        yield json.dumps(dict(row), ensure_ascii=False).encode() + b"\n"


def _add_files(archive: tarfile.TarFile, home: Path) -> int:
    """Adds the files of all studies, and returns their number. One that is removed meanwhile is left out: its study or
    its trial was deleted."""
    files = 0
    for folder, inside, names in os.walk(home / STUDIES):
        inside.sort()
        for path in (Path(folder, name) for name in sorted(names)):
            # Files that are being written have such a name; the finished ones replace them.
            if path.name.endswith(".part"):
                continue
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            except OSError:
                if path.is_symlink():
                    continue
                raise
            with os.fdopen(handle, "rb") as content:
                status = os.fstat(handle)
                if stat.S_ISREG(status.st_mode):
                    _add(archive, str(path.relative_to(home)), content, status.st_mtime, size=status.st_size)
                    files += 1
    return files


def _add(archive: tarfile.TarFile, name: str, content: IO[bytes], at: float, *, size: int | None = None) -> None:
    """Adds a file. A log that grows meanwhile is cut at ``size`` bytes; one that shrinks is filled up with zeros,
    because its size has been written already."""
    entry = tarfile.TarInfo(name)
    entry.size = content.seek(0, io.SEEK_END) if size is None else size
    entry.mtime = int(at)
    entry.mode = _MODE
    content.seek(0)
    archive.addfile(entry, _Exactly(content, entry.size))


class _Exactly(io.RawIOBase):
    """The first bytes of a file, as many as were announced."""

    def __init__(self, content: IO[bytes], size: int) -> None:
        self._content = content
        self._left = size

    def read(self, size: int = -1) -> bytes:
        wanted = self._left if size < 0 else min(size, self._left)
        data = self._content.read(wanted)
        self._left -= wanted
        return data + bytes(wanted - len(data))
