"""Environment variables in a study file: tuned as ``env.NAME``, fixed under ``engine.env``."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.errors import UsageError
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.parameters.space import Space
from autotuner.study.spec import EngineSpec, Model
from autotuner.study_file.loader import LoadedStudy, parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "name": "s",
    "model": "m",
    "engine": {"kind": "vllm", "env": {"VLLM_USE_V1": 1, "LEVEL": 0.5, "ON": True, "TEXT": "x y"}},
    "parameters": {"env.VLLM_ATTENTION_BACKEND": [None, "FLASH_ATTN"], "env.OMP_NUM_THREADS": {"low": 1, "high": 4}},
    "constraints": ["env.VLLM_ATTENTION_BACKEND == null implies env.OMP_NUM_THREADS <= 2"],
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}
ENGINE = Vllm(VllmSettings())


def read(**changes: Any) -> LoadedStudy:
    return parse_study({**BASE, **changes}, source="s.yaml", folder=Path("/"), canonical_of=lambda _: ENGINE.canonical)


def test_names_keep_their_spelling_and_values_their_text() -> None:
    spec = read().spec
    assert [p.name for p in spec.parameters] == ["env.VLLM_ATTENTION_BACKEND", "env.OMP_NUM_THREADS"]
    assert spec.engine.env == {"VLLM_USE_V1": "1", "LEVEL": "0.5", "ON": "true", "TEXT": "x y"}
    assert parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec == spec


def test_constraints_know_them() -> None:
    spec = read().spec
    space = Space.model_validate({"parameters": spec.parameters, "constraints": spec.constraints})
    found = [tuple(c.values.values()) for c in space.grid()]
    assert found == [(None, 1), (None, 2), *(("FLASH_ATTN", n) for n in (1, 2, 3, 4))]


def test_a_launch_has_them_in_its_environment_and_not_in_its_flags() -> None:
    spec = EngineSpec(kind="vllm", args={"seed": 1}, env={"A": "1"})
    point = Configuration(values={"env.B": 2, "env.C": None, "env.D": True, "max-num-seqs": 8, "parallelism.tp": 1})
    plan = ENGINE.launch(Model(path="m"), spec, point, ("B", "C", "D"))
    assert plan.env == {"A": "1", "B": "2", "D": "true"}
    assert plan.tuned_env == {"B": "2", "C": None, "D": "true"}
    assert plan.unset == ("C",)
    assert not any("env" in word for word in plan.argv(host="", port=0))
    assert plan.tuned == {"max-num-seqs": 8, "tensor-parallel-size": 1}


def test_the_default_inherits_no_tuned_variable() -> None:
    plan = ENGINE.launch(Model(path="m"), EngineSpec(kind="vllm"), DEFAULT, ("B",))
    assert (plan.env, plan.unset) == ({}, ("B",))


@pytest.mark.parametrize(
    ("where", "said", "changes"),
    [
        ("engine.env.A", "under parameters", {"engine": {"kind": "vllm", "env": {"A": ["x", "y"]}}}),
        ("engine.env.A", "no value", {"engine": {"kind": "vllm", "env": {"A": None}}}),
        ("engine.env", "variable's name", {"engine": {"kind": "vllm", "env": {"A B": "x"}}}),
        ("engine.env", "variable's name", {"engine": {"kind": "vllm", "env": {"A=B": "x"}}}),
        ("engine.env", "managed", {"engine": {"kind": "vllm", "env": {"AUTOTUNER_OWNER": "x"}}}),
        ("engine.args.env.A", "engine.env", {"engine": {"kind": "vllm", "args": {"env.A": "x"}}}),
        ("parameters.env.HF_TOKEN", "secret", {"parameters": {"env.HF_TOKEN": ["a", "b"]}}),
        ("parameters.env.CUDA_VISIBLE_DEVICES", "managed", {"parameters": {"env.CUDA_VISIBLE_DEVICES": ["0", "1"]}}),
        ("parameters.env.AUTOTUNER_X", "managed", {"parameters": {"env.AUTOTUNER_X": ["0", "1"]}}),
        ("parameters.env.A.B", "variable's name", {"parameters": {"env.A.B": ["0", "1"]}}),
        ("parameters.env.A", "one value", {"parameters": {"env.A": [["0", "1"]]}}),
        ("parameters.env.VLLM_USE_V1", "both tuned and fixed", {"parameters": {"env.VLLM_USE_V1": ["0"]}}),
    ],
)
def test_what_cannot_be_set_is_refused_with_its_remedy(where: str, said: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        read(**{"constraints": [], **changes})
    [problem] = error.value.problems
    assert problem.where.removeprefix("s.yaml ").split(" =")[0] == where
    assert said in f"{problem.why}; {problem.remedy}"
