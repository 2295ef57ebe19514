"""Study files read into a spec: forms, defaults, and the lines of problems."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.cli.exit_codes import ExitCode, of_error
from autotuner.errors import Problem, UsageError
from autotuner.study.parameters.parameter import Choices, FloatRange, IntRange
from autotuner.study.search.stopping import StopRule
from autotuner.study.spec import EngineSpec, StudySpec
from autotuner.study.workload import Arrivals, Concurrency, RequestRate
from autotuner.study_file.default_name import default_name
from autotuner.study_file.loader import LoadedStudy, parse_study
from autotuner.study_file.located_document import MAX_DEPTH, MAX_VALUES, core_value, read_text
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "model": "m.gguf",
    "engine": "llama_cpp",
    "parameters": {"threads": [1, 2]},
    "workload": {"scenarios": "D(128,48)", "concurrency": [1, 8]},
    "objective": "max output_throughput",
}


def load(text: str | dict[str, Any], source: str = "s.yaml", **options: Any) -> LoadedStudy:
    return parse_study(text, source=source, folder=Path("/here"), **options)


def spec_of(**changes: Any) -> StudySpec:
    return load({**BASE, **changes}).spec


def problems_of(text: str | dict[str, Any], source: str = "s.yaml", **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(UsageError) as caught:
        load(text, source, **options)
    assert of_error(caught.value) is ExitCode.USAGE
    return caught.value.problems


@pytest.mark.parametrize(
    ("source", "folder", "name"),
    [
        ("/a/llama/study.yaml", "/a/llama", "llama-study"),
        ("qwen.yaml", "/a/my studies!", "my-studies-qwen"),
        ("/a/qwen/qwen.yaml", "/a/qwen", "qwen"),
        ("/study.yaml", "/", "study"),
        ("..yaml", "/...", "study"),
        (f"{'f' * 60}.yaml", "/folder", f"folder-{'f' * 56}"),
    ],
)
def test_the_name_of_a_study_whose_file_gives_none(source: str, folder: str, name: str) -> None:
    assert default_name(source, Path(folder)) == name
    assert StudySpec.model_validate({**spec_of().model_dump(), "name": name})


def test_a_study_knows_whether_the_user_named_it() -> None:
    text = json.dumps(BASE)
    assert not load(text).named
    assert load(json.dumps({**BASE, "name": "mine"})).named
    assert load(text, overrides=["name=mine"]).named


def test_a_study_in_short_forms() -> None:
    spec = load("""
model: m.gguf
engine: {kind: llama_cpp, args: {ctx-size: 8192}, binary: /bin/x}
parameters:
  threads: [1, 2]
  batch-size: {low: 32, high: 512, log: true}
  temp: {low: 0.5, high: 0.9, step: 0.1}
constraints: threads <= cpus
workload: {scenarios: "N(128, 32) / (48,12)", concurrency: 4, rates: [2, {rate: 4, arrivals: constant}], warmup: 500ms}
objective: min p99 ttft at concurrency=4
slo: [p99 ttft <= 200ms, success_rate >= 99%, ttft <= 1.5 s]
search: {strategy: grid, trials: 5, time: 10m, shuffle: true, stop: 3%}
""").spec
    assert spec.name == "here-s", "many files have the same name"
    assert (spec.engine.args, spec.engine.settings) == ({"ctx-size": 8192}, {"binary": "/bin/x"})
    assert [p.domain for p in spec.parameters] == [
        Choices(values=(1, 2)),
        IntRange(low=32, high=512, log=True),
        FloatRange(low=0.5, high=0.9, step=0.1),
    ]
    assert spec.workload.scenarios[0].text == "N(128,32)/(48,12)"
    assert spec.workload.levels == (
        Concurrency(in_flight=4),
        RequestRate(rate=2),
        RequestRate(rate=4, arrivals=Arrivals.CONSTANT),
    )
    assert spec.workload.warmup_s == 0.5
    assert [s.text for s in spec.slos] == ["p99 ttft <= 200ms", "success_rate >= 0.99", "ttft <= 1500ms"]
    assert (spec.search.kind, spec.search.time_s, spec.search.settings["shuffle"]) == ("grid", 600.0, True)
    assert spec.search.stop == StopRule(remaining_gain=0.03, confidence=0.95)
    assert (spec.deploy.kind, spec.benchmark.kind, spec.confirm.adaptive) == ("process", "native", True)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("true", True), ("False", False), ("null", None),
        ("~", None), ("08", 8), ("0x10", 16), ("0o10", 8), ("1_000", "1_000"), ("1e3", 1000.0), ("0.80", 0.8),
        ("1.5.0", "1.5.0"), ("2026-01-01", "2026-01-01"), ("12:30:45", "12:30:45"), (".inf", ".inf"),
        ("1e999", "1e999"),
        ('"08"', "08"), ("'true'", "true"), ("'a b, {\"c\": 1}'", 'a b, {"c": 1}'), ("-ngl", "-ngl"), ("0b1", "0b1"),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema(written: str, value: object) -> None:
    text = f"a:\n- {written}\n"
    [found] = read_text(text, "x.yaml").data["a"]
    assert (type(found), found) == (type(value), value)


@given(st.text(max_size=30))
def test_a_scalar_never_raises(text: str) -> None:
    core_value(text)


@given(st.text(max_size=80) | st.text("{}[]:,-\n \t\"'&*!#|>a1", max_size=80))
def test_any_text_is_a_study_or_a_usage_error(text: str) -> None:
    for source in ("x.yaml", "x.json"):
        with pytest.raises(UsageError):
            load(text, source)


words = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
"""Text without NUL, which is rejected everywhere."""
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(words, json_values, max_size=4), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_is_read_as_json_reads_it(data: dict[str, Any], indent: Any, ascii_only: bool) -> None:
    text = json.dumps(data, indent=indent, ensure_ascii=ascii_only)
    document = read_text(text, "x.json")
    assert document.data == data
    assert not document.problems


@given(st.dictionaries(st.sampled_from([*BASE, "slo", "search", "name", "confirm"]), json_values, max_size=4))
def test_any_value_under_any_key_is_a_spec_or_problems(changes: dict[str, Any]) -> None:
    try:
        found = spec_of(**changes)
    except UsageError as error:
        assert all("\n" not in str(problem) for problem in error.problems)  # noqa: PT017
    else:
        assert found.workload.levels


@pytest.mark.parametrize("source", ["s.yaml", "s.json"])
def test_nesting_is_limited(source: str) -> None:
    (problem,) = problems_of('{"a":' + "[" * 5000 + "]" * 5000 + "}", source)
    assert str(MAX_DEPTH) in problem.why


def test_size_is_limited() -> None:
    (problem,) = problems_of("a" * ((1 << 20) + 1))
    assert problem.where == "s.yaml"
    assert "1 MiB" in problem.why
    (problem,) = problems_of("a: [" + "1," * 60_000 + "]")
    assert str(MAX_VALUES) in problem.why


def test_all_problems_at_once_each_with_its_line() -> None:
    found = problems_of("""model: m
engine: llama_cpp
parameters:
  threads: 4
  tp-size:
    - 1
    - 1
workload:
  scenarios: D(1,1)
  concurrency:
    - 1
    - 0
  warmpu: 2s
objective: max ttft
slo:
  - p99 ttft <= 200
trials: 4
""")
    assert [problem.where for problem in found] == [
        "s.yaml:17 trials",
        "s.yaml:4 parameters.threads",
        "s.yaml:5 parameters.tp-size",
        "s.yaml:12 workload.concurrency[1]",
        "s.yaml:13 workload.warmpu",
        "s.yaml:14 objective",
        "s.yaml:16 slo[0]",
    ]


def test_flags_have_the_names_of_the_engine_s_catalog() -> None:
    def canonical_of(_: EngineSpec) -> Callable[[str], str]:
        return lambda name: {"c": "ctx-size"}.get(name.lstrip("-"), name.lstrip("-").replace("_", "-"))

    spec = load({**BASE, "parameters": {"-c": [1]}, "constraints": "c < 2"}, canonical_of=canonical_of).spec
    assert spec.parameters[0].name == "ctx-size"
    assert spec.constraints == ("ctx-size < 2",)
    both = {**BASE, "parameters": {"c": [1]}, "engine": {"kind": "x", "args": {"ctx_size": 2}}}
    (problem,) = problems_of(both, canonical_of=canonical_of)
    assert problem.where == "s.yaml parameters.c"
    assert "engine.args.ctx_size" in problem.why


def test_an_unknown_engine_does_not_hide_other_problems() -> None:
    def canonical_of(spec: EngineSpec) -> Callable[[str], str]:
        raise UsageError(Problem(where="engine.kind", value=spec.kind, why="unknown kind"))

    text = "model: m\nengine: sglnag\nworkload: {scenarios: 'D(1,1)', concurrency: 0}\nobjective: max goodput\n"
    found = problems_of(text, canonical_of=canonical_of)
    assert {p.where: p.value for p in found} == {"s.yaml:3 workload.concurrency": "0", "s.yaml:2 engine.kind": "sglnag"}


def test_paths_are_relative_to_the_file_only_if_they_exist() -> None:
    there = {Path("/here/m.gguf"), Path("/here/data.jsonl")}
    workload = {"scenarios": "dataset:data.jsonl", "concurrency": 1, "tokenizer": "org/name"}
    spec = load({**BASE, "workload": workload}, exists=there.__contains__).spec
    assert spec.model.path == "/here/m.gguf"
    assert (spec.workload.scenarios[0].text, spec.workload.scenarios[0].dataset) == (
        "dataset:data.jsonl",
        "/here/data.jsonl",
    )
    assert spec.workload.tokenizer == "org/name"
    mix = load(
        {**BASE, "workload": {**workload, "scenarios": "mix:D(8,8) + dataset:data.jsonl"}}, exists=there.__contains__
    )
    (scenario,) = mix.spec.workload.scenarios
    assert (scenario.text, scenario.parts[1].dataset) == ("mix:1 D(8,8) + 1 dataset:data.jsonl", "/here/data.jsonl")
    assert "1 dataset:/here/data.jsonl" in render_study(mix.spec)


def test_no_secret_is_shown() -> None:
    found = problems_of({**BASE, "deploy": [{"api_key": "hunter2"}], "engine": {"kind": 1, "env": {"T": ["hunter2"]}}})
    assert found
    assert not any("hunter2" in str(problem) for problem in found)
