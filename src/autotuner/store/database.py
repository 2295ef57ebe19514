"""Open database: connections, transactions, and the JSON text in which values are stored.

Synchronous and thread-safe; the event loop calls it in worker threads. A write that has returned survives the death of
the process and, with SQLite's ``synchronous=FULL`` or PostgreSQL's default, a power failure too.
"""

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from autotuner.errors import StudyBusyError
from autotuner.secrets import clean, remember, secrets_in
from autotuner.store import tables
from autotuner.store.connection import opened, unusable, url_text, writing
from autotuner.store.rows import Row, StoreError, is_unstorable, storable
from autotuner.study.spec import StudySpec

logger = logging.getLogger(__name__)

_AGAIN_S = 0.5
"""Seconds between two attempts to reach a database server."""


class Database:
    """A SQLite file or a PostgreSQL database at the newest revision."""

    def __init__(self, url: str | Path) -> None:
        """Opens the database; creates or migrates it if needed. Raises :class:`StoreError`."""
        self._engine, self._kept = opened(url)
        self._secrets: frozenset[str] = frozenset()
        self._holder: tuple[str, str] | None = None
        """Study and owner: writes are refused once another owner holds the study."""
        self.patience_s = 0.0
        """Seconds for which a call waits for a database server that does not answer."""
        self.dialect = self._engine.dialect.name
        self.url = url_text(self._engine.url)
        """For display; the password is masked."""

    def held(self, study: str, owner_id: str) -> Self:
        """The same database, for the owner of a study; see :meth:`autotuner.store.store.Store.held`."""
        found = copy(self)
        vars(found).update(_holder=(study, owner_id))
        return found

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that only reads. Raises :class:`StoreError`."""
        try:
            with self._connected() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unusable(self._engine.url, error) from None

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A transaction in which all queries see the same state. Raises :class:`StoreError`."""
        with self.reading() as connection:
            if self._engine.dialect.name == "postgresql":  # every transaction of SQLite is a snapshot
                connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that writes; an error rolls all of it back.

        Raises:
            StoreError: If the database cannot be written.
            StudyBusyError: If the owner that this database is for no longer holds its study.
        """
        try:
            with self._connected() as plain, writing(plain) as connection:
                if self._holder is not None:
                    _refuse_taken_over(connection, *self._holder)
                yield connection
        except SQLAlchemyError as error:
            logger.info("a write to the store failed: %s", type(error).__name__)
            raise unusable(self._engine.url, error) from None

    def _connected(self) -> Connection:
        """A connection. One that broke meanwhile was replaced by the pool."""
        until = time.monotonic() + self.patience_s
        while True:
            try:
                return self._engine.connect()
            except OperationalError as error:
                # A file that cannot be opened now will not be readable soon, either.
                if self._engine.dialect.name != "postgresql" or time.monotonic() >= until:
                    raise
                logger.warning("the database does not answer (%s); trying again", type(error.orig).__name__)
                time.sleep(_AGAIN_S)

    def rows(self, query: str, **values: object) -> list[Row]:
        """The rows of one SELECT, in a transaction of its own. Raises :class:`StoreError`."""
        with self.reading() as db:
            return [dict(row) for row in db.execute(text(query), values).mappings()]

    def clock(self) -> float:
        """Seconds since the epoch by the database's clock, which all machines that share a server agree on."""
        with self.reading() as db:
            return clock(db)

    def close(self) -> None:
        """Closes all connections, unless this process keeps them open for its next use."""
        if not self._kept:
            self._engine.dispose()

    def insert_new(self, db: Connection, table: Table, values: Mapping[str, object]) -> bool:
        """Adds a row unless one with its primary key exists; returns whether it was added."""
        # Importing the dialect that is not used would only cost start-up time.
        dialect = import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}")
        adding = dialect.insert(table).values(**values).on_conflict_do_nothing()
        return db.execute(adding.returning(*table.primary_key)).first() is not None

    def learn_secrets(self, spec: StudySpec) -> None:
        """Masks the secret values of this study in everything that is stored from now on."""
        data = spec.model_dump(mode="json")
        self._secrets |= frozenset(secrets_in(data))
        remember(data)

    def clean(self, data: Any) -> Any:
        """A value without secrets and without characters that databases refuse."""
        return storable(clean(data, self._secrets))

    def json(self, data: object) -> str:
        """A value as JSON text, cleaned."""
        cleaned = clean(data, self._secrets)
        text = json.dumps(cleaned, ensure_ascii=False)
        # Most values have nothing to replace, and one look at their text is faster than a walk through them.
        return json.dumps(storable(cleaned), ensure_ascii=False) if is_unstorable(text) else text


def clock(db: Connection) -> float:
    """The database's time inside a transaction; see :meth:`Database.clock`."""
    if db.dialect.name == "postgresql":
        return float(db.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
    return time.time()  # SQLite has no clock of its own


def _refuse_taken_over(db: Connection, study: str, owner_id: str) -> None:
    """Locks the study's row for the rest of the transaction, so that no other owner can take the study meanwhile."""
    query = select(tables.studies.c.owner_id).where(tables.studies.c.name == study).with_for_update()
    holder = db.execute(query).scalar()
    if holder != owner_id:
        raise StudyBusyError.taken_over(study)


def lock_study(db: Connection, name: str) -> Row:
    """The study's row, locked for the rest of the transaction: trial numbers and ``seq`` grow in commit order.
    Raises :class:`StoreError` when no such study is stored."""
    row = db.execute(select(tables.studies).where(tables.studies.c.name == name).with_for_update()).mappings().first()
    if row is None:
        raise StoreError(f"no study named {name} is stored")
    return dict(row)
