"""Snapshots of stored studies: the same as reading everything, without doing it."""

from collections.abc import Iterator

import pytest

import autotuner
from autotuner.api.reading.snapshots import Snapshots
from autotuner.store import ReadStore, Store
from autotuner.store.queries import TrialQueries
from autotuner.study.trial import TrialState
from support.stored_samples import store_sample


@pytest.fixture
def store(home: object) -> Iterator[Store]:
    with Store.open() as opened:
        yield opened


def current(snapshots: Snapshots, store: ReadStore, name: str) -> object:
    found = snapshots.current(store, name)
    assert found is not None
    assert found.result == autotuner.open().load(name)
    return found


def test_nothing_is_read_again_without_a_change(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    name = store_sample("winner").spec.name
    snapshots = Snapshots()
    first = current(snapshots, store, name)
    monkeypatch.setattr(TrialQueries, "texts", lambda *_: pytest.fail("all trials were read again"))
    monkeypatch.setattr(TrialQueries, "texts_since", lambda *_: pytest.fail("trials were read again"))
    assert current(snapshots, store, name) is first


def test_changes_of_any_kind_are_seen(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = store_sample("empty")
    name = sample.spec.name
    snapshots = Snapshots()
    seen = [current(snapshots, store, name)]
    monkeypatch.setattr(TrialQueries, "texts", lambda *_: pytest.fail("all trials were read again"))
    measured = store_sample("winner").trials[0].model_copy(update={"study": name})
    added = store.trials.add(measured.model_copy(update={"state": TrialState.RUNNING}), owner_id="me")
    store.events.append(name, "trial_proposed", {"role": "default"}, trial=added.number, at=1.0)
    seen.append(current(snapshots, store, name))
    store.trials.update(added.model_copy(update={"state": TrialState.RUNNING, "phases": {"loading": 2.0}}))
    seen.append(current(snapshots, store, name))
    done = added.model_copy(update={"state": TrialState.DONE})
    store.trials.finish(done, {"state": "done", "windows": []})
    seen.append(current(snapshots, store, name))
    store.trials.amend(name, [(done.model_copy(update={"set_aside": "edited"}), {"state": "void", "windows": []})], 2.0)
    seen.append(current(snapshots, store, name))
    store.studies.set_state(name, "stopped", {"why": "enough"}, 3.0)
    seen.append(current(snapshots, store, name))
    assert len(set(map(id, seen))) == len(seen)
    store.events.append(name, "notice", {"text": "busy"}, at=4.0)
    assert current(snapshots, store, name) is seen[-1]


def test_a_study_of_the_same_name_is_another_one(store: Store) -> None:
    sample = store_sample("winner")
    name = sample.spec.name
    snapshots = Snapshots()
    current(snapshots, store, name)
    store.studies.delete(name)
    assert snapshots.current(store, name) is None
    store.studies.create(sample.spec, source="again", digest=sample.spec.digest, now=2.0)
    current(snapshots, store, name)


def test_a_secret_that_becomes_known_is_removed_from_what_was_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = store_sample("winner").spec.name
    snapshots = Snapshots()
    snapshots.current(store, name)
    monkeypatch.setattr("autotuner.api.reading.snapshots.known_secrets", lambda: frozenset({"llama-server"}))
    found = snapshots.current(store, name)
    assert found is not None
    assert "llama-server" not in "".join(word for trial in found.trials for word in trial.argv)


def test_the_studies_read_least_recently_are_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotuner.api.reading.snapshots._MOST_BYTES", 1)
    names = [store_sample(kind).spec.name for kind in ("winner", "latency")]
    snapshots = Snapshots()
    first = current(snapshots, store, names[0])
    current(snapshots, store, names[1])
    assert current(snapshots, store, names[0]) is not first
