"""Stored studies as they were read last, and what changed since."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

from autotuner.secrets import clean_models, known_secrets, secrets_in
from autotuner.store import ReadStore, StudyRecord
from autotuner.store.rows import Row, read_study, read_trial
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
from autotuner.tuning.run_liveness import as_they_stand, state_as_it_stands

if TYPE_CHECKING:
    from autotuner.report.result import StudyResult
    from autotuner.tuning.stored_summary import Answer

_MOST_BYTES = 32 << 20
"""Stored text of the trials that are kept; as objects they take about eight times as much memory."""


class Snapshot:
    """A stored study with its trials at one moment. A new one is made when anything has changed."""

    def __init__(
        self,
        row: Row,
        state: str,
        seq: int,
        stored: Mapping[int, Trial],
        trials: Sequence[Trial],
        size: int,
        secrets: frozenset[str],
    ) -> None:
        self.row = row
        self.record: StudyRecord = read_study(row).replaced(state=state)
        self.seq = seq
        """``seq`` of an event; what it and those before it changed is included."""
        self.stored = stored
        """The trials by number, in order; without secrets."""
        self.trials = tuple(trials)
        """The same as they stand: see :func:`autotuner.tuning.run_liveness.as_they_stand`."""
        self.size = size
        """Bytes of their stored text."""
        self.secrets = secrets
        """Secrets that this process knew."""

    @cached_property
    def result(self) -> "StudyResult":
        """The study's result."""
        from autotuner.report.result import result_of_clean
        from autotuner.tuning.ending import environment_fault
        from autotuner.tuning.stored_summary import stored_findings

        summary = self.record.summary or {}
        return result_of_clean(
            self.record.spec,
            self.record.state,
            self.trials,
            why=str(summary.get("why", "")),
            environment_fault=environment_fault(summary),
            beginning=self.record.beginning,
            findings=stored_findings(summary),
        )

    @cached_property
    def answer(self) -> "Answer":
        """The study's answer so far, for one whose end was not stored."""
        from autotuner.report.overview import answer_so_far

        return answer_so_far(self.record, list(self.trials))


class Snapshots:
    """The studies that were read most recently.

    Reading one again reads its row, the number of its last event, and the trials that may have changed since: those
    with an event, and those that had not ended. Whoever ends or changes a trial stores an event in the same
    transaction.
    """

    def __init__(self) -> None:
        self._kept = OrderedDict[str, Snapshot]()
        self._lock = Lock()
        self._reading = dict[str, Lock]()

    def current(self, store: ReadStore, name: str) -> Snapshot | None:
        """A study as it is now, the same object as before if nothing has changed; None if it is not stored.

        Raises:
            UnreadableError: If a stored row cannot be read.
        """
        with self._lock:
            reading = self._reading.setdefault(name, Lock())
        with reading:  # several requests for a study read it once
            row = store.studies.row(name)
            found = None if row is None else self._read(store, name, row)
            self._keep(name, found)
            return found

    def spec(self, store: ReadStore, name: str) -> StudySpec | None:
        """The spec of a study; None if it is not stored. Its trials are not read."""
        known = self._kept.get(name)
        row = store.studies.row(name)
        if known is not None and row == known.row:
            return known.record.spec
        return None if row is None else read_study(row).spec

    def _read(self, store: ReadStore, name: str, row: Row) -> Snapshot:
        known = self._kept.get(name)
        secrets = known_secrets()
        if known is not None and (known.row["created_at"] != row["created_at"] or known.secrets != secrets):
            known = None
        # The end of a run that is killed changes nothing in the store.
        state = state_as_it_stands(store, row["state"], row["owner_id"])
        unchanged = known is not None and row == known.row and state == known.record.state
        seq = store.events.last_seq(name)  # before the trials, so that no later change is missed
        trials = dict[int, Trial]() if known is None else dict(known.stored)
        if known is None:
            texts = store.trials.texts(name)
        else:
            unfinished = [number for number, trial in trials.items() if trial.state.open]
            if seq == known.seq and not unfinished and unchanged:
                return known
            texts = store.trials.texts_since(name, known.seq, unfinished)
        changed = _changed(name, texts, trials, row, secrets)
        ordered = dict(sorted({**trials, **changed}.items()))
        standing = as_they_stand(store, row["owner_id"], list(ordered.values()))
        if known is not None and unchanged and not changed and known.trials == tuple(standing):
            known.seq = seq
            return known
        size = sum(map(len, texts.values())) if known is None else known.size + sum(len(texts[n]) for n in changed)
        return Snapshot(row, state, seq, ordered, standing, size, secrets)

    def _keep(self, name: str, found: Snapshot | None) -> None:
        with self._lock:
            self._kept.pop(name, None)
            if found is not None:
                self._kept[name] = found
            while len(self._kept) > 1 and sum(one.size for one in self._kept.values()) > _MOST_BYTES:
                self._kept.popitem(last=False)


def _changed(
    name: str, texts: Mapping[int, str], known: Mapping[int, Trial], row: Row, secrets: frozenset[str]
) -> dict[int, Trial]:
    """The trials that differ from those that are known, without secrets."""
    read = [read_trial(name, text) for text in texts.values()]
    masked = frozenset(secrets_in(read_study(row).spec)) | secrets if read else secrets
    cleaned = clean_models(read, masked)
    return {trial.number: trial for trial in cleaned if known.get(trial.number) != trial}
