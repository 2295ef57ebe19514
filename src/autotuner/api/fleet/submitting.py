"""Puts studies into the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from autotuner.api.blocking import blocking
from autotuner.api.fleet.submission_check import refuse_other_study
from autotuner.api.fleet.this_user import this_user
from autotuner.api.study_input import Study, loaded_study
from autotuner.errors import UsageError
from autotuner.secrets import clean, secrets_in
from autotuner.store import Store, StoreError
from autotuner.tuning.run_liveness import OwnerWatch

if TYPE_CHECKING:
    from autotuner.store.records import QueueEntry
    from autotuner.study.spec import StudySpec

MOST_PRIORITY = 1_000


def submit(url: str | None, study: Study, *, priority: int, by: str, source: str) -> QueueEntry:
    """See :meth:`autotuner.api.queued_studies.QueuedStudies.submit`."""
    if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
        remedy = f"use -{MOST_PRIORITY} to {MOST_PRIORITY}"
        raise UsageError.at("priority", "is out of range", value=str(priority), remedy=remedy)
    loaded = loaded_study(study)
    spec = loaded.written or loaded.spec
    refuse_secrets(spec)
    source = loaded.source or source or "python"
    with Store.open(url) as store:
        record = store.studies.get(spec.name)
        if record is None:
            _create(store, spec, source)
        else:
            results = any(trial.state.finished for trial in store.trials.all(spec.name))
            refuse_other_study(record, spec, results=results, source=loaded.source, named=loaded.named)
        holder = store.studies.holder(spec.name)[1]
        dead = blocking(lambda: OwnerWatch(store).settled(() if holder is None else {holder}))
        store.queue.add(spec, source=source, named=loaded.named, priority=priority, by=by or this_user(), dead=dead)
        store.studies.set_draft(spec.name, None)
        entry = store.queue.get(spec.name)
    if entry is None:
        raise StoreError(f"study {spec.name} left the queue at once")
    return entry


def _create(store: Store, spec: StudySpec, source: str) -> None:
    try:
        store.studies.create(spec, source=source, digest=spec.digest, now=time.time())
    except StoreError:
        if store.studies.get(spec.name) is None:  # otherwise another process stored it just before
            raise


def refuse_secrets(spec: StudySpec) -> None:
    """A study in the queue is stored as it will run, and no secret may be stored. Raises ``UsageError``."""
    data = spec.model_dump(mode="json")
    if clean(data, secrets_in(data)) != data:
        remedy = "set it in the environment of the workers, or in their site file"
        raise UsageError.at("study", "holds a secret, which the queue must not store", remedy=remedy)
