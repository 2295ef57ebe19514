"""Portable settings on every engine: each value and preset changes the command line or is refused with a reason."""

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.engines.shared.portable import check, expand, flags
from autotuner.engines.shared.portable_tables import TABLES
from autotuner.errors import Problem, UsageError
from autotuner.study.base import Value
from autotuner.study.parameters.portable import PRESET, SECTIONS, is_left_out, is_portable, plain, vocabulary_problem
from support.engine_cases import Refused
from support.engine_cases.portable import REFUSED

KINDS = sorted(TABLES)
PAGE = (Path(__file__).parents[4] / "docs/reference/study-file.md").read_text()
NAMES = [f"{s}.{key}" for s, section in SECTIONS.items() for key in (*section.keys, PRESET)]
UNSET = {("quantization", "default")}
"""Presets that by definition set nothing."""


def every(section: str, key: str) -> tuple[Value, ...]:
    if key == PRESET:
        return SECTIONS[section].presets
    return SECTIONS[section].keys[key] or (1, 2, 8)


def refused(kind: str, values: Mapping[str, Value]) -> tuple[Problem, ...]:
    with pytest.raises(UsageError) as caught:
        expand(kind, values)
    return caught.value.problems


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("sglang", {"parallelism.tp": 4, "parallelism.dp": 2}, {"tp-size": 4, "dp-size": 2}),
        ("sglang", {"quantization.gemm": "fp8", "quantization.kv-cache": "fp8_e5m2"},
         {"quantization": "fp8", "kv-cache-dtype": "fp8_e5m2"}),
        ("sglang", {"quantization.kv-cache": "fp8", "quantization.attention": "fp8"},
         {"kv-cache-dtype": "fp8_e4m3", "attention-backend": "fa3"}),
        ("sglang", {"quantization.gemm": "bf16", "quantization.moe": "w4afp8"},
         {"dtype": "bfloat16", "quantization": "w4afp8"}),
        ("vllm", {"quantization.gemm": "fp8", "quantization.moe": "fp8"}, {"quantization": "fp8_per_tensor"}),
        ("vllm", {"quantization.moe": "int8"},
         {"quantization": "online", "quantization-config": '{"moe": "int8_per_channel_weight_only"}'}),
        ("vllm", {"quantization.gemm": "fp8", "quantization.moe": "nvfp4"},
         {"quantization": "fp8_per_tensor", "quantization-config": '{"moe": "nvfp4_per_token"}'}),
        ("vllm", {"quantization.kv-cache": "int4"}, {"kv-cache-dtype": "int4_per_token_head"}),
        ("vllm", {"parallelism.tp": 2, "parallelism.dp": 4, "parallelism.ep": 8},
         {"tensor-parallel-size": 2, "data-parallel-size": 4, "enable-expert-parallel": True}),
        ("vllm", {"parallelism.ep": 4, "tensor-parallel-size": 4},
         {"tensor-parallel-size": 4, "enable-expert-parallel": True}),
        ("vllm", {"parallelism.tp": 2, "parallelism.ep": 1}, {"tensor-parallel-size": 2}),
        ("tensorrt_llm", {"parallelism.tp": 8, "parallelism.ep": 4, "quantization.kv-cache": "fp8_e4m3"},
         {"tp-size": 8, "ep-size": 4, "kv-cache-dtype": "fp8"}),
        ("sglang", {"quantization.preset": "kv-cache-fp8", "quantization.kv-cache": "auto"}, {}),
        ("sglang", {"quantization.preset": "dynamic-fp8", "quantization.gemm": "bfloat16"},
         {"dtype": "bfloat16", "kv-cache-dtype": "fp8_e5m2"}),
        ("vllm", {"parallelism.preset": "long-context", "parallelism.tp": 8, "tp": 2},
         {"tp": 2, "pipeline-parallel-size": 1, "data-parallel-size": 1, "decode-context-parallel-size": 4}),
        ("sglang", {"tensor-parallel-size": 2, "parallelism.tp": 4, "x": None}, {"tensor-parallel-size": 2, "x": None}),
        ("sglang", {"parallelism.tp": None, "quantization.gemm": "auto"}, {}),
    ],
)  # fmt: skip
def test_expansion(kind: str, values: dict[str, Value], expected: dict[str, Value]) -> None:
    assert expand(kind, values) == expected


@pytest.mark.parametrize(("kind", "refused_values"), REFUSED)
def test_refused_values(kind: str, refused_values: Refused) -> None:
    (problem,) = refused(kind, refused_values.values)
    assert problem.where == refused_values.where
    assert problem.value == str(refused_values.values[refused_values.where.replace("_", "-")]).lower()
    assert all(fact in f"{problem.why}; {problem.remedy}" for fact in refused_values.facts)


def test_all_refused_values_are_reported_at_once() -> None:
    found = refused("vllm", {"quantization.attention": "fp8", "quantization.moe": "w4afp8", "parallelism.tp": 0})
    assert [p.where for p in found] == ["quantization.attention", "quantization.moe", "parallelism.tp"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("section", "name"), [(s, p) for s, found in SECTIONS.items() for p in found.presets])
def test_every_preset_changes_the_command_line_or_is_refused(kind: str, section: str, name: str) -> None:
    values: dict[str, Value] = {f"{section}.{PRESET}": name}
    if name not in TABLES[kind].presets[section]:
        (problem,) = refused(kind, values)
        assert (problem.where, problem.value) == (f"{section}.{PRESET}", name)
        assert set(TABLES[kind].presets[section]) & set(re.findall(r"[\w-]+", problem.remedy))
        assert check(kind, f"{section}.{PRESET}", name) == [problem]
        return
    found = expand(kind, values)
    assert not any(is_portable(flag) or value is None for flag, value in found.items())
    assert bool(found) is ((section, name) not in UNSET)
    if name == "single-gpu":
        assert set(found.values()) == {1}, "one GPU is set explicitly"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("section", SECTIONS)
def test_presets_of_one_engine_differ(kind: str, section: str) -> None:
    found = [
        json.dumps(expand(kind, {f"{section}.{PRESET}": n}), sort_keys=True) for n in TABLES[kind].presets[section]
    ]
    assert len(set(found)) == len(found)
    assert set(TABLES[kind].presets[section]) <= set(SECTIONS[section].presets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [n for n in NAMES if not n.endswith(PRESET)])
def test_no_value_is_dropped_silently(kind: str, name: str) -> None:
    """Alone, each value means "leave it out", sets a flag, or is refused; 1 is the default of every engine."""
    section, _, key = name.partition(".")
    for value in every(section, key):
        try:
            found = expand(kind, {name: value})
        except UsageError:
            continue
        assert bool(found) or is_left_out(value) or value == 1, (name, value)
        assert set(found) <= flags(kind, name)


@pytest.mark.parametrize("kind", KINDS)
def test_all_pairs_of_formats_are_expressed_or_refused(kind: str) -> None:
    """Of two settings, none is lost: removing one changes the flags, unless the other implies it."""
    keys = [f"quantization.{key}" for key in SECTIONS["quantization"].keys]
    for one, other in itertools.combinations(keys, 2):
        for a, b in itertools.product(*(every(*n.split(".")) for n in (one, other))):
            try:
                both = expand(kind, {one: a, other: b})
            except UsageError:
                continue
            alone = [expand_or_none(kind, {one: a}), expand_or_none(kind, {other: b})]
            for found in alone:
                assert found is None or found.items() <= both.items() or found.get("quantization") == "online"
            if not is_left_out(a) and not is_left_out(b):
                assert len(both) > 1 or plain(a) == plain(b), (a, b, both)


def expand_or_none(kind: str, values: dict[str, Value]) -> dict[str, Value] | None:
    try:
        return expand(kind, values)
    except UsageError:
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_tables_use_only_portable_names_and_values(kind: str) -> None:
    table = TABLES[kind]
    assert set(table.quantization) == set(SECTIONS["quantization"].keys)
    assert set(table.parallelism) == set(SECTIONS["parallelism"].keys)
    for key, rules in table.quantization.items():
        assert not [v for v in rules if vocabulary_problem(f"quantization.{key}", v)]
        for rule in itertools.chain.from_iterable(rules.values()):
            for other, values in rule.when.items():
                assert set(values) <= set(table.quantization[other])
    for section, presets in table.presets.items():
        for preset in presets.values():
            assert not [k for k, v in preset.keys.items() if check(kind, f"{section}.{k}", v)]


portable = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from([*every(*name.split(".")), *([] if name.endswith(PRESET) else [None])]) for name in NAMES
    },
)
own = st.dictionaries(
    st.sampled_from(["tp-size", "tensor-parallel-size", "quantization", "dtype", "x"]), st.integers(1, 9)
)


@given(st.sampled_from(KINDS), portable, own)
def test_own_flags_take_precedence_and_no_portable_name_remains(
    kind: str, values: dict[str, Value], given_flags: dict[str, Value]
) -> None:
    try:
        found = expand(kind, {**values, **given_flags})
    except UsageError as error:
        assert all(p.why and "\n" not in str(p) for p in error.problems)  # noqa: PT017
        return
    assert {n: found[n] for n in given_flags} == given_flags
    assert not any(map(is_portable, found))
    assert all(not check(kind, name, value) for name, value in values.items())
    assert set(found) - set(given_flags) <= {f for name in values for f in flags(kind, name)}
    assert expand(kind, found) == found


def gpus(kind: str, keys: Mapping[str, Value]) -> int:
    """GPUs of one server, by the formula of each engine."""
    spans = {"sglang": ("tp", "pp", "dp"), "vllm": ("tp", "pp", "dp", "cp"), "tensorrt_llm": ("tp", "pp", "cp")}[kind]
    total = 1
    for key in spans:
        total *= int(keys.get(key) or 1)
    return total


def test_the_reference_page_has_the_tables() -> None:
    """Compares the tables of the page with the data, cell by cell."""
    assert re.search(r"SGLang 0\.5\.23, vLLM 0\.32\.0", PAGE)
    rows = {tuple(c.strip() for c in line.strip("|").split("|")) for line in PAGE.splitlines() if line.startswith("| ")}
    for key in SECTIONS["quantization"].keys:
        cells = [", ".join(f"`{v}`" for v in TABLES[k].quantization[key]) for k in ("sglang", "vllm", "tensorrt_llm")]
        assert (f"`{key.replace('-', '_')}`", *cells) in rows
    for section, names in SECTIONS.items():
        for name in names.presets:
            cells = [_shown(k, section, name) for k in ("sglang", "vllm", "tensorrt_llm")]
            assert (f"`{name}`", *cells) in rows, (f"| `{name}` |", " | ".join(cells))


def _shown(kind: str, section: str, name: str) -> str:
    preset = TABLES[kind].presets[section].get(name)
    if preset is None:
        return "not supported"
    parts = [f"{k.replace('-', '_')} {v}" for k, v in preset.keys.items()]
    parts += [f"{k} {'on' if v is True else v}" for k, v in preset.flags.items()]
    text = ", ".join(f"`{p}`" for p in parts) or "nothing"
    return f"{gpus(kind, preset.keys)}: {text}" if section == "parallelism" else text
