"""``engines`` of a study file: names, problems by entry, and the space that the entries form."""

import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

VLLM = {"kind": "vllm", "parameters": {"max-num-seqs": [8, 64]}}
SGLANG = {"kind": "sglang", "parameters": {"schedule-policy": ["lpm", "fcfs"]}}


def read(*engines: Any, **changes: Any) -> StudySpec:
    study = {
        "name": "s",
        "model": "m",
        "engines": list(engines) or [VLLM, SGLANG],
        "workload": {"scenarios": "D(8,8)", "concurrency": 1},
        "objective": "max output_throughput",
        **changes,
    }
    kept = {key: value for key, value in study.items() if value is not None}
    return parse_study(kept, source="s.yaml", folder=Path("/")).spec


def test_entries_form_one_space() -> None:
    spec = read(
        {**VLLM, "name": "vllm-0-11", "constraints": ["max-num-seqs <= 8 or parallelism.tp > 1"]},
        {**SGLANG, "deploy": {"kind": "docker", "image": "x"}},
        parallelism={"tp": [1, 2], "pp": 1},
        constraints=["engine == sglang implies parallelism.tp == 1"],
    )
    assert [(p.name, p.when) for p in spec.parameters] == [
        ("engine", ""),
        ("parallelism.tp", ""),
        ("vllm-0-11.max-num-seqs", "engine == 'vllm-0-11'"),
        ("sglang.schedule-policy", "engine == 'sglang'"),
    ]
    assert spec.space_constraints == (
        "engine == 'vllm-0-11' implies (vllm-0-11.max-num-seqs <= 8 or parallelism.tp > 1)",
        "engine == 'sglang' implies parallelism.tp == 1",
    )
    assert [p.name for p in spec.of_engine("sglang").parameters] == ["schedule-policy", "parallelism.tp"]
    assert [(e.name, e.deploy.kind, dict(e.engine.args)) for e in spec.engines] == [
        ("vllm-0-11", "process", {"parallelism.pp": 1}),
        ("sglang", "docker", {"parallelism.pp": 1}),
    ]
    assert (spec.engine, spec.deploy) == (spec.engines[0].engine, spec.engines[0].deploy)


def test_short_forms() -> None:
    spec = read("vllm", {"kind": "sglang", "env": {"A": 1}}, deploy="docker")
    assert [(e.name, e.deploy.kind) for e in spec.engines] == [("vllm", "docker"), ("sglang", "docker")]
    assert spec.engines[1].engine.env == {"A": "1"}
    assert [p.name for p in spec.parameters] == ["engine"]


def test_parameters_of_an_entry_may_depend_on_one_another() -> None:
    profile = {"combinations": {"few": {"max-num-seqs": 8}, "many": {"max-num-seqs": 64}}}
    tuned = {"profile": profile, "seed": {"choices": [1, 2], "when": "profile == few"}}
    spec = read({"kind": "vllm", "parameters": tuned}, SGLANG)
    seed = next(p for p in spec.parameters if p.name == "vllm.seed")
    assert seed.when == "engine == 'vllm' and (vllm.profile == 'few')"
    first = next(p for p in spec.parameters if p.name == "vllm.profile")
    assert first.flags == ("vllm.max-num-seqs",)


@pytest.mark.parametrize(
    "engines",
    [
        (VLLM, SGLANG),
        ({**VLLM, "env": {"A": "x"}, "deploy": {"kind": "docker", "image": "y"}}, {**SGLANG, "args": {"seed": 1}}),
        ({**VLLM, "constraints": ["max-num-seqs <= 8"]}, "sglang"),
        ({"kind": "vllm", "parameters": {"a": {"choices": [1, 2], "when": "b == x"}, "b": ["x", "y"]}}, SGLANG),
    ],
)
def test_what_is_written_reads_back(engines: tuple[Any, ...]) -> None:
    spec = read(*engines, parallelism={"tp": [1, 2]}, constraints=["engine == vllm implies parallelism.tp == 1"])
    assert parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec == spec


def test_a_stored_study_of_the_previous_version_loads() -> None:
    spec = read(engines=None, engine="vllm", parameters={"max-num-seqs": [8, 64]})
    stored = spec.model_dump(mode="json")
    del stored["engines"]
    found = StudySpec.model_validate_json(json.dumps(stored))
    assert (found, found.digest, found.first_digest) == (spec, spec.digest, spec.first_digest)
    assert found.of_engine("") is found


MISTAKES: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "both": ((VLLM, SGLANG), {"engine": "vllm"}, "engines"),
    "none": ((), {"engines": []}, "engines"),
    "two of a name": ((VLLM, {**VLLM, "args": {"seed": 1}}), {}, "engines"),
    "names alike": (({**VLLM, "name": "a-b"}, {**SGLANG, "name": "a_b"}), {}, "engines"),
    "bad name": (({**VLLM, "name": "vllm-0.11"}, SGLANG), {}, "engines[0].name"),
    "reserved name": (({**VLLM, "name": "parallelism"}, SGLANG), {}, "engines[0].name"),
    "twins": ((VLLM, {**VLLM, "name": "b"}), {}, "engines[1]"),
    "no kind": (({"name": "a"}, SGLANG), {}, "engines[0].kind"),
    "misspelled key": (({**VLLM, "parameterz": {}}, SGLANG), {}, "engines[0].parameterz"),
    "parameters of no engine": ((VLLM, SGLANG), {"parameters": {"max-num-seqs": [1, 2]}}, "parameters"),
    "list of combinations": (({"kind": "vllm", "parameters": [{"a": 1}]}, SGLANG), {}, "engines[0]"),
    "fixed and tuned": (({**VLLM, "args": {"max-num-seqs": 8}}, SGLANG), {}, "engines[0].parameters.max-num-seqs"),
    "portable": (
        ({"kind": "vllm", "parameters": {"parallelism.tp": [1]}}, SGLANG),
        {},
        "engines[0].parameters.parallelism.tp",
    ),
    "portable in args": (
        ({"kind": "vllm", "args": {"parallelism.tp": 1}}, SGLANG),
        {},
        "engines[0].args.parallelism.tp",
    ),
    "conditional setting of all": (
        (VLLM, SGLANG),
        {"parallelism": {"tp": {"choices": [1, 2], "when": "engine == vllm"}}},
        "parallelism.tp.when",
    ),
    "itself": (
        (VLLM, {"kind": "sglang", "parameters": {"a": {"choices": [1, 2], "when": "a == 1"}}}),
        {},
        "engines[1].parameters.a.when",
    ),
    "long": ((VLLM, {**SGLANG, "constraints": ["+".join(["a"] * 450) + " > 1"]}), {}, "engines[1].constraints[0]"),
    "quality of one engine": ((VLLM, SGLANG), {"quality": {"parameters": ["seed"]}}, "quality.parameters"),
    "text": (("vllm", 3), {}, "engines[1]"),
}


@pytest.mark.parametrize(("engines", "changes", "where"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_one_line_each(
    engines: tuple[Any, ...], changes: dict[str, Any], where: str, snapshot: Any
) -> None:
    with pytest.raises(UsageError) as refused:
        read(*engines, **changes)
    (problem,) = refused.value.problems
    assert problem.where == f"s.yaml {where}"
    assert str(refused.value) == snapshot
