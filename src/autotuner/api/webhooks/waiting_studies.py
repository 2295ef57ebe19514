"""Studies that wait in the queue while no worker can run them."""

import time
from collections.abc import Callable

from autotuner.events.types import StudyWaiting
from autotuner.store import Store
from autotuner.store.lists.no_worker import why_no_worker
from autotuner.store.records import QueueEntry, QueueState
from autotuner.store.webhooks.records import Notification, WebhookEvent
from autotuner.tuning.run_liveness import living_holders

LOOK_S = 5.0
PATIENCE_S = 600.0
"""A machine that is replaced, or started because studies wait, has a worker by then."""


class WaitingStudies:
    """Finds them, and stores an event and a message for webhooks about each once, however many servers look."""

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._looked: float | None = None
        self._since: dict[str, float] = {}
        """Since when no worker has been able to run a study, by this machine's steady clock."""
        self._told = set[str]()
        """Those of them that this or another server has told about."""

    def look(self, store: Store) -> None:
        """Looks unless it did so just now."""
        now = self._steady()
        if self._looked is not None and now - self._looked < LOOK_S:
            return
        self._looked = now
        waiting = _waiting(store)
        self._since = {entry.study: self._since.get(entry.study, now) for entry, _ in waiting}
        self._told &= self._since.keys()
        for entry, why in waiting:
            if entry.study not in self._told and now - self._since[entry.study] >= PATIENCE_S:
                _tell(store, entry, why)
                self._told.add(entry.study)


def _waiting(store: Store) -> list[tuple[QueueEntry, str]]:
    """Studies that no worker can run, and why."""
    entries = store.queue.all()
    if not entries:
        return []
    workers = store.workers.all()
    clock = store.clock()
    found = [(entry, why) for entry in entries if (why := why_no_worker(entry, workers, clock))]
    taken = {entry.study for entry, _ in found if entry.state is QueueState.RUNNING}
    # Those whose run has died; others run although their worker takes no more studies.
    living = living_holders(store) if taken else frozenset()
    runs = {name for name in taken if store.studies.holder(name)[1] in living}
    return [(entry, why) for entry, why in found if entry.study not in runs]


def _tell(store: Store, entry: QueueEntry, why: str) -> None:
    event = StudyWaiting(study=entry.study, at=store.clock(), why=why, labels=entry.labels)
    data = {"study": entry.study, "why": why, "labels": dict(entry.labels), "submitted_by": entry.submitted_by}
    message = Notification(kind=WebhookEvent.STUDY_WAITING, study=entry.study, at=event.at, data=data)
    store.queue.tell_waiting(entry, event.kind, event.payload(), message)
