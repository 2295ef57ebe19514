"""From a study file's text to a spec: forms, defaults, lines, and one exact line for each mistake."""

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
from autotuner.study.spec import EngineSpec, StudySpec
from autotuner.study.workload import Arrivals, Concurrency, RequestRate
from autotuner.study_file.default_name import default_name
from autotuner.study_file.loader import LoadedStudy, parse_study
from autotuner.study_file.located_document import MAX_DEPTH, MAX_VALUES, core_value, read_text

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


def lines_of(text: str | dict[str, Any], source: str = "s.yaml", **options: Any) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load(text, source, **options)
    assert of_error(caught.value) is ExitCode.USAGE
    return str(caught.value).splitlines()


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


def test_whether_a_person_chose_the_name() -> None:
    text = json.dumps(BASE)
    assert not load(text).named
    assert load(json.dumps({**BASE, "name": "mine"})).named
    assert load(text, overrides=["name=mine"]).named


def test_ten_lines_are_a_study() -> None:
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
search: {strategy: grid, trials: 5, time: 10m, shuffle: true}
""").spec
    assert spec.name == "here-s", "the file's name alone would be that of many"
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
    assert (spec.deploy.kind, spec.benchmark.kind, spec.confirm.repeats) == ("process", "native", 3)


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
def test_values_follow_the_core_schema_and_strings_are_untouched(written: str, value: object) -> None:
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
"""NUL is refused wherever it stands."""
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
    assert f"nested more than {MAX_DEPTH} deep" in lines_of('{"a":' + "[" * 5000 + "]" * 5000 + "}", source)[0]


def test_size_is_limited() -> None:
    assert lines_of("a" * ((1 << 20) + 1))[0].startswith("s.yaml: larger than 1 MiB")
    assert f"more than {MAX_VALUES} values" in lines_of("a: [" + "1," * 60_000 + "]")[0]


def test_all_problems_at_once_each_with_its_line() -> None:
    found = lines_of("""model: m
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
    assert [line.split(" ")[0:2] for line in found] == [
        ["s.yaml:17", "trials:"],
        ["s.yaml:4", "parameters.threads"],
        ["s.yaml:5", "parameters.tp-size"],
        ["s.yaml:12", "workload.concurrency[1]"],
        ["s.yaml:13", "workload.warmpu:"],
        ["s.yaml:14", "objective"],
        ["s.yaml:16", "slo[0]"],
    ]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"engin": 1}, 's.yaml engin: unknown key; did you mean "engine"?'),
    ({"model": 3}, "s.yaml model = 3: must be text or a mapping"),
    ({"model": {"path": "m", "pth": "m"}}, 's.yaml model.pth: unknown key; did you mean "path"?'),
    ({"engine": {"kind": "x", "arg": {}}}, 's.yaml engine.arg: unknown key; did you mean "args"?'),
    ({"engine": {"kind": "x", "env": {"A": {"b": 1}}}},
     "s.yaml engine.env.A = (hidden): must be text; put it in quotes"),
    ({"name": "a b"},
     "s.yaml name = a b: not a name; use letters, digits, dots, underscores and hyphens, at most 63"),
    ({"parameters": {"a": 4}},
     "s.yaml parameters.a = 4: must be a list or a range; write [a, b], or put a fixed value under engine.args"),
    ({"parameters": {"a": []}}, "s.yaml parameters.a = []: the list is empty; give at least one value"),
    ({"parameters": {"a": [1, 2, 1]}}, "s.yaml parameters.a = [1, 2, 1]: 1 is in the list twice; remove one"),
    ({"parameters": {"a": {"low": 3, "hihg": 4}}}, 's.yaml parameters.a.hihg: unknown key; did you mean "high"?'),
    ({"parameters": {"a": {"low": 4, "high": 3}}},
     "s.yaml parameters.a = {low, high}: low 4 is above high 3; swap them"),
    ({"parameters": {"a": {"low": 0, "high": 8, "log": True}}},
     "s.yaml parameters.a = {low, high, log}: log needs low above 0 and no step; leave one of them out"),
    ({"parameters": {"a": {"low": 1, "high": 10**9}}},
     "s.yaml parameters.a = {low, high}: more than 100000 values; use a larger step"),
    ({"parameters": {"a": {"low": 1, "high": 2, "choices": [1]}}},
     "s.yaml parameters.a = {low, high, choices}: has both choices and a range; keep one of them"),
    ({"parameters": {"tp-size": [1], "tp_size": [2]}},
     's.yaml parameters.tp_size: the same parameter as "tp-size"; remove one of the two'),
    ({"parameters": {"a b": [1]}},
     "s.yaml parameters.a b = a b: not a flag's name; write it as the engine does: tp-size"),
    ({"engine": {"kind": "x", "args": {"threads": 1}}},
     "s.yaml parameters.threads: both tuned and fixed (engine.args.threads); remove one of the two"),
    ({"constraints": "threads = 1"},
     's.yaml constraints = threads = 1: column 9: unexpected "="; write == for equality'),
    ({"constraints": ["1 < 2"]}, "s.yaml constraints[0] = 1 < 2: names no parameter; leave it out"),
    ({"objective": "min ttft"},
     "s.yaml objective = min ttft: ttft has one value a request, so it needs a statistic; "
     "write e.g. min p50 ttft or min p99 ttft"),
    ({"objective": "max p99 ttft"}, "s.yaml objective = max p99 ttft: lower ttft is better; write min"),
    ({"objective": "max p99 goodput"},
     "s.yaml objective = max p99 goodput: goodput has one value a window and takes no statistic; leave p99 out"),
    ({"objective": "min p99 tttf"}, 's.yaml objective = min p99 tttf: unknown metric "tttf"; did you mean "ttft"?'),
    ({"objective": "fast"},
     's.yaml objective = fast: not an objective; '
     'write e.g. "max output_throughput" or "min p99 ttft at concurrency=8"'),
    ({"objective": "min p99 ttft at concurrency=9"},
     "s.yaml objective = min p99 ttft at concurrency=9: no load level concurrency=9; "
     "the workload has concurrency=1, concurrency=8"),
    ({"objective": ["max goodput", "min p99 ttft for D(1,1)"]},
     "s.yaml objective[1] = min p99 ttft for D(1,1): no scenario D(1,1); the workload has D(128,48)"),
    ({"objective": []}, "s.yaml objective = []: list should have at least 1 item after validation, not 0"),
    ({"slo": "p99 ttft <= 200"}, "s.yaml slo = p99 ttft <= 200: 200 of what; write the unit, e.g. 200ms or 200s"),
    ({"slo": "p99 ttft < 1s"}, 's.yaml slo = p99 ttft < 1s: "<" is no bound; write <= or >='),
    ({"slo": "p98 ttft <= 1s"}, 's.yaml slo = p98 ttft <= 1s: unknown statistic "p98"; did you mean "p99"?'),
    ({"slo": "p99 ttft >= 1s"},
     "s.yaml slo = p99 ttft >= 1s: lower ttft is better, so this bound keeps good results out; write <="),
    ({"slo": {"metric": "ttft", "at_most": 1}},
     "s.yaml slo = {metric, at_most}: 1 of what; write the unit, e.g. 1ms or 1s"),
    ({"slo": {"metric": "ttft", "at_mots": "1s"}}, 's.yaml slo.at_mots: unknown key; did you mean "at_most"?'),
    ({"slo": {"metric": "ttft"}},
     "s.yaml slo = {metric}: needs exactly one of at_most, at_least and threshold"),
    ({"min_success_rate": "101%"}, "s.yaml min_success_rate = 101%: above 1; write 0.99 or 99%"),
    ({"search": {"trails": 3}}, 's.yaml search.trails: unknown key; did you mean "trials"?'),
    ({"search": {"kind": "grid"}}, 's.yaml search.kind: unknown key; did you mean "strategy"?'),
    ({"search": {"trials": 0}}, "s.yaml search.trials = 0: must be greater than or equal to 1"),
    ({"search": {"time": "10x"}},
     "s.yaml search.time = 10x: not a duration; write e.g. 500ms, 2s, 5m, 1h, or seconds as a number"),
    ({"confirm": {"repeat": 3}}, 's.yaml confirm.repeat: unknown key; did you mean "repeats"?'),
]  # fmt: skip

BAD_WORKLOADS: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": [1, 1]}, "s.yaml workload = {scenarios, concurrency}: has a load level twice; remove one"),
    ({"concurrency": []},
     "s.yaml workload = {scenarios, concurrency}: has no load level; add concurrency, e.g. [1, 8], or rates"),
    ({"concurrency": True}, "s.yaml workload.concurrency = true: must be a valid integer"),
    ({"scenarios": "E(64)"},
     "s.yaml workload.scenarios = E(64): embeddings are not measured here, only text generation; "
     "write D(in,out), N(mean,std)/(mean,std), U(min,max)/(min,max) or dataset:FILE"),
    ({"scenarios": "D(0,1)"},
     "s.yaml workload.scenarios = D(0,1): a length must be at least 1 token; prompts and answers cannot be empty"),
    ({"scenarios": "U(9,2)/(1,2)"},
     "s.yaml workload.scenarios = U(9,2)/(1,2): the smallest length, 9, is above the largest, 2; swap them"),
    ({"rates": {"rate": 1, "burstiness": 2}},
     "s.yaml workload.rates = {rate, burstiness}: burstiness is the shape of gamma arrivals; add arrivals: gamma"),
    ({"warmpu": "2s"}, 's.yaml workload.warmpu: unknown key; did you mean "warmup"?'),
    ({"scenarios": ["D(8,8)", "dataset:d.jsonl"], "prefix_tokens": 64},
     "s.yaml workload.prefix_tokens = 64: cannot be added to the prompts of dataset:d.jsonl; "
     "remove it, or put the prefix into the dataset"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "line"), [*BAD, *(({"workload": {**BASE["workload"], **w}}, line) for w, line in BAD_WORKLOADS)]
)
def test_one_exact_line_for_each_mistake(changes: dict[str, Any], line: str) -> None:
    assert lines_of({**BASE, **changes}) == [line]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\na: 2", "s.yaml:2 a: written twice (first in line 1); remove one of the two"),
        ("a: &x [1]", "s.yaml:1: anchors and aliases are not used here; write the value out"),
        ("a: !!python/object:os.system x", None),
        ("- 1", "s.yaml:1: must be a mapping of keys to values; autotuner init writes an example"),
        ("", "s.yaml: the file is empty; autotuner init writes an example"),
        ("a: [1\nb: 2", "s.yaml:2: not valid YAML: expected ',' or ']', but got ':'"),
        ("a: 1\n---\nb: 2", "s.yaml:2: a second document; one file, one study"),
    ],
)
def test_what_is_no_study_file(text: str, line: str | None) -> None:
    first = lines_of(text)[0]
    assert first == line if line else "is not used here" in first


def test_json_mistakes_have_lines() -> None:
    assert lines_of('{"a": 1,\n "b": }', "x.json") == ["x.json:2: not valid JSON: expecting value"]
    assert lines_of('{"a": 1,\n "a": 2}', "x.json")[0].startswith("x.json:2 a: written twice (first in line 1)")


def test_the_engine_gives_the_names() -> None:
    def canonical_of(_: EngineSpec) -> Callable[[str], str]:
        return lambda name: {"c": "ctx-size"}.get(name.lstrip("-"), name.lstrip("-").replace("_", "-"))

    spec = load({**BASE, "parameters": {"-c": [1]}, "constraints": "c < 2"}, canonical_of=canonical_of).spec
    assert spec.parameters[0].name == "ctx-size"
    assert spec.constraints == ("ctx-size < 2",)
    both = {**BASE, "parameters": {"c": [1]}, "engine": {"kind": "x", "args": {"ctx_size": 2}}}
    assert "both tuned and fixed (engine.args.ctx_size)" in lines_of(both, canonical_of=canonical_of)[0]


def test_an_unknown_engine_is_a_line_beside_the_others() -> None:
    def canonical_of(spec: EngineSpec) -> Callable[[str], str]:
        raise UsageError(Problem(where="engine.kind", value=spec.kind, why="unknown kind"))

    text = "model: m\nengine: sglnag\nworkload: {scenarios: 'D(1,1)', concurrency: 0}\nobjective: max goodput\n"
    found = lines_of(text, canonical_of=canonical_of)
    assert found == [
        "s.yaml:3 workload.concurrency = 0: must be greater than or equal to 1",
        "s.yaml:2 engine.kind = sglnag: unknown kind",
    ]


def test_paths_are_relative_to_the_file_only_where_something_is_there() -> None:
    there = {Path("/here/m.gguf"), Path("/here/data.jsonl")}
    workload = {"scenarios": "dataset:data.jsonl", "concurrency": 1, "tokenizer": "org/name"}
    spec = load({**BASE, "workload": workload}, exists=there.__contains__).spec
    assert spec.model.path == "/here/m.gguf"
    assert (spec.workload.scenarios[0].text, spec.workload.scenarios[0].dataset) == (
        "dataset:data.jsonl",
        "/here/data.jsonl",
    )
    assert spec.workload.tokenizer == "org/name"


def test_no_secret_is_shown() -> None:
    found = lines_of({**BASE, "deploy": [{"api_key": "hunter2"}], "engine": {"kind": 1, "env": {"T": ["hunter2"]}}})
    assert found
    assert not any("hunter2" in line for line in found)
