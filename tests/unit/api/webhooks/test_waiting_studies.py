"""Studies that no worker can run, as servers of one store see them."""

from collections.abc import Sequence

import pytest

import autotuner
from autotuner.api.webhooks.waiting_studies import LOOK_S, PATIENCE_S, WaitingStudies
from autotuner.events.types import StudyStarted, StudyWaiting
from autotuner.store import Store
from autotuner.store.records import WorkerRecord
from autotuner.testing.samples import sample_spec
from autotuner.tuning.run_liveness import this_owner

WORKER = WorkerRecord(id="w", host="node-1", pid=1, at_most=1, lease_s=1e6)


class Servers:
    """Two servers with one clock."""

    def __init__(self) -> None:
        self._now = 0.0
        self._servers = [WaitingStudies(lambda: self._now) for _ in range(2)]

    def look(self, *, seconds: float) -> None:
        """Lets both look for a while."""
        until = self._now + seconds
        while self._now < until:
            self._now += LOOK_S
            with Store.open() as store:
                for server in self._servers:
                    server.look(store)


@pytest.fixture
def servers() -> Servers:
    return Servers()


def submit(name: str, **labels: str) -> None:
    spec = sample_spec(name=name).replaced(worker=labels)
    with Store.open() as store:
        if store.studies.get(name) is None:
            store.studies.create(spec, source="s.yaml", digest="d", now=1.0)
        store.queue.add(spec, source="s.yaml", named=True, priority=0, by="me", dead=())


def told(name: str) -> Sequence[str]:
    """Why the study waits, by its events and by the messages about it, which are the same."""
    events = [event.why for event in autotuner.open().events(name) if isinstance(event, StudyWaiting)]
    with Store.open() as store:
        query = "SELECT data FROM deliveries WHERE kind = 'study.waiting' AND data LIKE :study"
        assert len(store.source.rows(query, study=f'%"study": "{name}"%')) == len(events)
    return events


def test_a_study_that_no_worker_can_run_is_reported_once(servers: Servers, webhooks: autotuner.Webhooks) -> None:
    webhooks.add("ops", url_env="OPS_HOOK")
    with Store.open() as store:
        store.workers.register(WORKER)
    submit("runnable")
    submit("s", gpu="h100")
    servers.look(seconds=PATIENCE_S)
    assert told("s") == []
    servers.look(seconds=2 * LOOK_S)
    assert told("s") == ["no running worker has gpu=h100"]
    servers.look(seconds=3 * PATIENCE_S)
    Servers().look(seconds=2 * PATIENCE_S)  # servers that were started again
    assert len(told("s")) == 1
    assert told("runnable") == []


def test_a_study_that_waits_again_after_a_run_is_reported_again(servers: Servers, webhooks: autotuner.Webhooks) -> None:
    webhooks.add("ops", url_env="OPS_HOOK")
    submit("s")
    servers.look(seconds=2 * PATIENCE_S)
    owner = this_owner()
    with Store.open() as store:
        store.workers.register(WORKER)
        assert store.queue.take(worker="w", owner=owner, lease_s=1e6, labels={}, dead=()) == "s"
        servers.look(seconds=2 * PATIENCE_S)
        store.queue.refuse("s", "machine has changed")
        store.studies.release("s", owner.id, requeue=True)
        servers.look(seconds=2 * PATIENCE_S)
        assert told("s") == ["no worker is running"], "it has not run since"
        owner = this_owner()
        store.workers.register(WORKER.replaced(id="other"))
        assert store.queue.take(worker="other", owner=owner, lease_s=1e6, labels={}, dead=()) == "s"
        started = StudyStarted(study="s")
        store.events.append("s", started.kind, started.payload(), at=store.clock())
        store.workers.heartbeat("other", "draining")
        servers.look(seconds=2 * PATIENCE_S)
        assert len(told("s")) == 1, "it runs"
        store.owners.end(owner.id, 1.0)  # its machine fails
        servers.look(seconds=2 * PATIENCE_S)
    assert told("s")[1:] == ["no running worker can run it: node-1: machine has changed"]
