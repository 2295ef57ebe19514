"""Which stored studies a new one learns from, and what of them."""

from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.plugins.loading import engine as engine_of
from autotuner.secrets import HIDDEN
from autotuner.store import Store
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import SelfCheck
from autotuner.study.search.beginning import Beginning
from autotuner.study.search.evidence import NO_EVIDENCE, EarlierStudy, Facet
from autotuner.study.trial import TrialState
from autotuner.tuning.memory import gathering
from autotuner.tuning.memory.gathering import Gathered, gather
from autotuner.tuning.memory.relation import Described
from autotuner.tuning.planning.prepared_study import Prepared, prepare
from support.studies.earlier import GPU, WORLD, add, spec_of, study, trial, window

pytestmark = pytest.mark.anyio


def engine(**changes: Any) -> dict[str, Any]:
    return {"engine": {**study()["engine"], **changes}}


async def prepared(**changes: Any) -> Prepared:
    return await prepare(spec_of(**changes), planning=True)


async def gathered(store: Store, **changes: Any) -> Gathered:
    return gather(await prepared(**changes), store, WORLD)


async def test_a_stored_study_is_seen_with_the_eyes_of_the_new_one(store: Store) -> None:
    add(store)
    found = await gathered(store)
    (old,) = found.evidence.studies
    assert (old.study, set(old.shared), old.windows, found.unused) == ("old", set(Facet), 4, [])
    default, other = old.trials
    assert other.configuration == Configuration(values={"tensor-parallel-size": 2, "max-num-seqs": 64})
    assert default.configuration == DEFAULT
    assert other.unlike == ()
    (first, _) = other.windows
    assert first.values == pytest.approx({"mean ttft": 0.01, "mean tpot": 0.01, "output_throughput": 400.0})
    assert {"mean ttft", "mean tpot"} <= set(first.predicted), "the model's shape is known"
    assert first.slopes["mean tpot"]
    assert (first.place.level, first.place.in_flight, first.place.output_tokens) == ("concurrency=4", 4, 10)


@pytest.mark.parametrize(
    ("changes", "facet"),
    [
        (engine(model="Qwen3-8B"), Facet.MODEL),
        (engine(gpu="H200"), Facet.GPU),
        (engine(speed=2.0), Facet.ENGINE),
        ({"workload": {**study()["workload"], "scenarios": ["D(100,20)"]}}, Facet.WORKLOAD),
    ],
)
async def test_what_differs_is_recorded(store: Store, changes: dict[str, Any], facet: Facet) -> None:
    add(store)
    found = await gathered(store, **changes)
    (old,) = found.evidence.studies
    assert set(Facet) - set(old.shared) == {facet}
    if facet is not Facet.WORKLOAD:
        assert all(t.configuration is None for t in old.trials), "another server, although its flags are the same"


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": {**study()["engine"], "flavor": "sglang"}, "parameters": {"tp-size": [1, 2]}},
        {"beginning": None},
        {"beginning": Beginning()},
        {"beginning": Beginning(hardware=GPU, definitions=0)},
        {"workload": {"scenarios": ["D(100,10)"], "concurrency": [4, 16], "api": "completions"}},
        {"workload": {"scenarios": ["D(100,10)"], "concurrency": [4, 16], "ignore_eos": False}},
        {"workload": {"scenarios": ["D(100,10)"], "rates": [4]}},
        {"benchmark": "genai_bench"},
    ],
)
async def test_other_studies_are_not_used(store: Store, changes: dict[str, Any]) -> None:
    windows = (window(4, level=spec_of(**changes_of(changes)).workload.levels[0]),) if "workload" in changes else ()
    add(store, *([trial(0, {}, *windows)] if windows else []), **changes)
    found = await gathered(store)
    assert found.evidence == NO_EVIDENCE
    assert [one.study for one in found.unused] == ["old"]
    assert found.unused[0].why


def changes_of(changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name != "beginning"}


@pytest.mark.parametrize(
    "changes",
    [
        {"state": TrialState.VOID},
        {"state": TrialState.FAILED, "verdict": None, "measurements": ()},
        {"resolved": {}},
        {"measurements": (window(4, cut=True),)},
        {"measurements": (window(4, overloaded=True),)},
        {"measurements": (window(4, thin=("few",)),)},
        {"measurements": (window(4, self_check=SelfCheck(client_limited=True)),)},
    ],
)
async def test_trials_that_measured_nothing_sound_are_left_out(store: Store, changes: dict[str, Any]) -> None:
    add(store, trial(0, {}), trial(1, {"tensor-parallel-size": 2, "max-num-seqs": 64}, **changes))
    (old,) = (await gathered(store)).evidence.studies
    assert [t.number for t in old.trials] == [0]


@pytest.mark.parametrize(
    ("cause", "load", "counts"),
    [
        (FailureCause.GPU_OUT_OF_MEMORY_LOADING, "D(100,20)", True),
        (FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "D(100,10)", True),
        (FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "D(100,20)", False),
        (FailureCause.DISK_FULL, "D(100,10)", False),
    ],
)
async def test_failures_of_the_same_server_are_known(
    store: Store, cause: FailureCause, load: str, counts: bool
) -> None:
    values = {"tensor-parallel-size": 1, "max-num-seqs": 256}
    failure = Failure(cause=cause, message="it failed")
    failed = trial(1, values, state=TrialState.FAILED, verdict=None, failure=failure).replaced(measurements=())
    add(store, trial(0, {}), failed)
    found = await gathered(store, workload={**study()["workload"], "scenarios": [load]})
    (old,) = found.evidence.studies
    assert [(t.number, t.failed) for t in old.trials] == [(0, None), *([(1, cause)] if counts else [])]
    other = await gathered(store, workload={**study()["workload"], "scenarios": [load]}, **engine(gpu="H200"))
    assert [t.number for t in other.evidence.studies[0].trials] == [0], "another GPU may have room for it"


async def test_a_study_whose_environment_changed_is_not_used(store: Store) -> None:
    failure = Failure(cause=FailureCause.WORLD_CHANGED, message="model has changed")
    void = trial(1, {}, state=TrialState.VOID, verdict=None, failure=failure)
    add(store, trial(0, {}), void)
    found = await gathered(store)
    assert found.evidence == NO_EVIDENCE
    assert [one.study for one in found.unused] == ["old"]


async def test_a_model_without_predictions_is_used_for_the_same_model_only(store: Store) -> None:
    add(store, engine={"kind": "vllm"}, model="/nowhere/a")
    add(store, trial(0, {}, resolved={}), name="same", engine={"kind": "vllm"}, model="/nowhere/b")
    found = await gathered(store, engine={"kind": "vllm"}, model="/nowhere/b")
    assert [s.study for s in found.evidence.studies] == ["same"]
    assert [one.study for one in found.unused] == ["old"]


async def test_flags_that_the_new_study_does_not_have_are_named(store: Store) -> None:
    add(store, engine={**study()["engine"], "args": {"max-num-batched-tokens": 4096}})
    (old,) = (await gathered(store)).evidence.studies
    assert {t.unlike for t in old.trials} == {("max-num-batched-tokens=4096",)}
    assert {t.configuration for t in old.trials} == {None}


async def test_secrets_and_other_engines_stay_where_they_are(store: Store) -> None:
    add(store, engine={**study()["engine"], "args": {"api-key": "sk-very-secret-1"}})
    text = (await gathered(store)).evidence.model_dump_json()
    assert "sk-very-secret-1" not in text
    assert HIDDEN not in text


async def test_a_study_does_not_learn_from_itself(store: Store) -> None:
    add(store, name="new")
    assert (await gathered(store)) == Gathered()


async def test_closely_related_studies_come_first_and_levels_are_limited(store: Store) -> None:
    add(store, name="far", engine={**study()["engine"], "gpu": "H200"})
    add(store, name="near")
    assert [s.study for s in (await gathered(store)).evidence.studies] == ["near", "far"]
    record = store.studies.get("near")
    assert record is not None
    new = Described(spec_of(), engine_of(spec_of().engine), GPU, WORLD)
    (one,) = gathering._related({"": new}, record, {})
    assert isinstance(one, gathering._Related)
    limited = gathering._learned(await prepared(), one, store, most=3)
    assert isinstance(limited, EarlierStudy)
    assert limited.windows == 2, "whole trials only"


async def test_costs_are_those_of_the_new_prices(store: Store) -> None:
    cost = "cost_per_million_output_tokens"
    seen = window(4, scalars={"output_throughput": 400.0, cost: 1.0})
    add(store, trial(0, {}, seen), objective=f"min {cost}", prices={"H100": 2.0})
    (old,) = (await gathered(store, objective=f"min {cost}", prices={"H100": 20.0})).evidence.studies
    assert old.trials[0].windows[0].values[cost] == pytest.approx(20.0 / 3600 / 400 * 1e6)


async def test_other_request_bodies_are_another_workload(store: Store) -> None:
    bodies: list[dict[str, Any]] = [{"n": 8, "top_k": 1}, {"top_k": 1, "n": 8}, {"n": 9, "top_k": 1}]
    add(store, workload={**study()["workload"], "extra_body": bodies[0]})
    shared = [(await gathered(store, workload={**study()["workload"], "extra_body": b})).evidence for b in bodies]
    assert [Facet.WORKLOAD in found.studies[0].shared for found in shared] == [True, True, False]


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"search": {"strategy": "calibrated", "warm_start": ["old", "old"]}}, "search.warm_start[1]"),
        ({"search": {"strategy": "calibrated", "warm_start": ["old", "new"]}}, "search.warm_start[1]"),
        ({"search": {"strategy": "calibrated", "warm_start": ["old"]}, "parameters": {}}, "search.warm_start"),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(store: Store, changes: dict[str, Any], where: str) -> None:
    add(store)
    add(store, name="new")
    with pytest.raises(UsageError) as caught:
        await gathered(store, **changes)
    assert [p.where for p in caught.value.problems] == [where]


async def test_a_named_study_beyond_the_limits_is_only_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "_MOST_STUDIES", 1)
    add(store)
    add(store, name="other")
    found = await gathered(store, search={"strategy": "calibrated", "warm_start": ["old", "other"]})
    assert len(found.evidence.studies) == len(found.unused) == 1


async def test_many_studies_cost_one_look_up_and_few_names(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(14):
        add(store, name=f"old{number}")
    store.studies.create(spec_of(name="never-begun"), source="t", digest="d", now=1.0)
    new = await prepared()
    loads = []
    engine_of_spec = gathering.loading.engine
    monkeypatch.setattr(gathering.loading, "engine", lambda own: loads.append(own) or engine_of_spec(own))
    monkeypatch.setattr(gathering, "_MOST_STUDIES", 2)
    found = gather(new, store, WORLD)
    beginning = found.beginning(new)
    assert len(loads) == 1
    assert (len(beginning.learned), len(beginning.unused), beginning.more_unused) == (2, 10, 2)
    assert "never-begun" not in {one.study for one in found.unused}
