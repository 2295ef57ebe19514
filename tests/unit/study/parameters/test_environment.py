"""Environment variables in a study file: tuned as ``env.NAME`` or fixed under ``engine.env``."""

from pathlib import Path
from typing import Any

from autotuner.engines.vllm.engine import Vllm, VllmSettings
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


def test_names_keep_their_spelling_and_values_become_text() -> None:
    spec = read().spec
    assert [p.name for p in spec.parameters] == ["env.VLLM_ATTENTION_BACKEND", "env.OMP_NUM_THREADS"]
    assert spec.engine.env == {"VLLM_USE_V1": "1", "LEVEL": "0.5", "ON": "true", "TEXT": "x y"}
    assert parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec == spec


def test_constraints_can_name_variables() -> None:
    spec = read().spec
    space = Space.model_validate({"parameters": spec.parameters, "constraints": spec.constraints})
    found = [tuple(c.values.values()) for c in space.grid()]
    assert found == [(None, 1), (None, 2), *(("FLASH_ATTN", n) for n in (1, 2, 3, 4))]


def test_a_launch_sets_variables_and_no_flags_for_them() -> None:
    spec = EngineSpec(kind="vllm", args={"seed": 1}, env={"A": "1"})
    point = Configuration(values={"env.B": 2, "env.C": None, "env.D": True, "max-num-seqs": 8, "parallelism.tp": 1})
    plan = ENGINE.launch(Model(path="m"), spec, point, ("B", "C", "D"))
    assert plan.env == {"A": "1", "B": "2", "D": "true"}
    assert plan.tuned_env == {"B": "2", "C": None, "D": "true"}
    assert plan.unset == ("C",)
    assert not any("env" in word for word in plan.argv(host="", port=0))
    assert plan.tuned == {"max-num-seqs": 8, "tensor-parallel-size": 1}


def test_the_default_does_not_inherit_tuned_variables() -> None:
    plan = ENGINE.launch(Model(path="m"), EngineSpec(kind="vllm"), DEFAULT, ("B",))
    assert (plan.env, plan.unset) == ({}, ("B",))
