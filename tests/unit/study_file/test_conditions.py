"""``when`` and named combinations in study files: bare words, canonical names, round trips and mistakes."""

from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.errors import Problem, UsageError
from autotuner.plugins import loading
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.environment import tuned_variables
from autotuner.study.parameters.space import Space
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "name": "s",
    "model": "m",
    "engine": {"kind": "sglang", "args": {"context-length": 4096}, "env": {"SET": "1"}},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}
SPECULATIVE: dict[str, Any] = {
    "speculative_algorithm": [None, "EAGLE", "NGRAM"],
    "speculative-num-steps": {"choices": [1, 3, 5], "when": "speculative-algorithm in [EAGLE, NGRAM]"},
    "speculative-eagle-topk": {"low": 1, "high": 8, "log": True, "when": "speculative_algorithm == EAGLE and tp <= 4"},
    "tp": [1, 2, 8],
}
PROFILE: dict[str, Any] = {
    "profile": {
        "combinations": {
            "latency": {"max_running_requests": 32, "chunked-prefill-size": 2048},
            "throughput": {"max-running-requests": 256, "env.OMP_NUM_THREADS": 4},
            "plain": {},
        }
    },
    "kv-cache-dtype": ["auto", "fp8_e5m2"],
}


def read(parameters: Any, **changes: Any) -> StudySpec:
    def canonical_of(engine: Any) -> Any:
        return loading.engine(engine).canonical

    data = {**BASE, "parameters": parameters, **changes}
    return parse_study(data, source="s.yaml", folder=Path("/"), canonical_of=canonical_of).spec


def refused(parameters: Any, **changes: Any) -> list[Problem]:
    with pytest.raises(UsageError) as caught:
        read(parameters, **changes)
    return list(caught.value.problems)


def test_bare_words_are_values_and_names_are_canonical() -> None:
    spec = read(SPECULATIVE, constraints=["speculative-algorithm != NGRAM or tp == 1"])
    steps, topk = spec.parameters[1:3]
    assert steps.when == "speculative-algorithm in ['EAGLE', 'NGRAM']"
    assert topk.when == "speculative-algorithm == 'EAGLE' and tp-size <= 4"
    assert spec.constraints == ("speculative-algorithm != 'NGRAM' or tp-size == 1",)
    assert Space(parameters=spec.parameters).size == 3 * 1 + 3 * 3 + 3 * (4 + 4 + 1)


def test_bare_words_are_values_of_the_flags_that_combinations_set() -> None:
    combinations = {"a": {"schedule_policy": "lpm"}, "b": {"schedule-policy": "fcfs", "kv-cache-dtype": "fp8_e5m2"}}
    spec = read(
        {
            "p": {"combinations": combinations},
            "page-size": {"choices": [1, 16], "when": "schedule-policy != fcfs and p in [a, c]"},
        },
        constraints=["schedule_policy in [fcfs] implies kv_cache_dtype == fp8_e5m2"],
    )
    assert spec.parameters[1].when == "schedule-policy != 'fcfs' and p in ['a', c]"
    assert spec.constraints == ("schedule-policy in ['fcfs'] implies kv-cache-dtype == 'fp8_e5m2'",)


def test_a_parameter_named_like_a_value_is_the_parameter() -> None:
    spec = read({"a": ["b", "c"], "b": ["b", "c"]}, constraints=["a == b", "a == c", "'b' == a"])
    assert spec.constraints == ("a == b", "a == 'c'", "'b' == a")


def test_values_keep_their_spelling() -> None:
    """Underscores and hyphens are equivalent in names only."""
    spec = read({"kv-cache-dtype": ["auto", "fp8_e5m2"], "a": {"choices": [1], "when": "kv_cache_dtype == fp8_e5m2"}})
    assert spec.parameters[1].when == "kv-cache-dtype == 'fp8_e5m2'"
    assert read({"a": ["x-y"]}, constraints=["a != x-y"]).constraints == ("a != 'x-y'",)


def test_portable_settings_may_be_conditional_and_decide() -> None:
    sections = {
        "quantization": {"kv_cache": ["auto", "fp8"]},
        "parallelism": {"tp": {"choices": [1, 2], "when": "quantization.kv_cache == fp8"}},
    }
    spec = read({"page-size": {"choices": [1, 16], "when": "parallelism.tp == 2"}}, **sections)
    assert [p.when for p in spec.parameters] == ["parallelism.tp == 2", "", "quantization.kv-cache == 'fp8'"]
    assert sorted(c.text for c in Space(parameters=spec.parameters).grid()) == [
        "page-size=1 quantization.kv-cache=fp8 parallelism.tp=2",
        "page-size=16 quantization.kv-cache=fp8 parallelism.tp=2",
        "quantization.kv-cache=auto",
        "quantization.kv-cache=fp8 parallelism.tp=1",
    ]


@pytest.mark.parametrize(
    "parameters", [SPECULATIVE, PROFILE, {**SPECULATIVE, "p": {**PROFILE["profile"], "when": "tp > 1"}}]
)
def test_they_survive_the_file_and_the_store(parameters: Any) -> None:
    spec = read(parameters)
    again = parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec
    assert again == spec
    assert StudySpec.model_validate_json(spec.model_dump_json()) == spec


def test_combinations_are_one_parameter_that_stands_for_flags() -> None:
    spec = read(
        PROFILE, constraints=["profile == latency implies kv-cache-dtype == auto", "max-running-requests < 300"]
    )
    profile = spec.parameters[0]
    assert profile.domain.grid() == ("latency", "throughput", "plain")
    assert profile.flags == ("max-running-requests", "chunked-prefill-size", "env.OMP_NUM_THREADS")
    assert tuned_variables(spec.parameters) == ("OMP_NUM_THREADS",)
    chosen = Configuration(values={"profile": "throughput", "kv-cache-dtype": "auto"})
    assert chosen.text == "profile=throughput kv-cache-dtype=auto"
    assert dict(spec.as_flags(chosen).values) == {
        "max-running-requests": 256,
        "env.OMP_NUM_THREADS": 4,
        "kv-cache-dtype": "auto",
    }
    assert spec.as_flags(Configuration(values={"kv-cache-dtype": "auto"})).text == "kv-cache-dtype=auto"


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "not an expression": ({"a": {"choices": [1, 2], "when": "b >"}, "b": [1]}, {}, "parameters.a.when"),
    "version": ({"a": {"choices": [1], "when": "b == v0.11.0"}, "b": ["v0.11.0"]}, {}, "parameters.a.when"),
    "version in a constraint": ({"b": ["v0.11.0"]}, {"constraints": "b != v0.11.0"}, "constraints"),
    "not text": ({"a": {"choices": [1, 2], "when": True}}, {}, "parameters.a.when"),
    "itself": ({"a": {"choices": [1, 2], "when": "a == 1"}}, {}, "parameters.a.when"),
    "two": (
        {"a": {"choices": [1], "when": "b == 1"}, "b": {"choices": [1], "when": "a == 1"}},
        {},
        "parameters.a.when",
    ),
    "three": (
        {name: {"choices": [1], "when": f"{other} == 1"} for name, other in ("ac", "cb", "ba")},
        {},
        "parameters.a.when",
    ),
    "portable": (
        {"a": {"choices": [1], "when": "parallelism.tp == 1"}},
        {"parallelism": {"tp": {"choices": [1, 2], "when": "a == 1"}}},
        "parameters.a.when",
    ),
    "a range and combinations": ({"a": {"low": 1, "combinations": {"x": {}}}}, {}, "parameters.a"),
    "choices and combinations": ({"a": {"choices": [1], "combinations": {"x": {}}}}, {}, "parameters.a"),
    "none": ({"a": {"combinations": {}}}, {}, "parameters.a"),
    "bad name": ({"a": {"combinations": {"x y": {}}}}, {}, "parameters.a"),
    "no mapping": ({"a": {"combinations": {"x": 1}}}, {}, "parameters.a.combinations.x"),
    "nested": ({"a": {"combinations": {"x": {"f": {"g": 1}}}}}, {}, "parameters.a.combinations.x.f"),
    "tuned by itself": (
        {"tp": [1, 2], "p": {"combinations": {"x": {"tp-size": 2}, "y": {}}}},
        {},
        "parameters.p.combinations.x.tp-size",
    ),
    "set by another": (
        {"p": {"combinations": {"x": {"tp": 2}, "y": {}}}, "q": {"combinations": {"x": {}, "z": {"tp": 1}}}},
        {},
        "parameters.q.combinations.z.tp-size",
    ),
    "same launch": ({"p": {"combinations": {"x": {"tp": 2}, "y": {"tp_size": 2}}}}, {}, "parameters.p.combinations.y"),
    "flag twice": ({"p": {"combinations": {"x": {"tp": 2, "tp_size": 4}}}}, {}, "parameters.p.combinations.x.tp_size"),
    "fixed": ({"p": {"combinations": {"x": {"context_length": 2}}}}, {}, "parameters.p.combinations.x.context_length"),
    "fixed variable": ({"p": {"combinations": {"x": {"env.SET": 2}}}}, {}, "parameters.p.combinations.x.env.SET"),
    "managed variable": (
        {"p": {"combinations": {"x": {"env.CUDA_VISIBLE_DEVICES": 0}}}},
        {},
        "parameters.p.combinations.x.env.CUDA_VISIBLE_DEVICES",
    ),
    "secret": ({"p": {"combinations": {"x": {"env.HF_TOKEN": "a"}}}}, {}, "parameters.p.combinations.x.env.HF_TOKEN"),
    "portable flag": (
        {"p": {"combinations": {"x": {"parallelism.tp": 2}}}},
        {},
        "parameters.p.combinations.x.parallelism.tp",
    ),
    "not a flag": ({"p": {"combinations": {"x": {"1 2": 2}}}}, {}, "parameters.p.combinations.x.1 2"),
    "not a variable": ({"p": {"combinations": {"x": {"env.1 2": 2}}}}, {}, "parameters.p.combinations.x.env.1 2"),
    "variable": ({"env.P": {"combinations": {"x": {"tp": 2}}}}, {}, "parameters.env.P"),
    "in a portable section": ({}, {"parallelism": {"tp": {"combinations": {"x": {}}}}}, "parallelism.tp"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_one_line_each(name: str, snapshot: SnapshotAssertion) -> None:
    parameters, changes, where = MISTAKES[name]
    [problem] = refused(parameters, **changes)
    assert problem.where.endswith(where)
    assert "\n" not in str(problem)
    assert str(problem) == snapshot
