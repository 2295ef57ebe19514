"""Sample studies in a store, as if they had been run."""

import os
import time
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from autotuner.store import Store
from autotuner.store.files import make_private
from autotuner.store.paths import default_url
from autotuner.study.owner import Owner
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.samples import Sample, sample_study
from autotuner.tuning.run_liveness import this_owner
from support.web.explained_samples import findings, predicted, with_files


def store_sample(kind: str, *, owner: Owner | None = None, recorded: Collection[int] | None = None) -> Sample:
    """Stores the sample study of a kind as its run would have.

    Args:
        kind: The kind of sample.
        owner: The process that still runs it; None if it has ended.
        recorded: Numbers of trials with files in their folders; the study then also has predictions and importance.
    """
    sample = sample_study(kind)
    if recorded is None and owner is None and _copied(kind):
        return sample
    if recorded is None:
        store_trials(sample, sample.trials, owner=owner)
    else:
        trials = [_explained(trial, recorded) for trial in sample.trials]
        found = findings(sample.spec).model_dump(mode="json")
        store_trials(sample, trials, owner=owner, summary={"findings": found})
    return sample


def _copied(kind: str) -> bool:
    """Copies a database with the sample, unless the store exists; a server that runs may create it at any time."""
    file = default_url()
    if not isinstance(file, Path) or file.exists():
        return False
    make_private(file.parent)
    with NamedTemporaryFile(dir=file.parent) as copy:
        copy.write(_stored(kind))
        copy.flush()
        try:
            os.link(copy.name, file)
        except FileExistsError:
            return False
    return True


@cache
def _stored(kind: str) -> bytes:
    """A database with the sample of a kind, for all tests: storing it takes seventy transactions."""
    sample = sample_study(kind)
    with TemporaryDirectory() as folder:
        file = Path(folder) / "autotuner.db"
        store_trials(sample, sample.trials, url=f"sqlite:///{file}")
        return file.read_bytes()


def store_trials(
    sample: Sample,
    trials: Sequence[Trial],
    *,
    owner: Owner | None = None,
    summary: Mapping[str, object] | None = None,
    url: str | None = None,
) -> None:
    """Stores a sample with these trials and a summary; with an owner, who still runs it."""
    spec = sample.spec
    owned_by = owner or this_owner()
    with Store.open(url) as store:
        store.studies.create(spec, source="study.yaml", digest=spec.digest, now=1.0)
        store.events.append(spec.name, "study_started", {"trials": 14, "parameters": ["a"], "proof": 6}, at=1.0)
        for trial in trials:
            store.trials.add(trial.model_copy(update={"state": TrialState.RUNNING}), owner_id=owned_by.id)
            data = {"role": trial.role.value, "values": dict(trial.configuration.values), "repeat_of": None}
            store.events.append(spec.name, "trial_proposed", data, trial=trial.number, at=2.0)
            if trial.state.finished:
                store.trials.finish(trial, {"state": trial.state.value, "windows": []})
        store.studies.set_state(spec.name, sample.state, {"why": sample.why, **(summary or {})}, 3.0)
        if sample.state != "running":
            store.events.append(spec.name, "study_finished", {"state": sample.state, "why": sample.why}, at=3.0)
        if owner is not None:
            store.owners.register(owner, time.time())
            assert store.studies.take(spec.name, owner.id, time.time(), dead=()) is None


def _explained(trial: Trial, recorded: Collection[int]) -> Trial:
    found = with_files(trial) if trial.number in recorded else trial
    return predicted(found)
