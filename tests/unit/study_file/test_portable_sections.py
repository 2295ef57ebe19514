"""Portable sections: their parameters, and reading back what was written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.errors import UsageError
from autotuner.study.base import Value
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, IntRange
from autotuner.study.parameters.portable import PRESET, SECTIONS, SPELLINGS, file_path, is_portable
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "model": "m",
    "engine": {"kind": "sglang", "args": {"mem-fraction-static": 0.8}},
    "parameters": {"chunked-prefill-size": [512, 1024]},
    "workload": {"scenarios": "D(128,48)", "concurrency": 1},
    "objective": "max output_throughput",
}
PAGE = (Path(__file__).parents[3] / "docs/reference/study-file.md").read_text()


def load(text: str | dict[str, Any]) -> StudySpec:
    return parse_study(text, source="s.yaml", folder=Path("/here")).spec


def test_the_form_in_the_reference() -> None:
    shown = next(part for part in PAGE.split("```") if part.startswith("yaml\nparallelism"))
    text = shown.removeprefix("yaml\n") + "".join(f"{k}: {v}\n" for k, v in BASE.items() if k != "engine")
    spec = load(text + "engine: {kind: sglang, args: {mem-fraction-static: 0.8}}\n")
    assert spec.engine.args == {"mem-fraction-static": 0.8, "parallelism.dp": 1, "quantization.gemm": "fp8"}
    assert [(p.name, p.domain.grid()) for p in spec.parameters] == [
        ("chunked-prefill-size", (512, 1024)),
        ("quantization.kv-cache", ("auto", "fp8_e5m2")),
        ("parallelism.tp", (1, 2, 4)),
    ]
    assert "\nparallelism: {tp: [1, 2, 4], dp: 1}\n" not in render_study(load(BASE))
    assert "\nparallelism: {dp: 1, tp: [1, 2, 4]}\n" in render_study(spec)
    assert "\nquantization: {gemm: fp8, kv_cache: [auto, fp8_e5m2]}\n" in render_study(spec)


def test_short_forms_presets_ranges_and_null() -> None:
    spec = load(
        {**BASE, "quantization": "dynamic-fp8", "parallelism": {"preset": ["single-gpu", "balanced"], "pp": None}}
    )
    assert spec.engine.args["quantization.preset"] == "dynamic-fp8"
    assert spec.engine.args["parallelism.pp"] is None
    assert spec.parameters[-1].name == "parallelism.preset"
    assert "\nquantization: dynamic-fp8\n" in render_study(spec)
    ranged = load({**BASE, "parallelism": {"tp": {"low": 1, "high": 8, "log": True}}})
    assert ranged.parameters[-1].domain == IntRange(low=1, high=8, log=True)


def test_lines_point_into_the_section() -> None:
    text = "quantization:\n  gemm: fp8\n  kv_cache:\n    - auto\n    - fp9\n" + "".join(
        f"{k}: {v}\n" for k, v in BASE.items()
    )
    with pytest.raises(UsageError) as caught:
        load(text)
    (problem,) = caught.value.problems
    assert (problem.where, problem.value) == ("s.yaml:5 quantization.kv_cache[1]", "fp9")


def test_constraints_name_them_in_either_spelling() -> None:
    text = "parallelism.tp * parallelism.pp <= gpus and quantization.kv_cache != 'fp8'"
    spec = load({**BASE, "parallelism": {"tp": [1, 2], "pp": [1, 2]}, "constraints": text})
    [found] = map(Constraint.parse, spec.constraints)
    assert found.names == {"parallelism.tp", "parallelism.pp", "gpus", "quantization.kv-cache"}
    names: dict[str, Value] = {"parallelism.tp": 2, "parallelism.pp": 2, "quantization.kv-cache": "auto"}
    assert [found.holds({**names, "gpus": n}) for n in (2, 4)] == [False, True]


def fixed(section: str, key: str) -> st.SearchStrategy[Value]:
    known = SECTIONS[section]
    if key == PRESET:
        return st.sampled_from(known.presets)
    words = known.keys[key]
    return st.none() | (
        st.sampled_from([*words, *(s for s, w in SPELLINGS.items() if w in words)]) if words else st.integers(1, 64)
    )


def tuned(section: str, key: str) -> st.SearchStrategy[Any]:
    several = st.lists(fixed(section, key), min_size=1, max_size=4, unique=True)
    if SECTIONS[section].keys.get(key, ()) is not None:
        return several
    ranges = st.tuples(st.integers(1, 8), st.integers(1, 8)).map(lambda n: {"low": n[0], "high": n[0] + n[1]})
    return several | ranges


def sections(section: str) -> st.SearchStrategy[dict[str, Any]]:
    keys = [*SECTIONS[section].keys, PRESET]
    return st.fixed_dictionaries(
        {}, optional={k.replace("-", "_"): fixed(section, k) | tuned(section, k) for k in keys}
    )


@given(sections("quantization"), sections("parallelism"))
def test_sections_read_back_as_they_are_written(quantization: dict[str, Any], parallelism: dict[str, Any]) -> None:
    spec = load({**BASE, "quantization": quantization, "parallelism": parallelism})
    again = load(render_study(spec))
    assert again.model_dump() == spec.model_dump()
    assert again.digest == spec.digest
    found: dict[str, Any] = {n: v for n, v in spec.engine.args.items() if is_portable(n)}
    for parameter in spec.parameters[1:]:
        domain = parameter.domain
        found[parameter.name] = list(domain.values) if isinstance(domain, Choices) else domain
    written = {
        f"{s}.{k}": v
        for s, keys in (("quantization", quantization), ("parallelism", parallelism))
        for k, v in keys.items()
    }
    assert {file_path(name) for name in found} == set(written)
    for name, value in found.items():
        expected = written[file_path(name)]
        assert value == (IntRange(**expected) if isinstance(expected, dict) else expected)
