"""Recommended configurations: which lie in a study's space, and when the search tries them."""

import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.engines.llama_cpp.engine import LlamaCpp, LlamaCppSettings
from autotuner.plugins.loading import engine
from autotuner.study.configuration import Configuration
from autotuner.study.launch import Hardware
from autotuner.study.search.starting_point import Start
from autotuner.study.spec import EngineSpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study_file.loader import parse_study
from autotuner.tuning.memory.starting_points import starting_points
from autotuner.tuning.planning.prepared_study import Prepared, prepare
from autotuner.tuning.planning.search_context import search_context

pytestmark = pytest.mark.anyio


def study(**changes: Any) -> dict[str, Any]:
    return {
        "name": "new",
        "model": "unknown-model",
        "engine": {"kind": "vllm"},
        "parameters": {"max-num-batched-tokens": [2048, 4096, 16384], "stream-interval": [1, 8]},
        "workload": {"scenarios": ["D(100,10)"], "concurrency": [4]},
        "objective": "max output_throughput",
        "search": {"strategy": "calibrated", "trials": 10},
        **changes,
    }


async def prepared(**changes: Any) -> Prepared:
    parsed = parse_study(json.dumps(study(**changes)), source="study.yaml", folder=Path("/"))
    return await prepare(parsed.spec, planning=True)


async def values(**changes: Any) -> list[Any]:
    return [s.configuration.values.get("max-num-batched-tokens") for s in starting_points(await prepared(**changes))]


async def test_a_starting_point_suits_the_objective() -> None:
    assert await values() == [16384]
    assert await values(objective="min p99 tpot") == [2048]
    assert await values(objective="min p99 itl") == [2048]
    assert await values(objective="min p99 ttft") == [16384]
    assert await values(objective="min p99 e2e_latency") == [], "it contains both"


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"max-num-batched-tokens": [2048, 8192]}},
        {"parameters": {"max-num-seqs": [64, 256]}},
        {"engine": {"kind": "vllm", "args": {"max-num-batched-tokens": 16384}}, "parameters": {"max-num-seqs": [1, 2]}},
        {"constraints": "max-num-batched-tokens < 10000"},
    ],
)
async def test_what_does_not_lie_in_the_space_is_left_out(changes: dict[str, Any]) -> None:
    assert await values(**changes) == []


async def test_other_parameters_keep_their_defaults() -> None:
    (start,) = starting_points(await prepared(parameters={**study()["parameters"], "stream-interval": [8, 1]}))
    assert start.configuration.values == {"max-num-batched-tokens": 16384, "stream-interval": 1}
    assert start.source.startswith("https://docs.vllm.ai/")


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ([64, 256], []),  # the engine computes its default
        ([64, None], [None]),
        ({"low": 64, "high": 256}, []),
    ],
)
async def test_nothing_is_made_up_for_a_parameter_without_a_known_default(domain: Any, expected: list[Any]) -> None:
    parameters = {"max-num-batched-tokens": [2048, 16384], "max-num-seqs": domain}
    found = starting_points(await prepared(parameters=parameters))
    assert [s.configuration.values["max-num-seqs"] for s in found] == expected


@pytest.mark.parametrize("kind", ["vllm", "sglang", "llama_cpp"])
def test_every_recommended_flag_exists_and_has_a_source(kind: str) -> None:
    made = engine(EngineSpec(kind=kind))
    points = made.starting_points(Hardware(cpus=8, gpus=1))
    assert points
    for point in points:
        assert point.source.startswith("https://")
        assert all(made.canonical(flag) == flag and flag in made.catalog for flag in point.values)


def test_threads_are_the_cores_or_half_of_them() -> None:
    llama = LlamaCpp(LlamaCppSettings())
    assert [p.values["threads"] for p in llama.starting_points(Hardware(cpus=8))] == [4, 8]
    assert [p.values["threads"] for p in llama.starting_points(Hardware(cpus=1))] == [1]


async def test_the_search_tries_them_right_after_the_default() -> None:
    new = await prepared()
    context = search_context(new)
    assert context.starts == (Start(context.starts[0].configuration, context.starts[0].source),)
    search = new.search()
    history = [
        Trial(study="new", number=0, role=TrialRole.DEFAULT, configuration=Configuration(), state=TrialState.FAILED)
    ]
    search.tell(history[0])
    asked = search.ask(history)
    assert asked == context.starts[0].configuration
    assert isinstance(asked, Configuration)
    why = search.explain(asked)
    assert why is not None
    assert why.recommended == context.starts[0].source
    history.append(Trial(study="new", number=1, role=TrialRole.SEARCH, configuration=asked, state=TrialState.FAILED))
    search.tell(history[1])
    second = search.ask(history)
    assert isinstance(second, Configuration)
    found = search.explain(second)
    assert found is not None
    assert found.recommended == ""


async def test_predictions_and_a_small_budget_know_better() -> None:
    default = Trial(study="n", number=0, role=TrialRole.DEFAULT, configuration=Configuration(), state=TrialState.FAILED)
    gpu = {"kind": "simulated", "flavor": "vllm", "gpu": "H100", "gpu_count": 1, "model": "Llama-3.1-8B"}
    for changes in ({"engine": gpu}, {"search": {"strategy": "calibrated", "trials": 4}}):
        new = await prepared(**changes)
        assert search_context(new).starts
        search = new.search()
        search.tell(default)
        asked = search.ask([default])
        assert isinstance(asked, Configuration)
        why = search.explain(asked)
        assert why is not None
        assert why.recommended == ""
