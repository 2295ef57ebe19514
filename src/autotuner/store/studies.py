"""Stored studies."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, insert, select, update

from autotuner.store.database import Database, lock_study
from autotuner.store.events import EventLog
from autotuner.store.lists.columns import answer_columns, study_columns
from autotuner.store.queries import StudyQueries
from autotuner.store.records import QueueState, StudyRecord
from autotuner.store.rows import StoreError, storable
from autotuner.store.tables import queue, studies
from autotuner.store.trials import TrialTable
from autotuner.study.environment_facts import Facts
from autotuner.study.search.beginning import Beginning
from autotuner.study.search.evidence import Evidence
from autotuner.study.spec import StudySpec


class StudyTable(StudyQueries):
    """Studies: their specs, their state, and the owners that run them. Each call is one transaction; renaming and
    deleting include the study's trials and events."""

    def __init__(self, database: Database, trials: TrialTable, events: EventLog) -> None:
        super().__init__(database)
        self._database = database
        self._trials = trials
        self._events = events

    def create(self, spec: StudySpec, *, source: str, digest: str, now: float) -> StudyRecord:
        """Stores a new study. Raises :class:`StoreError` if the name is taken."""
        self._database.learn_secrets(spec)
        values = {
            "name": spec.name,
            "digest": digest,
            **self._columns(spec),
            "source": self._database.clean(source),
            "state": "new",
            "stop_requested": 0,
            "created_at": now,
            "updated_at": now,
        }
        with self._database.writing() as db:
            _refuse_taken(db, spec.name)
            db.execute(insert(studies).values(**values))
        found = self.get(spec.name)
        if found is None:
            raise StoreError(f"no study named {spec.name} is stored")
        return found

    def update_spec(self, name: str, spec: StudySpec, *, digest: str, source: str) -> None:
        """Replaces the study's spec, after a change of its file."""
        self._database.learn_secrets(spec)
        values = {**self._columns(spec), "digest": digest, "source": storable(source)}
        self._set(name, values)

    def set_draft(self, name: str, spec: StudySpec | None) -> None:
        """Stores what the study will be when it is started again, without secrets; None: what it is now. Until a run
        has compared the two, its spec stays that of its results."""
        self._set(name, {"draft": None if spec is None else spec.model_dump_json()})

    def rename(self, name: str, new: str) -> None:
        """Renames a study with its trials and events. Raises :class:`StoreError` if the new name is taken."""
        with self._database.writing() as db:
            row = lock_study(db, name)
            _refuse_taken(db, new)
            _refuse_queued(db, name)
            spec = StudySpec.model_validate_json(row["spec"]).model_copy(update={"name": new})
            # Trials and events need an existing study: the new row is added first, and the old one deleted last.
            db.execute(insert(studies).values(**{**row, "name": new, "spec": self._text(spec)}))
            self._trials.rename_study_in(db, name, new)
            self._events.rename_study_in(db, name, new)
            db.execute(delete(studies).where(studies.c.name == name))

    def set_state(self, name: str, state: str, summary: Mapping[str, object] | None, now: float) -> None:
        """Stores the study's state with a summary of its run."""
        text = None if summary is None else self._database.json(summary)
        self._set(name, {"state": state, "summary": text, **answer_columns(summary), "updated_at": now})

    def set_search_time(self, name: str, seconds: float) -> None:
        """Stores the wall-clock time that the study's search has used so far."""
        self._set(name, {"search_s": seconds})

    def set_world(self, name: str, world: Facts) -> None:
        """Stores the facts besides the spec that the study's trials depend on."""
        facts = {fact: found.model_dump(mode="json") for fact, found in world.items()}
        self._set(name, {"world": self._database.json(facts)})

    def begin(self, name: str, beginning: Beginning, evidence: Evidence) -> None:
        """Stores what is known at the beginning of the study; a study that is resumed keeps it."""
        values = {
            "beginning": self._database.json(beginning.model_dump(mode="json")),
            "evidence": self._database.json(evidence.model_dump(mode="json")) if evidence.studies else None,
        }
        self._set(name, values)

    def delete(self, name: str) -> None:
        """Removes a study with its trials and events."""
        with self._database.writing() as db:
            db.execute(delete(studies).where(studies.c.name == name))

    def take(self, name: str, owner_id: str, now: float, *, dead: Collection[str]) -> str | None:
        """Takes the study for one owner, out of the queue if it waits there. Returns None on success, otherwise the id
        of the living owner."""
        with self._database.writing() as db:
            holder = lock_study(db, name)["owner_id"]
            if holder is not None and holder != owner_id and holder not in dead:
                return str(holder)
            values = {"owner_id": owner_id, "updated_at": now}
            db.execute(update(studies).where(studies.c.name == name).values(**values))
            db.execute(delete(queue).where(queue.c.study == name))
        return None

    def release(self, name: str, owner_id: str, *, requeue: bool = False) -> None:
        """Releases the study if this owner holds it. If it came from the queue, it waits there again, or leaves it."""
        mine = (studies.c.name == name) & (studies.c.owner_id == owner_id)
        with self._database.writing() as db:
            if not db.execute(update(studies).where(mine).values(owner_id=None)).rowcount:
                return
            if requeue:
                waiting = {"state": QueueState.QUEUED.value, "worker_id": None, "taken_at": None, "attempts": 0}
                db.execute(update(queue).where(queue.c.study == name).values(**waiting))
            else:
                db.execute(delete(queue).where(queue.c.study == name))

    def request_stop(self, name: str) -> None:
        """Requests the process that runs the study to stop."""
        self._set(name, {"stop_requested": 1})

    def clear_stop(self, name: str) -> None:
        """Withdraws a stop request."""
        self._set(name, {"stop_requested": 0})

    def _set(self, name: str, values: Mapping[str, object]) -> None:
        with self._database.writing() as db:
            db.execute(update(studies).where(studies.c.name == name).values(**values))

    def _columns(self, spec: StudySpec) -> dict[str, object]:
        deployers = self._database.json([deployer.model_dump(mode="json") for deployer in spec.deployers])
        return {"spec": self._text(spec), **study_columns(spec), "deployers": deployers}

    def _text(self, spec: StudySpec) -> str:
        return self._database.json(spec.model_dump(mode="json"))


def _refuse_taken(db: Connection, name: str) -> None:
    if db.execute(select(studies.c.name).where(studies.c.name == name)).first():
        raise StoreError(f"a study named {name} is stored already")


def _refuse_queued(db: Connection, name: str) -> None:
    if db.execute(select(queue.c.study).where(queue.c.study == name)).first():
        raise StoreError(f"study {name} is in the queue", remedy=f"remove it first: autotuner stop {name}")
