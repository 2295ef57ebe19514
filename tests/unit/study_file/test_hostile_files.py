"""Any content of a study file, a task or a site file is read, or rejected with problems of one line each."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autotuner.errors import MAX_SHOWN, UsageError
from autotuner.study_file import located_document
from autotuner.study_file.loader import parse_study
from autotuner.study_file.machine_settings import parse_settings, parse_site

NATIVE: dict[str, Any] = {
    "name": "s", "model": {"path": "m.gguf", "name": "m"},
    "engine": {"kind": "llama_cpp", "args": {"a": 1, "b": [1, 2]}, "env": {"A": "1"}}, "deploy": {"kind": "process"},
    "benchmark": "native", "parameters": {"threads": [1, 2], "batch-size": {"low": 1, "high": 8, "step": 1}},
    "quantization": {"gemm": "fp8"}, "parallelism": {"tp": [1, 2]},
    "constraints": ["threads <= 8 or batch-size > 2"],
    "workload": {
        "scenarios": ["D(8,8)", "N(8,2)/(4,1)", "U(1,8)/(1,4)", "dataset:d.jsonl"], "concurrency": [1, 4],
        "rates": [2, {"rate": 3, "arrivals": "gamma", "burstiness": 2}], "warmup": "1s", "duration": 2, "requests": 5,
        "seed": 1, "prefix_tokens": 0, "extra_body": {"a": {"b": [1, None]}}, "tokenizer": "t.json",
    },
    "objective": ["max output_throughput", {"metric": "ttft", "statistic": "p99"}],
    "slo": ["p99 ttft <= 200ms", {"metric": "tpot", "statistic": "p50", "at_most": "20ms", "hard": False}],
    "min_success_rate": "99%", "search": {"strategy": "grid", "trials": 5, "time": "1h"}, "confirm": {"repeats": 2},
}  # fmt: skip
OLDER: dict[str, Any] = {
    "task_name": "t", "deployment_mode": "local", "model": {"id_or_path": "m", "name": "n", "namespace": "x"},
    "base_runtime": "sglang", "parameters": {"tp": [1], "mem-frac": {"type": "choice", "values": [0.5]}},
    "quant_config": {"gemm_dtype": "auto", "kvcache_dtype": ["fp8"]}, "parallel_config": {"tp": 1, "dcp": 2},
    "optimization": {"strategy": "random", "objective": "maximize_throughput", "max_iterations": 4},
    "benchmark": {"task": "text-to-text", "traffic_scenarios": ["D(1,1)"], "num_concurrency": [1]},
    "slo": {"ttft": {"threshold": 1}, "latency": {"p99": {"threshold": 2, "hard_fail": True, "fail_ratio": 0.2}}},
    "deployment": {"ports": [1, 2]}, "runtime_image_tag": "v1", "clusterbasemodel_config": {"name": "x"},
}  # fmt: skip

ODD = st.sampled_from(
    [
        None, True, False, 0, -1, 1.5, -0.0, 10**18, 2**63, -(2**70), 10**30, 10**400, 1e308, 5e-324, float("inf"),
        float("-inf"), float("nan"), "", " ", "\0", "a\0b", "\ud800", "\x1b[31mred", "x" * 5000, "x/" * 3000,
        "9" * 5000,
        "1e400", "-1e400s", "1e400s", "nan", "inf", "D(0,0)", "D(" + "9" * 30 + ",1)", "N(-5,1)/(1,1)", "U(9,1)",
        "dataset:", "dataset:/dev/zero", "~nobody/x", "p99 ttft <= 1e999s", "max", "min p99.9 ttft at concurrency=0",
        "max goodput at rate=1e999", "p1000 ttft <= 1s", "a=b", "http://[", "*", "&a", "!x", "((" * 200,
        "not " * 300 + "a",
        [], {}, [[]], [{}], [None], {"": 1}, {"a=b": 1}, {"kind": []}, {"\0": 1}, {"low": 1, "high": 10**400},
        [1] * 3000,
        {"low": -1e308, "high": 1e308, "step": 1e-300}, {"low": 1, "high": 2**62, "log": True}, {"choices": []},
        {f"k{i}": 1 for i in range(300)}, list(range(3000)),
    ]
)  # fmt: skip


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value."""
    below = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(p for key, value in below for p in places(value, (*path, key)))]


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def read_or_rejected(text: str | dict[str, Any], source: str = "study.yaml") -> list[str]:
    """The problems; anything but ``UsageError`` fails the test."""
    try:
        parse_study(text, source=source, folder=Path("/nowhere"))
    except UsageError as error:
        lines = str(error).splitlines()
        assert 0 < len(lines) <= MAX_SHOWN + 1
        assert all(len(line) < 4000 and line.isprintable() for line in lines), lines
        return lines
    return []


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([(base, path) for base in (NATIVE, OLDER) for path in places(base)]),
    st.sampled_from([(base, path) for base in (NATIVE, OLDER) for path in places(base)]),
    ODD, ODD, st.booleans(),
)  # fmt: skip
def test_any_value_anywhere_is_read_or_rejected(
    first: tuple[Any, Any], second: tuple[Any, Any], odd: Any, other: Any, as_text: bool
) -> None:
    base, path = first
    data = changed(base, path, odd)
    if second[0] is base and len(path) > 0 and second[1][: len(path)] != path and path[: len(second[1])] != second[1]:
        data = changed(data, second[1], other)
    if not as_text and isinstance(data, dict):
        read_or_rejected(data)
        return
    try:
        text = json.dumps(data)
    except ValueError:  # an integer of more digits than Python writes
        return
    read_or_rejected(text, "study.json")
    read_or_rejected(text, "study.yaml")


def test_the_unchanged_files_are_valid() -> None:
    assert read_or_rejected(NATIVE) == []
    assert read_or_rejected(OLDER) == []


@pytest.mark.parametrize("base", [NATIVE, OLDER], ids=["native", "older"])
def test_every_kind_of_value_in_every_place(base: dict[str, Any]) -> None:
    for path in places(base)[1:]:
        for odd in (
            None,
            True,
            1.5,
            -1,
            "",
            "x",
            "\ud800",
            "\0",
            10**400,
            [],
            {},
            [[]],
            {"a": []},
            {"\ud800": 1},
            {"low": 1, "high": 10**400},
        ):
            read_or_rejected(changed(base, path, odd))


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.text(alphabet="ab:- \n\t#&*!|>'\"{}[],0189.%@`?\\\u00e9\ufeff\x00\x1b", max_size=120))
def test_any_text_is_read_or_rejected(text: str) -> None:
    for source in ("study.yaml", "study.json"):
        read_or_rejected(text, source)
    for read in (lambda: parse_site(text, "site.yaml"), lambda: parse_settings([f"a={text}"])):
        try:
            read()
        except UsageError:
            continue


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000, "{a: " * 5000, '{"a":' * 5000, "- " * 5000, "a: &x [1]\nb: *x\n", "a: " + "1" * 5000,
        '{"a": ' + "1" * 5000 + "}", '{"a": NaN}', '{"a": "\\ud800"}', "a: 1\na: 2\n", "? [a]\n: 1\n",
        "%YAML 9.9\n---\na: 1",
        "\ufeffname: x", "a: !!python/object:os.system x", "---\na: 1\n---\nb: 2\n", "\tname: x", "a: 'x",
        "a: |\n" + "x\n" * 9,
    ],
)  # fmt: skip
def test_texts_that_break_parsers_are_rejected(text: str) -> None:
    for source in ("study.yaml", "study.json"):
        assert read_or_rejected(text, source)


def test_many_problems_are_counted_and_not_printed() -> None:
    many = 15_000
    lines = read_or_rejected("\n".join(f"k{i}: 1" for i in range(many)))
    assert len(lines) == MAX_SHOWN + 1
    # four more: missing model, engine, workload and objective
    assert lines[-1] == f"and {many + 4 - MAX_SHOWN} more"
    flags = {**NATIVE, "workload": {**NATIVE["workload"], **{f"k{i}": 1 for i in range(5000)}}}
    assert read_or_rejected(flags)[-1] == f"and {5000 - MAX_SHOWN} more"


def test_an_enormous_file_is_rejected_at_the_limit() -> None:
    [line] = read_or_rejected("\n".join(f"k{i}: 1" for i in range(located_document.MAX_VALUES + 1)))
    assert str(located_document.MAX_VALUES) in line


def test_a_long_key_or_value_is_not_repeated_in_full() -> None:
    lines = read_or_rejected(json.dumps({**NATIVE, "x" * 100_000: 1, "objective": "y" * 100_000}))
    assert lines
    assert max(map(len, lines)) < 1000
