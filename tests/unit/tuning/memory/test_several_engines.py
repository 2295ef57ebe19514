"""Studies of several engines learn from others, and others from them, engine by engine."""

from collections.abc import Mapping
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.store import Store
from autotuner.study.environment_facts import Fact, Facts
from autotuner.study.launch import Hardware
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.search.beginning import Beginning
from autotuner.study.search.evidence import EarlierStudy, Facet
from autotuner.testing.benchmark_kit import scripted_measurement
from autotuner.testing.fake_engine import FakeEngine
from autotuner.tuning.memory.gathering import Gathered, gather
from autotuner.tuning.memory.present_terms import in_present_terms
from autotuner.tuning.planning.engines.prepared_engines import prepare
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.study_session import run_session
from support.studies import engines as doubles
from support.studies.earlier import GPU, add, spec_of, study, trial
from support.studies.installed_engines import install_engines

pytestmark = pytest.mark.anyio

COMMON = {"kind": "simulated", "gpu": "H100", "gpu_count": 8, "model": "Llama-3.1-8B"}
PARAMETERS = {"tensor-parallel-size": [1, 2], "max-num-seqs": [16, 64, 256]}
VLLM = {**COMMON, "name": "vllm", "flavor": "vllm", "parameters": PARAMETERS}
NEWER = {**VLLM, "name": "newer", "speed": 2.0}
SGLANG = {**COMMON, "name": "sglang", "flavor": "sglang", "parameters": {"tp-size": [1, 2]}}
WORLD: Facts = {
    "vllm: server package vllm": Fact(state="vllm-0.11.0"),
    "newer: server package vllm": Fact(state="vllm-0.12.0"),
}
BEGINNING = Beginning(hardware=GPU, engine_hardware={"vllm": GPU, "newer": GPU, "sglang": GPU})


def several(*entries: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    return {"engine": None, "parameters": None, "engines": list(entries), **changes}


async def prepared(**changes: Any) -> Prepared:
    return await prepare(spec_of(**changes), planning=True)


async def gathered(store: Store, **changes: Any) -> Gathered:
    return gather(await prepared(**changes), store, WORLD)


def known(found: EarlierStudy) -> list[tuple[int, dict[str, Any] | None]]:
    return [(t.number, dict(t.configuration.values) if t.configuration else None) for t in found.trials]


async def test_each_engine_learns_from_studies_of_its_kind(store: Store) -> None:
    add(store)
    add(
        store,
        trial(0, {}),
        name="other",
        engine={**study()["engine"], "flavor": "sglang"},
        parameters={"tp": [1]},
        world={},
    )
    found = await gathered(store, **several(VLLM, NEWER, SGLANG))
    by_engine = {(s.study, s.engine): s for s in found.evidence.studies}
    assert by_engine.keys() == {("old", "vllm"), ("old", "newer"), ("other", "sglang")}
    assert set(by_engine["old", "vllm"].shared) == set(Facet)
    assert set(Facet) - set(by_engine["old", "newer"].shared) == {Facet.ENGINE}, "another release"
    tuned = {"engine": "vllm", "vllm.tensor-parallel-size": 2, "vllm.max-num-seqs": 64}
    assert known(by_engine["old", "vllm"]) == [(0, {"engine": "vllm"}), (1, tuned)]
    assert known(by_engine["old", "newer"]) == [(0, None), (1, None)], "no such server was measured"
    values = by_engine["old", "newer"].trials[1].values
    assert {n: v for n, v in values.items() if n in ("engine", "newer.tensor-parallel-size", "newer.max-num-seqs")} == {
        "engine": "newer",
        "newer.tensor-parallel-size": 2,
        "newer.max-num-seqs": 64,
    }
    assert known(by_engine["other", "sglang"]) == [(0, {"engine": "sglang"})]
    beginning = found.beginning(await prepared(**several(VLLM, NEWER, SGLANG)))
    assert beginning.text.startswith("warm start from 2 earlier studies: other for sglang (same model, "), "the newest"
    assert "; old for vllm (same model, gpu, engine, " in beginning.text
    assert beginning.engine_hardware.keys() == {"vllm", "newer", "sglang"}


async def test_a_study_of_one_engine_learns_from_that_engine_of_another(store: Store) -> None:
    trials = (
        trial(0, {"engine": "sglang"}),
        trial(1, {"engine": "vllm"}),
        trial(2, {"engine": "vllm", "vllm.tensor-parallel-size": 2, "vllm.max-num-seqs": 64}, gpus=2),
        trial(3, {"engine": "newer"}),
    )
    add(store, *map(launched, trials), beginning=BEGINNING, world=WORLD, **several(SGLANG, VLLM, NEWER))
    new = {"server package vllm": Fact(state="vllm-0.11.0")}
    found = gather(await prepared(), store, new)
    assert [(s.study, s.engine, len(s.trials)) for s in found.evidence.studies] == [("old", "", 2)]
    (same,) = found.evidence.studies
    assert known(same) == [(1, {}), (2, {"tensor-parallel-size": 2, "max-num-seqs": 64})], "of the same release"
    assert set(same.shared) == set(Facet)
    assert found.beginning(await prepared()).text.startswith("warm start from 1 earlier study: old (")


def launched(own: Any) -> Any:
    """The trial with what its launch set, by the engine's own names."""
    name = own.configuration.values["engine"]
    values = {n.removeprefix(f"{name}."): v for n, v in own.configuration.values.items() if n != "engine"}
    return own.replaced(flags=values)


async def test_an_engine_whose_target_did_not_answer_teaches_nothing(store: Store) -> None:
    add(store, trial(0, {"engine": "vllm"}), beginning=Beginning(hardware=GPU), **several(VLLM, SGLANG))
    found = await gathered(store)
    assert [(one.study, one.why) for one in found.unused] == [("old", "its hardware is not known")]
    assert not found.evidence.studies


async def test_a_named_study_must_be_of_one_of_the_engines(store: Store) -> None:
    add(store)
    search = {"strategy": "calibrated", "warm_start": ["old"]}
    assert (await gathered(store, search=search, **several(SGLANG, VLLM))).evidence.studies
    with pytest.raises(UsageError) as refused:
        await gathered(store, search=search, **several(SGLANG, {**SGLANG, "name": "second", "speed": 3.0}))
    (problem,) = refused.value.problems
    assert (problem.where, problem.why) == ("search.warm_start[0]", "another engine (simulated vllm)")


async def test_what_is_known_of_a_removed_engine_is_not_used(store: Store) -> None:
    add(store)
    both = (await gathered(store, **several(VLLM, NEWER))).evidence
    fewer = await prepared(**several({**VLLM, "parameters": {"max-num-seqs": [16, 64]}}, SGLANG))
    (left,) = in_present_terms(fewer, both).studies
    assert left.engine == "vllm"
    assert known(left) == [(0, {"engine": "vllm"}), (1, None)], "no configuration has two GPUs any more"
    assert left.trials[1].unlike == ("tensor-parallel-size=2",)
    same = await prepared(**several(VLLM, NEWER))
    assert in_present_terms(same, both) == both
    assert not in_present_terms(await prepared(), both).studies


async def test_hardware_of_each_engine_is_kept_if_it_answered() -> None:
    found = Beginning(hardware=GPU, engine_hardware={"a": Hardware(cpus=1, memory_gb=1, gpus=0)})
    assert found.hardware_of("") == GPU
    assert found.hardware_of("b") is None
    assert found.hardware_of("a") == Hardware(cpus=1, memory_gb=1, gpus=0)


@pytest.fixture
def fake_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a stored study's engine is loaded by."""
    install_engines(monkeypatch, FakeEngine)


def by_slots(endpoint: Endpoint, window: Window) -> Measurement:
    """Four slots of b are by far the best; nothing about the number tells it."""
    flags = dict(part.removeprefix("--").split("=", 1) for part in endpoint.argv if "=" in part)
    speed = {"1": 0.5, "2": 0.8, "4": 2.0, "8": 1.2, "16": 0.9}.get(flags.get("parallel", ""), 0.7)
    speed *= 1.3 if flags["note"] == "b" else 1.0
    ttft = 0.1 / speed
    tpot = 0.01 / speed
    found = {"ttft": constant(ttft), "tpot": constant(tpot)}
    return scripted_measurement(window, rate=8 / (ttft + 7 * tpot), distributions=found)


def constant(value: float) -> Distribution:
    times = dict.fromkeys(("mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"), value)
    return Distribution(count=100, std=0.0, **times)


@pytest.mark.usefixtures("fake_is_installed")
async def test_the_search_begins_with_the_best_of_an_earlier_one(loop: Any, store: Store) -> None:
    """The earlier study measured everything; after the defaults, the new one tries the best of it first."""
    entries = [doubles.entry(name, 1, 2, 4, 8, 16) for name in ("a", "b")]

    async def run(**changes: Any) -> list[Any]:
        spec = doubles.study(*entries, confirm={"repeats": 0}, **changes)
        outcome = await run_session(doubles.prepared(loop, spec, {}, by_slots), store, source="t")
        return [dict(t.configuration.values) for t in outcome.trials]

    await run(search={"strategy": "grid", "trials": 12})
    tried = await run(name="again", search={"strategy": "calibrated", "trials": 3})
    assert tried == [{"engine": "a"}, {"engine": "b"}, {"engine": "b", "b.parallel": 4}]
    record = store.studies.get("again")
    assert record is not None
    assert record.beginning is not None
    assert {(one.study, one.engine) for one in record.beginning.learned} == {("s", "a"), ("s", "b")}
    cold = await run(name="cold", search={"strategy": "calibrated", "trials": 3, "warm_start": "none"})
    assert cold[2] not in ({"engine": "a", "a.parallel": 4}, {"engine": "b", "b.parallel": 4}), "nothing tells it"
