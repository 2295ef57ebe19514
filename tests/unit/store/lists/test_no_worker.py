"""Why no worker can run a queued study."""

from collections.abc import Mapping

import pytest

from autotuner.store.lists.no_worker import why_no_worker
from autotuner.store.records import QueueEntry, QueueState, WorkerRecord

NOW = 100.0
H100 = {"gpu": "h100", "zone": "eu"}
A = WorkerRecord(id="a", host="node-a", pid=1, labels=H100, at_most=1, heartbeat_at=NOW, lease_s=20)
B = A.replaced(id="b", host="node-b", labels={})


def entry(labels: Mapping[str, str] | None = None, **refusals: str) -> QueueEntry:
    return QueueEntry(
        study="s",
        state=QueueState.QUEUED,
        position=1,
        labels=labels or {},
        submitted_at=1.0,
        submitted_by="me",
        refusals=refusals,
    )


@pytest.mark.parametrize(
    ("waiting", "workers", "why"),
    [
        (entry(), [A, B], ""),
        (entry({"gpu": "h100"}), [A, B], ""),
        (entry(a="no model"), [A, B], ""),
        (entry(), [], "no worker is running"),
        (entry(), [A.replaced(state="draining"), B.replaced(state="ended")], "no worker is running"),
        (entry(), [A.replaced(heartbeat_at=NOW - 21)], "no worker is running"),
        (entry({"gpu": "a100", "disk": "nvme"}), [A, B], "no running worker has disk=nvme,gpu=a100"),
        (entry({"gpu": "h100"}, a="no model"), [A, B], "no running worker can run it: node-a: no model"),
        (entry(a="4 CPUs", b="8 CPUs"), [A, B], "no running worker can run it: node-a: 4 CPUs; node-b: 8 CPUs"),
    ],
)
def test_why_no_worker_can_run_a_study(waiting: QueueEntry, workers: list[WorkerRecord], why: str) -> None:
    assert why_no_worker(waiting, workers, NOW) == why
