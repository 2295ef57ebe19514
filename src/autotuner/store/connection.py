"""Connections to the database: opening, settings for durability, and migration to the newest revision."""

import logging
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from autotuner.secrets import HIDDEN, looks_secret
from autotuner.store import kept
from autotuner.store.files import make_private, private_file, reason
from autotuner.store.paths import data_home
from autotuner.store.rows import BUSY_TIMEOUT_S, HEAD, StoreError
from autotuner.store.tables import metadata

_AGAIN_S = 0.01
_PRIMARY = 0xFF
"""Mask of the primary code in SQLite's extended result codes."""
_POSTGRESQL = "pip install 'llm-inference-autotuner[postgresql]'"
_MIGRATION_LOCK = 7_381_020_551
"""Key of the PostgreSQL advisory lock for migrations; any constant would do."""
_KEPT_POOL = {"pool_size": 10, "max_overflow": 30}
"""Connections of a database that stays open: as many as a server has threads for requests."""
_MOST_URLS = 16
"""Parsed URLs to cache: every request opens a store, and parsing its URL leaves cyclic garbage."""
_WRITE = "autotuner_write"
"""Execution option of connections that write."""


logger = logging.getLogger(__name__)


def opened(url: str | Path) -> tuple[Engine, bool]:
    """As :func:`connect`, and whether the engine is one that this process keeps open."""
    parsed = _parsed(url)
    file = Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
    found = kept.kept_engine(url, file, lambda: connect(url, **_KEPT_POOL))
    return (connect(url), False) if found is None else (found, True)


def connect(url: str | Path, **pool: int) -> Engine:
    """An engine whose database is at the newest revision. Raises :class:`StoreError`."""
    parsed = _parsed(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    try:
        if sqlite and parsed.database:
            _make_file(Path(parsed.database))
        options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}} if sqlite else {"pool_pre_ping": True}
        engine = create_engine(parsed, **options, **pool)
        if sqlite:
            _set_up_sqlite(engine)
        try:
            _to_head(engine)
        except BaseException:
            engine.dispose()
            raise
    except ModuleNotFoundError as error:
        raise StoreError(f"this store needs {error.name}", remedy=_POSTGRESQL) from None
    except (SQLAlchemyError, OSError, ValueError) as error:
        raise unusable(parsed, error) from None
    logger.debug("opened the store %s", url_text(parsed))
    return engine


def _make_file(path: Path) -> None:
    """Creates the database file, readable only by its owner, before SQLite does; its journals get that mode."""
    ours = path.parent == data_home()
    if ours:
        make_private(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        raise OSError(0, "it is not a regular file")
    if ours or not path.exists():  # an existing file elsewhere may belong to another program, named by mistake
        private_file(path)


def missing_file(url: str | Path) -> str:
    """The URL for display if it names a file that does not exist yet, otherwise empty. Raises :class:`StoreError`."""
    parsed = _parsed(url)
    is_file = parsed.get_backend_name() == "sqlite" and parsed.database
    return url_text(parsed) if is_file and not Path(str(parsed.database)).exists() else ""


@lru_cache(_MOST_URLS)
def _parsed(url: str | Path) -> URL:
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url)
        if parsed.drivername in {"postgres", "postgresql"}:
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in {"sqlite", "postgresql"}:
            raise ArgumentError("neither SQLite nor PostgreSQL")
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError):
        shown = re.sub(r"^(\w[\w+]*://)?.*@", r"\1***@", url).partition("?")[0]
        raise StoreError(
            f"not a SQLite or PostgreSQL URL: {shown}", remedy="for example sqlite:////path/autotuner.db"
        ) from None
    except ModuleNotFoundError as error:
        raise StoreError(f"this store needs {error.name}", remedy=_POSTGRESQL) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise StoreError(
            "a store in memory would lose every result", remedy="name a file: sqlite:////path/autotuner.db"
        )
    return parsed


@lru_cache(_MOST_URLS)
def url_text(url: URL) -> str:
    """The URL for display, without any password."""
    hidden = {key: HIDDEN if looks_secret(key) else value for key, value in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True).replace("%2A%2A%2A", "***")


def unusable(url: URL, error: Exception) -> StoreError:
    """A database error as one line."""
    why = str(error.orig) if isinstance(error, DBAPIError) and error.orig else reason(error)
    secrets = [str(v) for k, v in url.query.items() if looks_secret(k)]
    return StoreError.unusable(url_text(url), why, [*secrets, str(url.password or "")])


@contextmanager
def writing(connection: Connection) -> Iterator[Connection]:
    """A transaction that writes. On SQLite it takes the write lock at its start, so that it never has to be retried."""
    with connection.execution_options(**{_WRITE: True}).begin():
        yield connection


def _set_up_sqlite(engine: Engine) -> None:
    """Configures every connection. With WAL, readers and a writer do not block one another. ``synchronous=FULL`` makes
    every commit reach the disk, so that a trial reported as finished survives a killed process and a power failure."""

    @event.listens_for(engine, "connect")
    def on_connect(dbapi: Any, _: Any) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S}000")
        _to_wal(cursor)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITE)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _to_wal(cursor: sqlite3.Cursor) -> None:
    """Switches a new file to WAL. SQLite does not apply its busy timeout here if another process does the same."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            logger.debug("another process holds the new database; trying again to switch it to WAL")
            time.sleep(_AGAIN_S)
        else:
            return


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _to_head(engine: Engine) -> None:
    with engine.connect() as connection:
        if _revision(connection) == HEAD:
            return
    with engine.connect() as opened, writing(opened) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        found = _revision(connection)
        if found is not None and not re.fullmatch(r"\d{4}", found):
            raise StoreError(
                f"the store {url_text(engine.url)} holds another program's tables (revision {found})",
                remedy="give autotuner a database of its own",
            )
        if found is not None and found > HEAD:
            raise StoreError(
                f"the store {url_text(engine.url)} was created by a newer version of autotuner "
                f"(revision {found}; this version knows {HEAD})",
                remedy="update autotuner",
            )
        if found is None:
            _create(connection)
        elif found != HEAD:
            logger.info("store %s: migrating from revision %s to %s", url_text(engine.url), found, HEAD)
            import_module("autotuner.store.migrations.migrate").migrate(connection)


def _create(connection: Connection) -> None:
    """Creates the tables of the newest revision. All migrations would create the same, but importing Alembic takes
    longer than everything else that a new store needs."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": HEAD})
