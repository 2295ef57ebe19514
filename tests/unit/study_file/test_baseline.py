"""``baseline`` in study files: canonical names, named combinations, variables, several engines, and mistakes."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "name": "s",
    "model": "m",
    "engine": {"kind": "sglang", "args": {"context-length": 4096}},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}
PARAMETERS: dict[str, Any] = {
    "max-running-requests": [32, 64],
    "env.SGLANG_X": ["a", None],
    "profile": {"combinations": {"small": {"chunked-prefill-size": 2048}, "large": {"chunked-prefill-size": 8192}}},
}
ENTRIES: list[dict[str, Any]] = [
    {"kind": "vllm", "parameters": {"max-num-seqs": [64, 256]}, "baseline": {"max_num_seqs": 128}},
    {"kind": "sglang", "parameters": {"chunked-prefill-size": [2048, 8192]}, "baseline": {"parallelism.tp": 2}},
    {"kind": "sglang", "name": "plain", "args": {"context-length": 4096}},
]


def read(overrides: Any = (), **changes: Any) -> StudySpec:
    data = {**BASE, "parameters": PARAMETERS, **changes}
    return parse_study(
        {key: value for key, value in data.items() if value is not None},
        source="s.yaml",
        folder=Path("/"),
        canonical_of=lambda engine: loading.engine(engine).canonical,
        overrides=overrides,
    ).spec


def refused(baseline: Any, **changes: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        read(baseline=baseline, **changes)
    return [f"{p.why}; {p.remedy}" for p in caught.value.problems]


def test_values_may_lie_outside_of_the_space_and_names_are_canonical() -> None:
    spec = read(baseline={"--max_running_requests": 48, "env.SGLANG_X": "b", "profile": "small"})
    assert spec.baseline == {"max-running-requests": 48, "env.SGLANG_X": "b", "profile": "small"}
    assert spec.as_flags(spec.references[0]).values == {
        "max-running-requests": 48,
        "env.SGLANG_X": "b",
        "chunked-prefill-size": 2048,
    }
    assert spec.reference_word == "baseline"
    assert parse_study(render_study(spec), source="s", folder=Path("/")).spec == spec


def test_a_flag_of_a_combination_may_have_any_value() -> None:
    spec = read(baseline={"chunked-prefill-size": 4096})
    assert spec.references[0].values == {"chunked-prefill-size": 4096}


def test_a_study_without_one_compares_with_the_default_and_has_the_digests_of_earlier_versions() -> None:
    spec = read()
    assert (spec.reference_word, spec.references[0].values) == ("default", {})
    stated = read(baseline={"profile": "small"})
    assert spec.digest == stated.digest, "a baseline can be changed without measuring everything anew"
    assert spec.first_digest != stated.first_digest


def test_a_combination_list_has_one_too() -> None:
    spec = read(
        parameters=[{"max-running-requests": 32}, {"max-running-requests": 64}], baseline={"max-running-requests": 8}
    )
    assert spec.baseline == {"max-running-requests": 8}


def test_the_command_line_sets_names_with_dots() -> None:
    spec = read(["baseline.env.SGLANG_X=c", "baseline.max-running-requests=16"])
    assert spec.baseline == {"env.SGLANG_X": "c", "max-running-requests": 16}
    entries = read(
        ["engines[1].baseline.parallelism.tp=1", "engines[0].parameters.speculative-config.method=[ngram]"],
        engine=None,
        parameters=None,
        engines=ENTRIES,
        parallelism={"tp": [1, 2]},
    ).engines
    assert entries[1].baseline == {"parallelism.tp": 1}
    assert [p.name for p in entries[0].parameters] == ["max-num-seqs", "speculative-config.method"]


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ({"max-running-request": 8}, 'not a tuned parameter; did you mean "max-running-requests"?'),
        ({"tp-size": 2}, "not a tuned parameter; tune it, or fix it for every launch under engine.args"),
        (
            {"context_length": 8192},
            "fixed for every launch, the baseline's included (engine.args.context-length); remove one of the two",
        ),
        (
            {"max-running-requests": 8, "max_running_requests": 9},
            'the same parameter as "max-running-requests"; remove one of the two',
        ),
        ({"profile": "small", "chunked-prefill-size": 1}, 'also set by "profile"; remove one of the two'),
        ({"chunked-prefill-size": 1, "profile": "small"}, 'also set by "chunked-prefill-size"; remove one of the two'),
        ({"profile": "larges"}, 'not one of its combinations; did you mean "large"?'),
        (
            {"env.SGLANG_X": ["a", "b"]},
            "an environment variable has one value; write the list as one string in the engine's format",
        ),
    ],
)
def test_mistakes_are_one_line_each(baseline: Any, message: str) -> None:
    assert refused(baseline) == [message]


def test_each_engine_has_its_own() -> None:
    spec = read(engine=None, parameters=None, engines=ENTRIES, parallelism={"tp": [1, 2]})
    assert [c.values for c in spec.references] == [
        {"engine": "vllm", "vllm.max-num-seqs": 128},
        {"engine": "sglang", "parallelism.tp": 2},
        {"engine": "plain"},
    ]
    assert spec.of_engine("sglang").references[0].values == {"parallelism.tp": 2}
    again = parse_study(render_study(spec), source="s", folder=Path("/")).spec
    assert [e.baseline for e in again.engines] == [e.baseline for e in spec.engines]
    [message] = refused({"vllm.max-num-seqs": 1}, engine=None, parameters=None, engines=ENTRIES[:1])
    assert message == "belongs to one engine; write it as baseline of that entry of engines"
