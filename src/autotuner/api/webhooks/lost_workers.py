"""Workers that ended without saying so."""

import time
from collections.abc import Callable

from autotuner.store import Store
from autotuner.store.records import WorkerRecord
from autotuner.store.webhooks.records import Notification, WebhookEvent

LOOK_S = 2.0
_RECENT_S = 3_600.0
"""Workers that have been silent for longer were lost before anybody looked."""


class LostWorkers:
    """Finds them, and tells webhooks about each once, however many servers look.

    A heartbeat that looks old counts only after it has not changed for half a lease by this machine's steady clock: a
    machine that was suspended would otherwise lose its own workers.
    """

    def __init__(self, steady: Callable[[], float] = time.monotonic) -> None:
        self._steady = steady
        self._looked: float | None = None
        self._seen: dict[str, tuple[float, float]] = {}
        """By worker: its heartbeat, and since when it has had that one."""

    def look(self, store: Store) -> None:
        """Looks unless it did so just now."""
        now = self._steady()
        if self._looked is not None and now - self._looked < LOOK_S:
            return
        self._looked = now
        clock = store.clock()
        silent = [worker for worker in store.workers.all() if _is_silent(worker, clock)]
        self._seen = {worker.id: self._since(worker, now) for worker in silent}
        for worker in silent:
            if now - self._seen[worker.id][1] >= worker.lease_s / 2:
                studies = [entry.study for entry in store.queue.all() if entry.worker_id == worker.id]
                store.workers.mark_lost(worker, _notification(worker, studies, clock))

    def _since(self, worker: WorkerRecord, now: float) -> tuple[float, float]:
        known = self._seen.get(worker.id)
        return known if known is not None and known[0] == worker.heartbeat_at else (worker.heartbeat_at, now)


def _is_silent(worker: WorkerRecord, clock: float) -> bool:
    silent_s = clock - worker.heartbeat_at
    return worker.state in {"running", "draining"} and worker.lease_s < silent_s < _RECENT_S


def _notification(worker: WorkerRecord, studies: list[str], clock: float) -> Notification:
    data = {
        "worker": worker.id,
        "host": worker.host,
        "silent_s": round(clock - worker.heartbeat_at, 1),
        "studies": studies,
    }
    return Notification(kind=WebhookEvent.WORKER_LOST, at=clock, data=data)
