"""Studies in the queue that no worker can run."""

from collections.abc import Sequence

from autotuner.store.records import QueueEntry, WorkerRecord
from autotuner.store.rows import labels_text


def why_no_worker(entry: QueueEntry, workers: Sequence[WorkerRecord], now: float) -> str:
    """Why no worker that is running can run a study, in one line; empty if one can, even if it is busy.

    Args:
        entry: The study in the queue.
        workers: All workers.
        now: Seconds since the epoch by the database's clock.
    """
    running = [worker for worker in workers if worker.state == "running" and worker.is_alive(now)]
    if not running:
        return "no worker is running"
    fitting = [worker for worker in running if entry.labels.items() <= worker.labels.items()]
    if not fitting:
        return f"no running worker has {labels_text(entry.labels)}"
    if any(worker.id not in entry.refusals for worker in fitting):
        return ""
    why = [f"{worker.host}: {entry.refusals[worker.id]}" for worker in fitting]
    return f"no running worker can run it: {'; '.join(dict.fromkeys(why))}"
