"""The database as the rest of the program sees it: nouns in, nouns out, every call one transaction.

Synchronous and thread-safe; the loop calls it in threads. When a call returns, its effect survives the death of the
process, and with SQLite's ``synchronous=FULL`` or PostgreSQL's default a power cut too.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from autotuner.secrets import clean, remember, secrets_in
from autotuner.store import tables
from autotuner.store.connection import connect, not_made_yet, unusable, url_text, writing
from autotuner.store.paths import default_url
from autotuner.store.records import EventRecord, LeaseRecord, OwnerRecord, StudyRecord
from autotuner.store.rows import (
    FINISHED,
    StoreError,
    UnreadableError,
    read_event,
    read_owner,
    read_studies,
    read_study,
    read_trial,
    storable,
)
from autotuner.study.owner import Owner
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState

_NUMBERS = range(2**31)
"""What the database takes for a trial's number."""
_OPEN = (TrialState.QUEUED.value, TrialState.RUNNING.value)


class Store:
    """Studies, trials, events, owners and leases. Make one with :meth:`open`."""

    def __init__(self, url: str | Path) -> None:
        self._engine = connect(url)
        self._secrets: frozenset[str] = frozenset()
        self.url = url_text(self._engine.url)
        """For display; the password is masked."""

    @classmethod
    def open(cls, url: str | None = None) -> Self:
        """Opens (and makes or migrates, where needed) the store at a SQLAlchemy URL; None: the default one.
        Raises :class:`StoreError`."""
        return cls(url or default_url())

    @classmethod
    def look(cls, url: str | None = None) -> str:
        """One line on the store at a URL; a file that is not there yet is not made. Raises :class:`StoreError`."""
        if waiting := not_made_yet(url or default_url()):
            return f"{waiting}, made by the first run"
        with cls.open(url) as store:
            return f"{store.url}, {len(store.studies())} studies"

    @classmethod
    def is_made(cls, url: str | None = None) -> bool:
        """Whether there is a store to look into; a database server counts as one."""
        return not not_made_yet(url or default_url())

    def close(self) -> None:
        """Closes all connections."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Owners

    def clock(self) -> float:
        """Seconds since the epoch by the database's clock, which is one for all machines that share a server."""
        with self._reading() as db:
            return _clock(db)

    def register_owner(self, owner: Owner, now: float | None = None) -> None:
        """Makes a running process known, with its first heartbeat."""
        with self._writing() as db:
            at = _clock(db) if now is None else now
            db.execute(insert(tables.owners).values(**owner.model_dump(), heartbeat_at=at))

    def heartbeat(self, owner_id: str, now: float | None = None) -> bool:
        """Records that the owner is alive. False when it was marked as ended meanwhile, because another process took
        it for dead: its leases and trials may be gone."""
        with self._writing() as db:
            at = _clock(db) if now is None else now
            living = (tables.owners.c.id == owner_id) & tables.owners.c.ended_at.is_(None)
            return db.execute(update(tables.owners).where(living).values(heartbeat_at=at)).rowcount == 1

    def end_owner(self, owner_id: str, now: float) -> None:
        """The owner has ended, by itself or for all that can be seen, and holds nothing any more."""
        with self._writing() as db:
            db.execute(update(tables.owners).where(tables.owners.c.id == owner_id).values(ended_at=now))

    def owners(self) -> list[OwnerRecord]:
        """All owners ever seen."""
        with self._reading() as db:
            rows = db.execute(select(tables.owners)).mappings().all()
        return [read_owner(dict(row)) for row in rows]

    # Studies

    def create_study(self, spec: StudySpec, *, source: str, digest: str, now: float) -> StudyRecord:
        """Stores a new study. Raises :class:`StoreError` when the name is taken."""
        self._learn_secrets(spec)
        values = {
            "name": spec.name,
            "digest": digest,
            "source": storable(clean(source, self._secrets)),
            "state": "new",
            "stop_requested": 0,
        }
        with self._writing() as db:
            if db.execute(select(tables.studies.c.name).where(tables.studies.c.name == spec.name)).first():
                raise StoreError(f"a study named {spec.name} is stored already")
            row = {**values, "spec": self._json(spec.model_dump(mode="json")), "created_at": now, "updated_at": now}
            db.execute(insert(tables.studies).values(**row))
        return self._study(spec.name)

    def update_study_spec(self, name: str, spec: StudySpec, *, digest: str, source: str) -> None:
        """Takes over the study as its file has it now."""
        self._learn_secrets(spec)
        values = {"spec": self._json(spec.model_dump(mode="json")), "digest": digest, "source": storable(source)}
        with self._writing() as db:
            db.execute(update(tables.studies).where(tables.studies.c.name == name).values(**values))

    def rename_study(self, name: str, new: str) -> None:
        """Gives a study with its trials and events another name. Raises :class:`StoreError` when that is taken."""
        with self._writing() as db:
            row = self._locked(db, name)._asdict()
            if db.execute(select(tables.studies.c.name).where(tables.studies.c.name == new)).first():
                raise StoreError(f"a study named {new} is stored already")
            spec = StudySpec.model_validate_json(row["spec"]).model_copy(update={"name": new})
            values = {**row, "name": new, "spec": self._json(spec.model_dump(mode="json"))}
            db.execute(insert(tables.studies).values(**values))
            for text in db.execute(select(tables.trials.c.trial).where(tables.trials.c.study == name)).scalars().all():
                trial = Trial.model_validate_json(text)
                where = (tables.trials.c.study == name) & (tables.trials.c.number == trial.number)
                changed = self._trial_row(trial.model_copy(update={"study": new}))
                db.execute(update(tables.trials).where(where).values(**changed))
            db.execute(update(tables.events).where(tables.events.c.study == name).values(study=new))
            db.execute(delete(tables.studies).where(tables.studies.c.name == name))

    def study(self, name: str) -> StudyRecord | None:
        """One study, None when it is not stored. Raises :class:`UnreadableError`."""
        with self._reading() as db:
            query = select(tables.studies).where(tables.studies.c.name == storable(name))
            row = db.execute(query).mappings().first()
        return read_study(dict(row)) if row else None

    def studies(self) -> list[StudyRecord]:
        """All studies by name; without those that cannot be read, which :meth:`unreadable` tells."""
        return [found for found in self._records() if isinstance(found, StudyRecord)]

    def unreadable(self) -> list[str]:
        """One line for each study whose row cannot be read."""
        return [str(found) for found in self._records() if isinstance(found, UnreadableError)]

    def _records(self) -> Iterator[StudyRecord | UnreadableError]:
        with self._reading() as db:
            rows = db.execute(select(tables.studies).order_by(tables.studies.c.name)).mappings().all()
        return read_studies(map(dict, rows))

    def holder(self, name: str) -> tuple[bool, str | None]:
        """(whether a study of this name is stored, readable or not; who holds it)."""
        with self._reading() as db:
            query = select(tables.studies.c.owner_id).where(tables.studies.c.name == storable(name))
            row = db.execute(query).first()
        return row is not None, row[0] if row else None

    def set_study_state(self, name: str, state: str, summary: Mapping[str, object] | None, now: float) -> None:
        """How the study stands."""
        text = None if summary is None else self._json(summary)
        values = {"state": state, "summary": text, "updated_at": now}
        with self._writing() as db:
            db.execute(update(tables.studies).where(tables.studies.c.name == name).values(**values))

    def set_search_time(self, name: str, seconds: float) -> None:
        """How much time the study's search has used by now."""
        with self._writing() as db:
            db.execute(update(tables.studies).where(tables.studies.c.name == name).values(search_s=seconds))

    def delete_study(self, name: str) -> None:
        """Removes a study with its trials and events."""
        with self._writing() as db:
            db.execute(delete(tables.studies).where(tables.studies.c.name == name))

    def lease_study(self, name: str, owner_id: str, now: float, *, dead: Collection[str]) -> str | None:
        """Takes the study for one owner. None when got, else the id of the living owner that holds it."""
        with self._writing() as db:
            holder = self._locked(db, name).owner_id
            if holder is not None and holder != owner_id and holder not in dead:
                return str(holder)
            values = {"owner_id": owner_id, "updated_at": now}
            db.execute(update(tables.studies).where(tables.studies.c.name == name).values(**values))
        return None

    def release_study(self, name: str, owner_id: str) -> None:
        """Gives the study back, if this owner holds it."""
        mine = (tables.studies.c.name == name) & (tables.studies.c.owner_id == owner_id)
        with self._writing() as db:
            db.execute(update(tables.studies).where(mine).values(owner_id=None))

    def request_stop(self, name: str) -> None:
        """Asks whoever runs the study to end."""
        self._set_stop(name, 1)

    def clear_stop(self, name: str) -> None:
        """Forgets a request to end."""
        self._set_stop(name, 0)

    def stop_requested(self, name: str) -> bool:
        """Whether somebody asked the study to end."""
        with self._reading() as db:
            query = select(tables.studies.c.stop_requested).where(tables.studies.c.name == name)
            return bool(db.execute(query).scalar())

    # Trials

    def add_trial(self, trial: Trial, *, owner_id: str) -> Trial:
        """Stores a new trial under the study's next number (0 first) and returns it with that number."""
        with self._writing() as db:
            self._locked(db, trial.study)
            query = select(func.max(tables.trials.c.number)).where(tables.trials.c.study == trial.study)
            last = db.execute(query).scalar()
            numbered = trial.model_copy(update={"number": 0 if last is None else int(last) + 1})
            db.execute(insert(tables.trials).values(owner_id=owner_id, **self._trial_row(numbered)))
        return numbered

    def update_trial(self, trial: Trial) -> None:
        """Keeps a running trial's progress. Raises :class:`StoreError` when it has ended already."""
        with self._writing() as db:
            self._change(db, trial)

    def finish_trial(self, trial: Trial, event_data: Mapping[str, object]) -> None:
        """Stores a trial's end together with its ``trial_finished`` event; both or neither.
        Raises :class:`StoreError` when it has ended already (its owner was taken for dead, say)."""
        with self._writing() as db:
            self._locked(db, trial.study)
            self._change(db, trial)
            at = trial.finished_at or 0.0
            self._append(db, trial.study, "trial_finished", event_data, trial=trial.number, at=at)

    def amend_trials(self, study: str, trials: Sequence[tuple[Trial, Mapping[str, object]]], now: float) -> None:
        """Replaces ended trials whose meaning has changed (a verdict by other bounds, a result that counts no more),
        each with its new ``trial_finished`` event; all or none."""
        with self._writing() as db:
            self._locked(db, study)
            for trial, event_data in trials:
                where = (tables.trials.c.study == study) & (tables.trials.c.number == trial.number)
                changed = update(tables.trials).where(where & tables.trials.c.state.not_in(_OPEN))
                db.execute(changed.values(**self._trial_row(trial)))
                self._append(db, study, "trial_finished", event_data, trial=trial.number, at=now)

    def trials(self, study: str) -> list[Trial]:
        """A study's trials by number."""
        query = select(tables.trials.c.trial).where(tables.trials.c.study == study).order_by(tables.trials.c.number)
        with self._reading() as db:
            return [read_trial(study, text) for text in db.execute(query).scalars()]

    def launch_counts(self) -> dict[str, int]:
        """Trials with a result, by study; studies without any are left out."""
        finished = tables.trials.c.state.in_(FINISHED)
        query = select(tables.trials.c.study, func.count()).where(finished).group_by(tables.trials.c.study)
        with self._reading() as db:
            return {row[0]: int(row[1]) for row in db.execute(query)}

    def trial(self, study: str, number: int) -> Trial | None:
        """One trial, None when there is none of this number."""
        if number not in _NUMBERS:
            return None
        where = (tables.trials.c.study == study) & (tables.trials.c.number == number)
        with self._reading() as db:
            text = db.execute(select(tables.trials.c.trial).where(where)).scalar()
        return read_trial(study, text) if text is not None else None

    def void_trials_of(self, dead: Collection[str], study: str, now: float) -> list[Trial]:
        """Ends the unfinished trials of dead owners as ``void``; returns them."""
        ended = []
        open_ones = tables.trials.c.state.in_(_OPEN) & tables.trials.c.owner_id.in_(list(dead))
        with self._writing() as db:
            self._locked(db, study)
            query = select(tables.trials.c.trial).where(open_ones & (tables.trials.c.study == study))
            for text in list(db.execute(query).scalars()):
                found = Trial.model_validate_json(text)
                ended.append(found.model_copy(update={"state": TrialState.VOID, "finished_at": now}))
                self._change(db, ended[-1])
                data: dict[str, object] = {"state": TrialState.VOID.value, "role": found.role.value, "windows": []}
                self._append(db, study, "trial_finished", data, trial=found.number, at=now)
        return ended

    # Events

    def append(
        self, study: str, kind: str, data: Mapping[str, object], *, trial: int | None = None, at: float
    ) -> EventRecord:
        """Adds one event at the end of the stream."""
        with self._writing() as db:
            self._locked(db, study)
            seq = self._append(db, study, kind, data, trial=trial, at=at)
        return EventRecord(seq=seq, at=at, study=study, trial=trial, kind=kind, data=data)

    def events(self, study: str, *, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        """A study's events with a ``seq`` above ``after``, in order."""
        where = (tables.events.c.study == study) & (tables.events.c.seq > after)
        with self._reading() as db:
            rows = db.execute(select(tables.events).where(where).order_by(tables.events.c.seq).limit(limit)).mappings()
            return [read_event(dict(row)) for row in rows]

    def last_event(self, study: str, kind: str) -> EventRecord | None:
        """The newest event of that kind; None where there is none."""
        where = (tables.events.c.study == study) & (tables.events.c.kind == kind)
        with self._reading() as db:
            newest = select(tables.events).where(where).order_by(tables.events.c.seq.desc()).limit(1)
            row = db.execute(newest).mappings().first()
            return None if row is None else read_event(dict(row))

    def last_seq(self, study: str) -> int:
        """``seq`` of the study's last event, 0 when there is none."""
        with self._reading() as db:
            query = select(func.max(tables.events.c.seq)).where(tables.events.c.study == study)
            return int(db.execute(query).scalar() or 0)

    # Leases

    def acquire(
        self, resource: str, *, owner_id: str, study: str, trial: int, now: float, dead: Collection[str]
    ) -> bool:
        """Takes a resource that only one trial may hold; one that a dead owner holds is taken over."""
        return bool(self.acquire_some([resource], 1, owner_id=owner_id, study=study, trial=trial, now=now, dead=dead))

    def acquire_some(
        self,
        resources: Sequence[str],
        count: int,
        *,
        owner_id: str,
        study: str,
        trial: int,
        now: float,
        dead: Collection[str],
    ) -> list[str]:
        """Takes the first ``count`` of the resources that are to be had; all of them or, returning none, none."""
        row = {"owner_id": owner_id, "study": study, "trial": trial, "acquired_at": now}
        got: list[str] = []
        with self._writing() as db:
            for resource in resources:
                if len(got) < count and self._take(db, resource, row, dead):
                    got.append(resource)
            if len(got) < count:
                db.rollback()
                got = []
        return got

    def _take(self, db: Connection, resource: str, row: Mapping[str, object], dead: Collection[str]) -> bool:
        stale = (tables.leases.c.resource == resource) & tables.leases.c.owner_id.in_(list(dead))
        if db.execute(update(tables.leases).where(stale).values(**row)).rowcount:
            return True
        name = "postgresql" if self._engine.dialect.name == "postgresql" else "sqlite"
        dialect = import_module(f"sqlalchemy.dialects.{name}")  # the other one costs start-up time for nothing
        adding = dialect.insert(tables.leases).values(resource=resource, **row).on_conflict_do_nothing()
        return db.execute(adding.returning(tables.leases.c.resource)).first() is not None

    def release(self, resource: str, owner_id: str) -> None:
        """Gives a resource back, if this owner holds it."""
        mine = (tables.leases.c.resource == resource) & (tables.leases.c.owner_id == owner_id)
        with self._writing() as db:
            db.execute(delete(tables.leases).where(mine))

    def release_all(self, owner_id: str) -> None:
        """Gives everything back that this owner holds."""
        with self._writing() as db:
            db.execute(delete(tables.leases).where(tables.leases.c.owner_id == owner_id))

    def leases(self) -> list[LeaseRecord]:
        """All resources that are held."""
        with self._reading() as db:
            rows = db.execute(select(tables.leases).order_by(tables.leases.c.resource)).mappings()
            return [LeaseRecord.model_validate(dict(row)) for row in rows]

    # Inside

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unusable(self._engine.url, error) from None

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with writing(self._engine) as connection:
                yield connection
        except SQLAlchemyError as error:
            raise unusable(self._engine.url, error) from None

    def _study(self, name: str) -> StudyRecord:
        found = self.study(name)
        if found is None:
            raise StoreError(f"no study named {name} is stored")
        return found

    def _locked(self, db: Connection, name: str) -> Any:
        """The study's row, locked for the rest of the transaction: numbers and ``seq`` grow in commit order."""
        row = db.execute(select(tables.studies).where(tables.studies.c.name == name).with_for_update()).first()
        if row is None:
            raise StoreError(f"no study named {name} is stored")
        return row

    def _set_stop(self, name: str, value: int) -> None:
        with self._writing() as db:
            db.execute(update(tables.studies).where(tables.studies.c.name == name).values(stop_requested=value))

    def _change(self, db: Connection, trial: Trial) -> None:
        where = (tables.trials.c.study == trial.study) & (tables.trials.c.number == trial.number)
        is_open = tables.trials.c.state.in_(_OPEN)
        changed = db.execute(update(tables.trials).where(where & is_open).values(**self._trial_row(trial))).rowcount
        if not changed:
            raise StoreError(f"trial {trial.number} of {trial.study} has ended already")

    def _trial_row(self, trial: Trial) -> dict[str, object]:
        data = clean(trial.model_dump(mode="json"), self._secrets)
        # A resumed study launches stored configurations. A secret value is refused in them, so all that could be hidden
        # here is an ordinary value that equals some password by chance, and ``***`` would reach the engine.
        data["configuration"] = trial.configuration.model_dump(mode="json")
        text = json.dumps(storable(data), ensure_ascii=False)
        return {"study": trial.study, "number": trial.number, "state": trial.state.value, "trial": text}

    def _append(
        self, db: Connection, study: str, kind: str, data: Mapping[str, object], *, trial: int | None, at: float
    ) -> int:
        row = {"study": study, "trial": trial, "at": at, "kind": kind, "data": self._json(data)}
        return int(db.execute(insert(tables.events).values(**row).returning(tables.events.c.seq)).scalar_one())

    def _learn_secrets(self, spec: StudySpec) -> None:
        data = spec.model_dump(mode="json")
        self._secrets |= frozenset(secrets_in(data))
        remember(data)

    def _json(self, data: object) -> str:
        return json.dumps(storable(clean(data, self._secrets)), ensure_ascii=False)


def _clock(db: Connection) -> float:
    if db.dialect.name == "postgresql":
        return float(db.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
    return time.time()  # SQLite has no clock of its own
