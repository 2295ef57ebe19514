"""Behavior of the store on every supported database."""

from collections.abc import Callable

import pytest

from autotuner.store import Store, StoreError
from autotuner.store.events import EventLog
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.owner import Owner
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.samples import SampleKind, sample_study

AddStudy = Callable[..., StudySpec]
NewTrial = Callable[..., Trial]
DONE = {"state": TrialState.DONE, "finished_at": 9.0}


def test_study_round_trip(store: Store, add_study: AddStudy) -> None:
    spec = add_study()
    record = store.studies.get("s")
    assert record is not None
    assert (record.spec, record.digest, record.state, record.owner_id) == (spec, spec.digest, "new", None)
    assert store.studies.get("another") is None
    store.studies.set_state("s", "done", {"why": "enough"}, 7.0)
    changed = store.studies.get("s")
    assert changed is not None
    assert (changed.state, changed.summary, changed.updated_at) == ("done", {"why": "enough"}, 7.0)


def test_names_are_unique(store: Store, add_study: AddStudy) -> None:
    add_study()
    with pytest.raises(StoreError, match=r"\bs\b.* already"):
        add_study()


def test_updated_spec_is_stored(store: Store, add_study: AddStudy) -> None:
    spec = add_study()
    more = spec.model_copy(update={"search": spec.search.model_copy(update={"trials": 99})})
    store.studies.update_spec("s", more, digest=more.digest, source="test")
    record = store.studies.get("s")
    assert record is not None
    assert record.spec.search.trials == 99


def test_trial_round_trip(store: Store, add_study: AddStudy) -> None:
    """Verdicts, distributions, failures and argv: nothing is lost or masked."""
    sample = sample_study(SampleKind.FAILURES)
    add_study(sample.spec.name)
    for trial in sample.trials:
        added = store.trials.add(trial.model_copy(update={"state": TrialState.RUNNING}), owner_id="o")
        assert added.number == trial.number
        store.trials.finish(trial, {})
    assert store.trials.all(sample.spec.name) == list(sample.trials)
    assert store.trials.get(sample.spec.name, 3) == sample.trials[3]
    assert store.trials.get(sample.spec.name, 999) is None
    assert {m.token_source for t in sample.trials for m in t.measurements} == {"usage", "chunks"}


def test_trial_numbers_start_at_zero_in_each_study(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    add_study("s")
    add_study("t")
    numbers = [store.trials.add(new_trial(name), owner_id="o").number for name in ("s", "s", "t", "s", "t")]
    assert numbers == [0, 1, 0, 2, 1]


def test_writes_to_an_unknown_study_are_refused(store: Store, new_trial: NewTrial) -> None:
    for attempt in (
        lambda: store.trials.add(new_trial("none"), owner_id="o"),
        lambda: store.events.append("none", "notice", {}, at=1.0),
        lambda: store.studies.take("none", "o", 1.0, dead=()),
    ):
        with pytest.raises(StoreError, match=r"no study named none\b"):
            attempt()


def test_trial_ends_together_with_its_event(
    store: Store, add_study: AddStudy, new_trial: NewTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_study()
    trial = store.trials.add(new_trial(), owner_id="o")

    def broken(*_: object, **__: object) -> int:
        raise RuntimeError("between the two writes")

    with monkeypatch.context() as patched:
        patched.setattr(EventLog, "append_in", broken)
        with pytest.raises(RuntimeError, match="between"):
            store.trials.finish(trial.model_copy(update=DONE), {"state": "done"})
    assert store.trials.all("s") == [trial]
    assert store.events.read("s") == []
    store.trials.finish(trial.model_copy(update=DONE), {"state": "done"})
    (event,) = store.events.read("s")
    assert (event.kind, event.trial, event.at, event.data) == ("trial_finished", 0, 9.0, {"state": "done"})


def test_the_end_of_a_trial_updates_its_study(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    """Lists say when a running study last had a result."""
    add_study()
    trial = store.trials.add(new_trial(), owner_id="o")
    before = store.clock()
    store.trials.finish(trial.model_copy(update=DONE), {"state": "done"})
    record = store.studies.get("s")
    assert record is not None
    assert before <= record.updated_at <= store.clock()


@pytest.mark.parametrize("end", [TrialState.DONE, TrialState.FAILED, TrialState.VOID])
def test_ended_trials_cannot_be_changed(
    store: Store, add_study: AddStudy, new_trial: NewTrial, end: TrialState
) -> None:
    add_study()
    trial = store.trials.add(new_trial(), owner_id="o")
    ended = trial.model_copy(update={"state": end, "finished_at": 2.0})
    store.trials.finish(ended, {})
    other = Configuration(values={"parallel": 2})
    for again in (
        lambda: store.trials.update(trial.model_copy(update={"configuration": other})),
        lambda: store.trials.finish(trial.model_copy(update={**DONE, "configuration": other}), {}),
    ):
        with pytest.raises(StoreError, match=r"trial 0 of s\b"):
            again()
    assert store.trials.all("s") == [ended]
    assert len(store.events.read("s")) == 1
    assert store.trials.void_owned_by({"o"}, "s", 5.0) == []


def test_unfinished_trials_of_dead_owners_are_voided(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    for name in ("s", "t"):
        add_study(name)
    done = store.trials.add(new_trial(), owner_id="dead")
    store.trials.finish(done.model_copy(update=DONE), {})
    for owner, study in (("dead", "s"), ("alive", "s"), ("dead", "t")):
        store.trials.add(new_trial(study), owner_id=owner)
    queued = store.trials.add(new_trial(state=TrialState.QUEUED), owner_id="dead")
    voided = store.trials.void_owned_by({"dead", "dead too"}, "s", 5.0)
    assert [(t.number, t.state, t.finished_at) for t in voided] == [(1, "void", 5.0), (queued.number, "void", 5.0)]
    assert [t.state for t in store.trials.all("s")] == ["done", "void", "running", "void"]
    assert [t.state for t in store.trials.all("t")] == ["running"]
    assert [e.trial for e in store.events.read("s") if e.data.get("state") == "void"] == [1, 3]
    assert store.trials.void_owned_by((), "s", 5.0) == []


def test_cursor_continues_where_it_was(store: Store, add_study: AddStudy) -> None:
    add_study("s")
    add_study("t")
    made = [
        store.events.append(name, "notice", {"i": i}, trial=i, at=float(i)) for i in range(6) for name in ("s", "t")
    ]
    mine = [e for e in made if e.study == "s"]
    assert store.events.read("s") == mine
    assert store.events.read("s", limit=2) == mine[:2]
    assert store.events.read("s", after=mine[1].seq, limit=3) == mine[2:5]
    assert store.events.read("s", after=mine[-1].seq) == []
    assert store.events.last_seq("s") == mine[-1].seq
    assert store.events.last_seq("none") == 0
    assert store.events.last("s", "notice") == mine[-1]
    assert store.events.last("s", "none") is None
    assert store.events.of_trial("s", 3, "notice") == [mine[3]]
    assert store.events.of_trial("s", 3, "none") == []
    numbers = [event.seq for event in mine]
    every = store.events.rows_after(0, (), limit=1_000)
    assert store.events.rows_after(every[5]["seq"], (), limit=2) == every[6:8]
    assert store.events.rows_after(every[5]["seq"], [every[0]["seq"], every[3]["seq"]], limit=4) == [
        every[0],
        every[3],
        *every[6:8],
    ]
    assert store.events.rows_after(numbers[-1] + 1_000, numbers[:1], limit=1_000) == every[:1]


def test_seq_is_never_reused(store: Store, add_study: AddStudy) -> None:
    """A cursor from before a deletion must not skip later events."""
    add_study()
    last = store.events.append("s", "notice", {}, at=1.0).seq
    store.studies.delete("s")
    add_study()
    assert store.events.append("s", "notice", {}, at=1.0).seq > last


def test_deleted_study_leaves_nothing(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    for name in ("s", "t"):
        add_study(name)
        store.trials.add(new_trial(name), owner_id="o")
        store.events.append(name, "notice", {}, at=1.0)
    store.studies.delete("s")
    assert [r.name for r in store.studies.all()] == ["t"]
    assert (store.trials.all("s"), store.events.read("s")) == ([], [])
    assert (len(store.trials.all("t")), len(store.events.read("t"))) == (1, 1)
    add_study("s")
    assert store.trials.add(new_trial(), owner_id="o").number == 0


def test_stop_request_and_its_withdrawal(store: Store, add_study: AddStudy) -> None:
    add_study("s")
    add_study("t")
    assert not store.studies.stop_requested("s")
    store.studies.request_stop("s")
    assert (
        store.studies.stop_requested("s"),
        store.studies.stop_requested("t"),
        store.studies.stop_requested("none"),
    ) == (True, False, False)
    store.studies.clear_stop("s")
    assert not store.studies.stop_requested("s")


def test_one_owner_holds_a_study(store: Store, add_study: AddStudy) -> None:
    add_study()
    assert store.studies.take("s", "a", 2.0, dead=()) is None
    assert store.studies.take("s", "a", 2.0, dead=()) is None, "it holds the study already"
    assert store.studies.take("s", "b", 3.0, dead=()) == "a"
    store.studies.release("s", "b")
    assert store.studies.take("s", "b", 3.0, dead=()) == "a", "only the holder can release it"
    assert store.studies.take("s", "b", 3.0, dead={"a"}) is None, "taken over from a dead owner"
    store.studies.release("s", "a")
    record = store.studies.get("s")
    assert record is not None
    assert record.owner_id == "b"
    store.studies.release("s", "b")
    assert store.studies.take("s", "c", 4.0, dead=()) is None


def test_resource_has_one_holder(store: Store) -> None:
    def take(owner: str, dead: tuple[str, ...] = ()) -> bool:
        return bool(store.leases.take(["gpu:h:0"], owner_id=owner, study="s", trial=3, now=5.0, dead=dead))

    assert take("a")
    assert not take("b")
    assert not take("a"), "another trial of the same owner is another holder"
    store.leases.release("gpu:h:0", "b")
    assert not take("b"), "only the holder can release it"
    assert take("b", dead=("a",)), "taken over from a dead owner"
    store.leases.release_all("a")
    (lease,) = store.leases.all()
    assert (lease.resource, lease.owner_id, lease.study, lease.trial, lease.acquired_at) == ("gpu:h:0", "b", "s", 3, 5)
    store.leases.release_all("b")
    assert store.leases.all() == []


def test_several_resources_are_taken_together_or_not_at_all(store: Store) -> None:
    def take(owner: str, count: int, dead: tuple[str, ...] = ()) -> list[str]:
        names = [f"gpu:h:{i}" for i in range(4)]
        return store.leases.take(names, count, owner_id=owner, study="s", trial=0, now=5.0, dead=dead)

    assert take("a", 0) == []
    assert take("a", 3) == ["gpu:h:0", "gpu:h:1", "gpu:h:2"]
    assert take("b", 2) == []
    assert len(store.leases.all()) == 3, "the free one stays free"
    assert take("b", 1) == ["gpu:h:3"]
    assert take("c", 4, dead=("a",)) == []
    assert {r.owner_id for r in store.leases.all()} == {"a", "b"}, "a takeover of too few takes nothing"
    assert take("c", 3, dead=("a",)) == ["gpu:h:0", "gpu:h:1", "gpu:h:2"]


def test_owner_heartbeat_and_end(store: Store) -> None:
    owner = Owner(id="a", host="h", pid=7, started=1_780_000_000.123456)
    store.owners.register(owner, 1.0)
    store.owners.heartbeat("a", 2.0)
    (record,) = store.owners.all()
    assert (record.owner, record.heartbeat_at, record.ended_at) == (owner, 2.0, None)
    store.owners.end("a", 3.0)
    assert store.owners.all()[0].ended_at == 3.0


def test_times_keep_their_microseconds(store: Store, add_study: AddStudy) -> None:
    add_study()
    at = 1_780_000_000.123456
    store.events.append("s", "notice", {}, at=at)
    assert store.events.read("s")[0].at == at


GIVEN = 'tail: nul \0, lone \udcff \ud800, emoji \U0001f600, backslash \\u0000, quote ", line\nend'
STORED = 'tail: nul \ufffd, lone ? ?, emoji \U0001f600, backslash \\u0000, quote ", line\nend'


def test_text_that_databases_refuse_is_replaced(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    add_study()
    trial = store.trials.add(new_trial(argv=("server", "\udcff")), owner_id="o")
    failure = Failure(cause=FailureCause.CRASH_LOADING, message="m\0", log_tail=GIVEN)
    store.trials.finish(trial.model_copy(update={**DONE, "failure": failure}), {"text": GIVEN, "k\0": [GIVEN]})
    (kept,) = store.trials.all("s")
    assert kept.failure is not None
    assert (kept.failure.message, kept.failure.log_tail, kept.argv) == ("m\ufffd", STORED, ("server", "?"))
    assert store.events.read("s")[0].data == {"text": STORED, "k\ufffd": [STORED]}
    store.studies.set_state("s", "failed", {"why": GIVEN}, 1.0)
    record = store.studies.get("s")
    assert record is not None
    assert record.summary == {"why": STORED}


def test_infinity_and_nan_round_trip(store: Store, add_study: AddStudy, new_trial: NewTrial) -> None:
    add_study()
    store.trials.add(new_trial(phases={"loading": float("inf")}, resolved={"x": float("nan")}), owner_id="o")
    (kept,) = store.trials.all("s")
    assert kept.phases["loading"] == float("inf")
    assert str(kept.resolved["x"]) == "nan"
