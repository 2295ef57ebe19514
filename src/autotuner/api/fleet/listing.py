"""Lists of the queue, the workers and the leases. Imports little, because ``show`` and ``list`` use it."""

from autotuner.store import ReadStore, open_to_read
from autotuner.store.lists.no_worker import why_no_worker
from autotuner.store.records import QueueEntry, WorkerRecord
from autotuner.study.base import FrozenModel


class WorkerOverview(FrozenModel):
    """A worker, whether it is alive, and what it runs."""

    worker: WorkerRecord
    alive: bool
    """Whether its heartbeat is not older than its lease."""
    silent_s: float
    """Seconds since its last heartbeat, by the database's clock."""
    studies: tuple[str, ...]


class LeaseOverview(FrozenModel):
    """A GPU or port that only one trial may use, and who holds it."""

    resource: str
    """Such as ``port:node-1:24000``."""
    study: str
    trial: int
    host: str
    """Host of the process that holds it; empty if that process is not known."""
    pid: int | None


def queue(url: str | None) -> list[QueueEntry]:
    """See :meth:`autotuner.api.queued_studies.QueuedStudies.queue`."""
    with open_to_read(url) as store:
        workers = store.workers.all()
        now = store.clock()
        return [
            entry if entry.position is None else entry.replaced(no_worker=why_no_worker(entry, workers, now))
            for entry in store.queue.all()
        ]


def workers(url: str | None) -> list[WorkerOverview]:
    """See :meth:`autotuner.api.queued_studies.QueuedStudies.workers`."""
    with open_to_read(url) as store:
        return _overviews(store)


def leases(url: str | None) -> list[LeaseOverview]:
    """See :meth:`autotuner.api.queued_studies.QueuedStudies.leases`."""
    with open_to_read(url) as store:
        owners = {found.owner.id: found.owner for found in store.owners.all()}
        return [
            LeaseOverview(
                resource=lease.resource,
                study=lease.study,
                trial=lease.trial,
                host=owner.host if (owner := owners.get(lease.owner_id)) else "",
                pid=owner.pid if owner else None,
            )
            for lease in store.leases.all()
        ]


def _overviews(store: ReadStore) -> list[WorkerOverview]:
    now = store.clock()
    studies: dict[str, list[str]] = {}
    for entry in store.queue.all():
        studies.setdefault(entry.worker_id or "", []).append(entry.study)
    return [
        WorkerOverview(
            worker=worker,
            alive=worker.is_alive(now),
            silent_s=max(0.0, now - worker.heartbeat_at),
            studies=tuple(studies.get(worker.id, ())),
        )
        for worker in store.workers.all()
    ]
