"""The queue of studies: order, labels, positions, leases, and writes of an owner that no longer holds its study."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest

from autotuner.errors import StudyBusyError
from autotuner.store import Store, StoreError
from autotuner.store.records import QueueState, WorkerRecord
from autotuner.store.webhooks.records import Notification, WebhookEvent
from autotuner.study.search.beginning import Beginning
from autotuner.study.search.evidence import NO_EVIDENCE
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState
from autotuner.tuning.run_liveness import this_owner

Enqueue = Callable[..., StudySpec]


@pytest.fixture
def enqueue(store: Store, add_study: Callable[..., StudySpec]) -> Enqueue:
    """Stores a study and puts it into the queue."""

    def add(name: str, *, priority: int = 0, **changes: object) -> StudySpec:
        spec = add_study(name, **changes)
        assert store.queue.add(spec, source="s.yaml", named=True, priority=priority, by="me", dead=())
        return spec

    return add


def take(
    store: Store, owner: str, *, dead: tuple[str, ...] = (), labels: Mapping[str, str] | None = None
) -> str | None:
    found = this_owner().model_copy(update={"id": owner})
    return store.queue.take(worker=f"w-{owner}", owner=found, lease_s=20.0, labels=labels or {}, dead=dead)


def order(store: Store) -> list[str]:
    return [entry.study for entry in store.queue.all() if entry.position is not None]


def holder(store: Store, study: str) -> str | None:
    return store.studies.holder(study)[1]


def test_higher_priorities_first_then_in_the_order_of_submission(store: Store, enqueue: Enqueue) -> None:
    for name, priority in (("z", 0), ("low", -1), ("a", 0), ("high", 5)):
        enqueue(name, priority=priority)
    assert order(store) == ["high", "z", "a", "low"]
    assert [entry.position for entry in store.queue.all()] == [1, 2, 3, 4]
    assert [take(store, str(n)) for n in range(5)] == ["high", "z", "a", "low", None]
    assert order(store) == []
    entry = store.queue.get("high")
    assert entry is not None
    assert (entry.state, entry.worker_id, entry.attempts) == (QueueState.RUNNING, "w-0", 1)


def test_a_worker_takes_only_studies_whose_labels_it_has(store: Store, enqueue: Enqueue) -> None:
    enqueue("first", worker={"gpu": "h100", "zone": "eu"})
    enqueue("second", worker={"gpu": "h100"})
    enqueue("third")
    assert take(store, "1", labels={"gpu": "a100"}) == "third"
    assert take(store, "2", labels={"gpu": "h100"}) == "second"
    assert take(store, "3", labels={"gpu": "h100"}) is None
    assert take(store, "4", labels={"gpu": "h100", "zone": "eu", "disk": "nvme"}) == "first"


def test_each_study_is_taken_once_by_workers_that_ask_at_the_same_time(store: Store, enqueue: Enqueue) -> None:
    names = {f"s{n}" for n in range(6)}
    for name in names:
        enqueue(name)
    together = threading.Barrier(4)

    def work(number: int) -> list[str]:
        together.wait()
        return [found for n in range(6) if (found := take(store, f"{number}-{n}")) is not None]

    with ThreadPoolExecutor(4) as workers:
        taken = [name for found in workers.map(work, range(4)) for name in found]
    assert len(taken) == len(set(taken))
    # Two that ask for the same one at once may both go away without any; nobody may get one twice.
    while (left := take(store, f"rest-{len(taken)}")) is not None:
        taken.append(left)
    assert sorted(taken) == sorted(names)


def test_the_content_is_what_was_submitted(store: Store, add_study: Callable[..., StudySpec]) -> None:
    spec = add_study("s", worker={"gpu": "h100"})
    store.queue.add(spec, source="there.yaml", named=False, priority=0, by="me", dead=())
    job = store.queue.job("s")
    assert (job.spec, job.source, job.named) == (spec, "there.yaml", False)
    with pytest.raises(StoreError, match="not in the queue"):
        store.queue.job("other")


def test_submitting_again_keeps_the_place_and_changes_the_content(store: Store, enqueue: Enqueue) -> None:
    spec = enqueue("s")
    enqueue("later")
    changed = spec.model_copy(update={"min_success_rate": 0.5})
    assert not store.queue.add(changed, source="s.yaml", named=True, priority=0, by="you", dead=())
    assert order(store) == ["s", "later"]
    assert store.queue.job("s").spec.min_success_rate == 0.5


def test_a_running_study_is_not_queued(store: Store, enqueue: Enqueue) -> None:
    spec = enqueue("s")
    assert take(store, "1") == "s"
    with pytest.raises(StudyBusyError):
        store.queue.add(spec, source="s.yaml", named=True, priority=0, by="me", dead=())
    assert not store.queue.remove("s", dead=())
    store.owners.end("1", 5.0)
    assert not store.queue.add(spec, source="s.yaml", named=True, priority=0, by="me", dead=())
    assert order(store) == ["s"]


def test_a_run_in_a_terminal_takes_the_study_out_of_the_queue(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    assert store.studies.take("s", "terminal", 1.0, dead=()) is None
    assert store.queue.all() == []
    assert take(store, "1") is None


def test_a_taken_study_cannot_be_run_in_a_terminal(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    assert take(store, "1") == "s"
    assert store.studies.take("s", "terminal", 1.0, dead=()) == "1"
    assert [entry.study for entry in store.queue.all()] == ["s"]


def test_a_removed_study_is_not_taken(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    assert store.queue.remove("s", dead=())
    assert not store.queue.remove("s", dead=())
    assert take(store, "1") is None
    assert holder(store, "s") is None


@pytest.mark.parametrize("known_by", ["the others", "the store"])
def test_a_study_of_a_dead_owner_is_taken_over(store: Store, enqueue: Enqueue, known_by: str) -> None:
    enqueue("s")
    assert take(store, "1") == "s"
    assert take(store, "2") is None
    if known_by == "the store":
        store.owners.end("1", 5.0)
    assert take(store, "2", dead=("1",) if known_by == "the others" else ()) == "s"
    assert holder(store, "s") == "2"
    assert not store.owners.heartbeat("1"), "the former owner learns that it has ended"
    assert store.owners.heartbeat("2")


def test_a_study_handed_back_waits_at_its_place(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    enqueue("later")
    assert take(store, "1") == "s"
    store.studies.release("s", "1", requeue=True)
    assert order(store) == ["s", "later"]
    entry = store.queue.get("s")
    assert entry is not None
    assert (entry.state, entry.worker_id, entry.attempts) == (QueueState.QUEUED, None, 0)
    store.studies.release("s", "1", requeue=True)
    assert take(store, "2") == "s"
    store.studies.release("s", "1")
    assert holder(store, "s") == "2", "only its holder releases it"
    store.studies.release("s", "2")
    assert order(store) == ["later"]


def test_attempts_count_runs_that_finished_no_trial(
    store: Store, enqueue: Enqueue, new_trial: Callable[..., Trial]
) -> None:
    enqueue("s")
    for n in (1, 2, 3):
        assert take(store, str(n), dead=(str(n - 1),)) == "s"
        assert store.queue.job("s").attempts == n
    trial = store.trials.add(new_trial(), owner_id="3")
    store.trials.finish(trial.model_copy(update={"state": TrialState.DONE}), {})
    assert take(store, "4", dead=("3",)) == "s"
    assert store.queue.job("s").attempts == 1


def test_a_stop_that_a_dead_owner_did_not_see_is_left_to_the_next_one(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    assert take(store, "1") == "s"
    store.studies.set_state("s", "running", None, 2.0)
    store.studies.request_stop("s")
    assert take(store, "2", dead=("1",)) == "s"
    assert store.studies.stop_requested("s")


def test_a_queued_study_is_not_renamed_and_leaves_the_queue_when_deleted(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    with pytest.raises(StoreError, match="in the queue"):
        store.studies.rename("s", "other")
    store.studies.delete("s")
    assert store.queue.all() == []


def test_refusals_of_workers_that_are_gone_are_forgotten(store: Store, enqueue: Enqueue) -> None:
    """Each start of a worker is another worker."""
    enqueue("s")
    for number, state in enumerate(("ended", "running", "running", "running")):
        worker = WorkerRecord(id=f"w-{number}", host="h", pid=1, at_most=1, lease_s=0.0 if number == 1 else 60.0)
        store.workers.register(worker)
        assert take(store, str(number)) == "s"
        store.queue.refuse("s", "no model")
        store.studies.release("s", str(number), requeue=True)
        store.workers.heartbeat(worker.id, state)
    assert take(store, "3") is None
    entry = store.queue.get("s")
    assert entry is not None
    assert list(entry.refusals) == ["w-2", "w-3"]


def test_a_study_that_no_worker_can_run_is_reported_once(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    entry = store.queue.get("s")
    assert entry is not None
    message = Notification(kind=WebhookEvent.STUDY_WAITING, study="s", at=store.clock(), data={"study": "s"})
    together = threading.Barrier(4)

    def tell(_: int) -> bool:
        together.wait()
        return store.queue.tell_waiting(entry, "study_waiting", {}, message)

    with ThreadPoolExecutor(4) as servers:
        assert sorted(servers.map(tell, range(4))) == [False, False, False, True]
    assert [event.kind for event in store.events.read("s")] == ["study_waiting"]
    assert take(store, "1") == "s"
    store.events.append("s", "study_started", {}, at=store.clock())
    assert not store.queue.tell_waiting(entry, "study_waiting", {}, message), "a worker has taken it"
    store.studies.release("s", "1", requeue=True)
    assert store.queue.tell_waiting(entry, "study_waiting", {}, message)


def _writes(store: Store, trial: Trial, spec: StudySpec) -> dict[str, Callable[[], Any]]:
    done = trial.model_copy(update={"state": TrialState.DONE})
    lease = {"owner_id": "1", "study": "s", "trial": 0, "now": 1.0}
    return {
        "launch": store.confirm_held,
        "add a trial": lambda: store.trials.add(trial, owner_id="1"),
        "update a trial": lambda: store.trials.update(trial),
        "finish a trial": lambda: store.trials.finish(done, {}),
        "amend trials": lambda: store.trials.amend("s", [(done, {})], 2.0),
        "void trials": lambda: store.trials.void_owned_by({"1"}, "s", 2.0),
        "append an event": lambda: store.events.append("s", "notice", {}, at=2.0),
        "take a lease": lambda: store.leases.take(["gpu:0"], **lease),
        "set the state": lambda: store.studies.set_state("s", "done", None, 2.0),
        "store the time": lambda: store.studies.set_search_time("s", 2.0),
        "store the world": lambda: store.studies.set_world("s", {}),
        "begin": lambda: store.studies.begin("s", Beginning(), NO_EVIDENCE),
        "change the spec": lambda: store.studies.update_spec("s", spec, digest="d", source="s"),
    }


def test_an_owner_writes_nothing_once_another_one_holds_its_study(
    store: Store, enqueue: Enqueue, new_trial: Callable[..., Trial]
) -> None:
    """As a process does that was paused, and wakes up after its study was taken over."""
    spec = enqueue("s")
    assert take(store, "1") == "s"
    paused = store.held("s", "1")
    trial = paused.trials.add(new_trial(), owner_id="1")
    assert take(store, "2", dead=("1",)) == "s"
    before = (store.studies.get("s"), store.trials.all("s"), store.events.read("s"), store.leases.all())
    for what, write in _writes(paused, trial, spec).items():
        with pytest.raises(StudyBusyError, match="another process took over"):
            write()
        after = (store.studies.get("s"), store.trials.all("s"), store.events.read("s"), store.leases.all())
        assert after == before, what
    assert store.held("s", "2").trials.add(new_trial(), owner_id="2").number == 1


def test_the_writes_of_the_holder_are_not_refused(
    store: Store, enqueue: Enqueue, new_trial: Callable[..., Trial]
) -> None:
    spec = enqueue("s")
    assert take(store, "1") == "s"
    held = store.held("s", "1")
    trial = held.trials.add(new_trial(), owner_id="1")
    for write in _writes(held, trial, spec).values():
        write()


def test_a_study_is_not_taken_in_the_middle_of_a_write_of_its_owner(
    store: Store, enqueue: Enqueue, new_trial: Callable[..., Trial]
) -> None:
    """What the owner writes is either stored before the study is taken over, or refused."""
    enqueue("s")
    assert take(store, "1") == "s"
    held = store.held("s", "1")
    with ThreadPoolExecutor(1) as other:
        with held.database.writing():
            taken = other.submit(take, store, "2", dead=("1",))
            wait([taken], timeout=0.3)  # SQLite makes the other one wait; PostgreSQL lets it go on without this study
            assert holder(store, "s") == "1"
            assert not taken.done() or taken.result() is None
        assert taken.result(60) in {None, "s"}


def test_workers_are_listed_with_their_labels(store: Store) -> None:
    for name in ("a", "b"):
        store.workers.register(
            WorkerRecord(id=name, host="h", pid=1, labels={"zone": "eu", "gpu": "h100"}, at_most=2, lease_s=20.0)
        )
    store.workers.heartbeat("a", "draining")
    found = {worker.id: worker for worker in store.workers.all()}
    assert {name: worker.state for name, worker in found.items()} == {"a": "draining", "b": "running"}
    assert found["a"].labels == {"gpu": "h100", "zone": "eu"}
    assert found["a"].heartbeat_at >= found["a"].started_at > 0


def test_an_owner_is_adopted_by_the_process_that_runs_its_study(store: Store, enqueue: Enqueue) -> None:
    enqueue("s")
    assert take(store, "1") == "s"
    mine = this_owner().model_copy(update={"id": "1", "pid": 77})
    assert store.owners.heartbeat("1", pid=this_owner().pid)
    assert store.owners.adopt(mine)
    assert not store.owners.heartbeat("1", pid=this_owner().pid), "from now on it beats by itself"
    assert store.owners.heartbeat("1")
    (record,) = store.owners.all()
    assert (record.owner.pid, record.lease_s) == (77, 20.0)
    store.owners.end("1", 5.0)
    assert not store.owners.adopt(mine)
