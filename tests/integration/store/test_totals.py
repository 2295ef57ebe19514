"""The store in numbers: SQLite and PostgreSQL."""

from collections.abc import Callable

from autotuner.store import Store
from autotuner.store.lists.totals import StoreTotals, TrialTotal, read_totals
from autotuner.store.process_identity import ProcessIdentity
from autotuner.store.records import WorkerRecord
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.owner import Owner
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState
from autotuner.tuning.run_liveness import living_holders, this_owner

Add = Callable[..., StudySpec]
NewTrial = Callable[..., Trial]


def totals(store: Store) -> StoreTotals:
    return read_totals(store.source, living=living_holders(store))


def owner(identity: str) -> Owner:
    return Owner(id=identity, host="h", pid=1, started=1.0)


def test_an_empty_store(store: Store) -> None:
    found = totals(store)
    assert (found.studies, found.trials, found.queued, found.oldest_queued_s) == ({}, (), 0, 0.0)
    assert (found.workers, found.leases, found.messages) == ((), {}, {})


def test_studies_by_standing(store: Store, add_study: Add) -> None:
    for name, state in (
        ("a", "done"),
        ("b", "done"),
        ("c", "running"),
        ("d", "running"),
        ("e", "running"),
        ("f", "new"),
        ("i", "running"),
        ("j", "running"),
    ):
        add_study(name)
        store.studies.set_state(name, state, None, 1.0)
    store.owners.register(owner("alive"))
    store.owners.register(owner("silent"), now=store.clock() - 121)
    store.owners.register(owner("ended"))
    store.owners.end("ended", 2.0)
    # Of processes of this machine, the kernel knows at once which have ended, whatever their heartbeats are.
    here = ProcessIdentity.of_this_process()
    killed = here._replace(ticks=here.ticks - 1)
    store.owners.register(this_owner().replaced(id="killed", process=killed.text))
    store.owners.register(this_owner().replaced(id="paused"), now=store.clock() - 500)
    for name, holder in (("c", "alive"), ("d", "silent"), ("e", "ended"), ("i", "killed"), ("j", "paused")):
        assert store.studies.take(name, holder, 1.0, dead=()) is None
    add_study("g")
    store.queue.add(add_study("h"), source="x", named=True, priority=0, by="me", dead=())
    assert totals(store).studies == {"done": 2, "running": 2, "cut off": 3, "new": 2, "queued": 1}
    assert (totals(store).queued, totals(store).queued_without_worker) == (1, 1)
    assert 0 <= totals(store).oldest_queued_s < 60


def test_trials_by_state_and_cause(store: Store, add_study: Add, new_trial: NewTrial) -> None:
    add_study()
    failure = Failure(cause=FailureCause.OUT_OF_MEMORY, message="no memory")
    for state, why in ((TrialState.DONE, None), (TrialState.FAILED, failure), (TrialState.FAILED, failure)):
        trial = store.trials.add(new_trial(), owner_id="a")
        store.trials.finish(trial.replaced(state=state, failure=why), {})
    store.trials.add(new_trial(), owner_id="a")
    ended = (
        TrialTotal(state="done", cause="", count=1),
        TrialTotal(state="failed", cause="out_of_memory", count=2),
    )
    # What a killed run has left.
    assert totals(store).trials == (*ended, TrialTotal(state="void", cause="", count=1))
    store.owners.register(owner("a"))
    assert store.studies.take("s", "a", 1.0, dead=()) is None
    assert totals(store).trials == (*ended, TrialTotal(state="running", cause="", count=1))


def test_workers_and_leases(store: Store, add_study: Add) -> None:
    worker = WorkerRecord(id="w1", host="node-1", pid=1, at_most=2, lease_s=20)
    store.workers.register(worker)
    store.workers.register(worker.replaced(id="w2", lease_s=-1.0))
    store.workers.register(worker.replaced(id="w3"))
    store.workers.heartbeat("w3", "ended")
    store.queue.add(add_study(), source="x", named=True, priority=0, by="me", dead=())
    assert store.queue.take(worker="w1", owner=owner("o"), lease_s=20, labels={}, dead=()) == "s"
    store.leases.take(["gpu:0", "gpu:1", "port:h:1", "else"], 4, owner_id="o", study="s", trial=1, now=0.0)
    found = totals(store)
    assert {w.id: (w.host, w.state, w.at_most, w.studies) for w in found.workers} == {
        "w1": ("node-1", "running", 2, 1),
        "w2": ("node-1", "lost", 2, 0),
    }
    assert found.leases == {"gpu": 2, "port": 1, "other": 1}
    assert found.queued == 0
