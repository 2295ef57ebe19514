"""Trials of each study."""

import json
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, func, insert, select, update

from autotuner.store.database import Database, clock, lock_study
from autotuner.store.events import EventLog
from autotuner.store.lists.columns import trial_columns
from autotuner.store.queries import TrialQueries
from autotuner.store.rows import StoreError, storable
from autotuner.store.tables import studies, trials
from autotuner.study.trial import Trial, TrialState

_ATTEMPTS = 5
"""Attempts to store a result while connections break."""
_OPEN = (TrialState.QUEUED.value, TrialState.RUNNING.value)


class TrialTable(TrialQueries):
    """Trials. Each call is one transaction; a trial that ends and its ``trial_finished`` event are stored in the same
    one, so that no reader sees one without the other."""

    def __init__(self, database: Database, events: EventLog) -> None:
        super().__init__(database)
        self._database = database
        self._events = events

    def add(self, trial: Trial, *, owner_id: str) -> Trial:
        """Stores a new trial under the study's next number (0 first) and returns it with that number."""
        with self._database.writing() as db:
            lock_study(db, trial.study)
            query = select(func.max(trials.c.number)).where(trials.c.study == trial.study)
            last = db.execute(query).scalar()
            numbered = trial.model_copy(update={"number": 0 if last is None else int(last) + 1})
            db.execute(insert(trials).values(owner_id=owner_id, **self._row(numbered)))
        return numbered

    def update(self, trial: Trial) -> None:
        """Stores a running trial's progress. Raises :class:`StoreError` if it has already ended."""
        with self._database.writing() as db:
            self._change(db, trial)

    def finish(self, trial: Trial, event_data: Mapping[str, object]) -> None:
        """Stores a trial's end together with its ``trial_finished`` event; both or neither.

        A result can have taken long to measure, so a connection that breaks meanwhile does not lose it.

        Raises:
            StoreError: If it has already ended, for example because its owner seemed dead.
        """
        attempts = _ATTEMPTS if self._database.patience_s else 1
        while True:
            attempts -= 1
            try:
                self._finish(trial, event_data)
                break
            except StoreError:
                if not attempts:
                    raise
                # The transaction may have been committed before its connection broke.
                stored = self.get(trial.study, trial.number)
                if stored is not None and (stored.state, stored.finished_at) == (trial.state, trial.finished_at):
                    break

    def _finish(self, trial: Trial, event_data: Mapping[str, object]) -> None:
        with self._database.writing() as db:
            lock_study(db, trial.study)
            self._change(db, trial)
            self._finished(db, trial, event_data, trial.finished_at or 0.0)
            db.execute(update(studies).where(studies.c.name == trial.study).values(updated_at=clock(db)))

    def amend(self, study: str, changes: Sequence[tuple[Trial, Mapping[str, object]]], now: float) -> None:
        """Replaces ended trials whose meaning has changed (a verdict under other SLOs, a result that no longer counts),
        each with a new ``trial_finished`` event; all or none."""
        with self._database.writing() as db:
            lock_study(db, study)
            for trial, event_data in changes:
                where = (trials.c.study == study) & (trials.c.number == trial.number)
                changed = update(trials).where(where & trials.c.state.not_in(_OPEN))
                db.execute(changed.values(**self._row(trial)))
                self._finished(db, trial, event_data, now)

    def void_owned_by(self, dead: Collection[str], study: str, now: float) -> list[Trial]:
        """Ends the unfinished trials of dead owners as ``void`` and returns them; all or none."""
        ended = []
        open_ones = trials.c.state.in_(_OPEN) & trials.c.owner_id.in_(list(dead))
        with self._database.writing() as db:
            lock_study(db, study)
            query = select(trials.c.trial).where(open_ones & (trials.c.study == study)).order_by(trials.c.number)
            for text in list(db.execute(query).scalars()):
                found = Trial.model_validate_json(text)
                ended.append(found.model_copy(update={"state": TrialState.VOID, "finished_at": now}))
                self._change(db, ended[-1])
                data: dict[str, object] = {"state": TrialState.VOID.value, "role": found.role.value, "windows": []}
                self._finished(db, found, data, now)
        return ended

    def rename_study_in(self, db: Connection, study: str, new: str) -> None:
        """Moves a study's trials to another name, inside a transaction."""
        for text in db.execute(select(trials.c.trial).where(trials.c.study == study)).scalars().all():
            trial = Trial.model_validate_json(text)
            where = (trials.c.study == study) & (trials.c.number == trial.number)
            changed = self._row(trial.model_copy(update={"study": new}))
            db.execute(update(trials).where(where).values(**changed))

    def _change(self, db: Connection, trial: Trial) -> None:
        where = (trials.c.study == trial.study) & (trials.c.number == trial.number)
        is_open = trials.c.state.in_(_OPEN)
        if not db.execute(update(trials).where(where & is_open).values(**self._row(trial))).rowcount:
            raise StoreError(f"trial {trial.number} of {trial.study} has already ended")

    def _finished(self, db: Connection, trial: Trial, data: Mapping[str, object], at: float) -> None:
        self._events.append_in(db, trial.study, "trial_finished", data, trial=trial.number, at=at)

    def _row(self, trial: Trial) -> dict[str, object]:
        data = self._database.clean(trial.model_dump(mode="json"))
        # A resumed study launches stored configurations. Secret values are refused in them, so masking could only hit
        # an ordinary value that equals some password by chance, and the engine would get ``***``.
        data["configuration"] = storable(trial.configuration.model_dump(mode="json"))
        text = json.dumps(data, ensure_ascii=False)
        known = {"study": trial.study, "number": trial.number, "state": trial.state.value}
        return {**known, **trial_columns(trial), "trial": text}
