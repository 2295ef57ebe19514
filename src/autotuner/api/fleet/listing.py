"""Lists of the queue and of the workers. Imports little, because ``show`` and ``list`` use it."""

from autotuner.store import ReadStore, open_to_read
from autotuner.store.records import QueueEntry, WorkerRecord
from autotuner.study.base import FrozenModel


class WorkerOverview(FrozenModel):
    """A worker, whether it is alive, and what it runs."""

    worker: WorkerRecord
    alive: bool
    """Whether its heartbeat is not older than its lease."""
    studies: tuple[str, ...]


def queue(url: str | None) -> list[QueueEntry]:
    """See :meth:`autotuner.api.queued_studies.QueuedStudies.queue`."""
    with open_to_read(url) as store:
        return store.queue.all()


def workers(url: str | None) -> list[WorkerOverview]:
    """See :meth:`autotuner.api.queued_studies.QueuedStudies.workers`."""
    with open_to_read(url) as store:
        return _overviews(store)


def _overviews(store: ReadStore) -> list[WorkerOverview]:
    now = store.clock()
    studies: dict[str, list[str]] = {}
    for entry in store.queue.all():
        studies.setdefault(entry.worker_id or "", []).append(entry.study)
    return [
        WorkerOverview(
            worker=worker,
            alive=worker.state != "ended" and now - worker.heartbeat_at <= worker.lease_s,
            studies=tuple(studies.get(worker.id, ())),
        )
        for worker in store.workers.all()
    ]
