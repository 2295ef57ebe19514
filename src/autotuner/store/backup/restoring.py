"""Restoring of a backup into an empty store."""

import json
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from gzip import BadGzipFile, GzipFile
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Connection, MetaData, Table, text

from autotuner.errors import AutotunerError, UsageError
from autotuner.store.backup.archive import END, FORMAT, MANIFEST, STUDIES, TABLES, BackupSummary, Ending, Manifest
from autotuner.store.database import Database
from autotuner.store.files import make_private, private_file
from autotuner.store.paths import is_study_name, study_folder
from autotuner.store.rows import HEAD

_Model = TypeVar("_Model", bound=BaseModel)
_PIECE = 1 << 20
_ROWS = 500
"""Rows per INSERT."""
_HOLDS_STATE = ("studies", "queue", "workers", "tokens")
"""Tables whose rows must not be mixed with those of a backup, nor lost."""
_NOT_A_BACKUP = "is not a backup of autotuner"
_DAMAGED = "is damaged or not complete"


def restore(database: Database, home: Path, source: IO[bytes], *, shown: str) -> BackupSummary:
    """Fills an empty store with the content of a backup. Nothing changes if it cannot be restored whole.

    The tables are created as they were when the backup was written, filled, and then migrated, like a database that a
    newer version of the program opens.

    Args:
        database: The open, empty database.
        home: The data directory.
        source: The archive.
        shown: Its name, for messages.

    Returns:
        What was restored.

    Raises:
        UsageError: If the archive is damaged, or the store is not empty.
        StoreError: If the database cannot be written.
        OSError: If a file cannot be written.
    """
    make_private(home)
    with ExitStack() as stack:
        staging = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=".restore-", dir=home)))
        manifest, files = _unpack(source, staging, shown)
        placed = list[Path]()
        try:
            with database.writing() as connection:
                _refuse_content(connection, database.url)
                _fill(connection, manifest, staging)
                for folder in sorted((staging / STUDIES).glob("*")):
                    _place(folder, placed)
        except BaseException:
            for folder in placed:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    rows = manifest.rows
    return BackupSummary(studies=rows.get("studies", 0), trials=rows.get("trials", 0), files=files, at=manifest.at)


def _unpack(source: IO[bytes], staging: Path, shown: str) -> tuple[Manifest, int]:
    """Writes all files of the archive under a folder; nothing of it is used before all of it was read."""
    ending: Ending | None = None
    manifest: Manifest | None = None
    files = 0
    try:
        with GzipFile(fileobj=source, mode="rb") as zipped, tarfile.open(fileobj=zipped, mode="r|") as archive:
            for entry in archive:
                content = archive.extractfile(entry) if entry.isreg() else None
                if content is None or not _expected(entry.name):
                    raise UsageError.at(shown, _NOT_A_BACKUP, value=entry.name)
                if entry.name == END:
                    ending = _parsed(Ending, content, shown)
                elif entry.name == MANIFEST:
                    manifest = _readable(_parsed(Manifest, content, shown), shown)
                else:
                    files += entry.name.startswith(STUDIES)
                    path = staging / entry.name
                    make_private(path.parent)
                    private_file(path)
                    with path.open("wb") as target:
                        shutil.copyfileobj(content, target)
            while zipped.read(_PIECE):  # to the end, where the checksum of all content is
                pass
    except (tarfile.TarError, BadGzipFile, zlib.error, EOFError) as error:
        # tarfile says so if not even the first block can be read.
        why = _NOT_A_BACKUP if manifest is None else _DAMAGED
        raise UsageError.at(shown, why, remedy="use another backup") from error
    if manifest is None:
        raise UsageError.at(shown, _NOT_A_BACKUP)
    if ending is None or ending.files != files:
        raise UsageError.at(shown, _DAMAGED, remedy="use another backup")
    return manifest, files


def _expected(name: str) -> bool:
    """Whether a backup may hold a file of this name; one that could leave its folder is none."""
    path = PurePosixPath(name)
    if name in {MANIFEST, END}:
        return True
    if ".." in path.parts or path.is_absolute() or str(path) != name:
        return False
    if name.startswith(TABLES):
        return len(path.parts) == 2 and path.suffix == ".jsonl"
    return name.startswith(STUDIES) and len(path.parts) > 2 and is_study_name(path.parts[1])


def _parsed(kind: type[_Model], content: IO[bytes], shown: str) -> _Model:
    try:
        return kind.model_validate_json(content.read())
    except ValidationError:
        raise UsageError.at(shown, _NOT_A_BACKUP) from None


def _readable(manifest: Manifest, shown: str) -> Manifest:
    if manifest.format > FORMAT or manifest.revision > HEAD:
        why = f"was written by a newer version of autotuner ({manifest.version})"
        raise UsageError.at(shown, why, remedy="update autotuner")
    return manifest


def _refuse_content(connection: Connection, url: str) -> None:
    for table in _HOLDS_STATE:
        if connection.execute(text(f"SELECT 1 FROM {table} LIMIT 1")).first() is not None:  # noqa: S608 - a constant
            raise UsageError.at(
                url, f"is not empty (it has {table})", remedy="restore into a new database: --store URL"
            )


def _fill(connection: Connection, manifest: Manifest, staging: Path) -> None:
    """Creates the tables at the backup's revision, adds its rows, and migrates them."""
    old = MetaData()
    old.reflect(connection)
    old.drop_all(connection)
    # Alembic takes as long to import as the rest of the store, and writing a backup does not need it.
    migrate = import_module("autotuner.store.migrations.migrate").migrate
    migrate(connection, manifest.revision)
    found = MetaData()
    found.reflect(connection)
    for table in found.sorted_tables:
        if table.name in manifest.rows:
            _insert(connection, table, staging / TABLES / f"{table.name}.jsonl", manifest.rows[table.name])
    migrate(connection)


def _insert(connection: Connection, table: Table, path: Path, expected: int) -> None:
    added = 0
    for rows in _batches(path):
        connection.execute(table.insert(), rows)
        added += len(rows)
    if added != expected:
        raise UsageError.at(path.name, f"{_DAMAGED}: {added} rows instead of {expected}", remedy="use another backup")
    numbered = table.autoincrement_column
    # SQLite takes the next number from the rows; a sequence of PostgreSQL does not know them.
    if connection.dialect.name == "postgresql" and numbered is not None and added:
        connection.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('{table.name}', '{numbered.name}'), "  # noqa: S608 - our names
                f"(SELECT max({numbered.name}) FROM {table.name}))"
            )
        )


def _batches(path: Path) -> Iterator[list[dict[str, object]]]:
    try:
        with path.open(encoding="utf-8") as lines:
            batch = list[dict[str, object]]()
            for line in lines:
                batch.append(json.loads(line))
                if len(batch) == _ROWS:
                    yield batch
                    batch = []
            if batch:
                yield batch
    except (FileNotFoundError, ValueError):
        raise UsageError.at(path.name, _DAMAGED, remedy="use another backup") from None


def _place(folder: Path, placed: list[Path]) -> None:
    """Moves the files of a study to where they belong."""
    target = study_folder(folder.name)
    if target.exists():
        raise AutotunerError(
            f"cannot restore {folder.name}: {target} exists", remedy="restore with AUTOTUNER_HOME set to a new folder"
        )
    make_private(target.parent)
    folder.rename(target)
    placed.append(target)
