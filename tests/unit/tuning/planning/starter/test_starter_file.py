"""Starter files: valid studies whose values make a difference under their load on their machine."""

import shlex
from pathlib import Path
from typing import Any, ClassVar

import pytest

import autotuner
from autotuner.api import setup
from autotuner.plugins import loading
from autotuner.study.check import CheckStatus
from autotuner.study.launch import Hardware
from autotuner.study.parameters.parameter import CatalogEntry, ValueType
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.testing.fake_engine import FakeEngine
from autotuner.tuning.planning.ineffective_values import idle_values
from autotuner.tuning.planning.starter.goals import StarterGoal
from autotuner.tuning.planning.starter.starter_file import LISTED, Start, starter_text

KINDS = sorted(loading.kinds("engines"))


def parsed(text: str) -> StudySpec:
    return parse_study(text, source="starter.yaml", folder=Path("/models"), exists=lambda _: True).spec


def made(kind: str, **changes: Any) -> StudySpec:
    return parsed(starter_text(Start(**{"name": "mine", "model": "m.gguf", **changes}), loading.load("engines", kind)))


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_the_starter(kind: str) -> None:
    engine = loading.load("engines", kind)
    study = made(kind)
    tuned = [p.name for p in study.parameters]
    assert tuned == list(engine.starters or [e.name for e in engine.catalog.values() if e.suggested][:LISTED])
    assert all(len(p.domain.grid() or ()) > 1 for p in study.parameters)
    assert (study.name, study.engine.kind, study.deploy.kind) == ("mine", kind, engine.starter_deployer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gpus", [0, 1, 8])
@pytest.mark.parametrize("goal", StarterGoal)
def test_every_value_makes_a_difference(kind: str, gpus: int, goal: StarterGoal) -> None:
    study = made(kind, hardware=Hardware(cpus=16, gpus=gpus), goal=goal)
    engine = loading.engine(study.engine)
    assert list(idle_values(engine, study.parameters, study.workload)) == []
    for parameter in study.parameters:
        assert all(engine.check_value(parameter.name, v) == [] for v in parameter.domain.grid() or ())


def values(study: StudySpec) -> dict[str, Any]:
    return {p.name: list(p.domain.grid() or ()) for p in study.parameters}


def test_threads_follow_the_cores() -> None:
    assert values(made("llama_cpp", hardware=Hardware(cpus=6)))["threads"] == [1, 2, 4, 6]
    assert values(made("llama_cpp", hardware=Hardware(cpus=2)))["threads"] == [1, 2]
    assert "threads" not in values(made("llama_cpp", hardware=Hardware(cpus=1)))


@pytest.mark.parametrize(("kind", "flag"), [("vllm", "tensor-parallel-size"), ("sglang", "tp-size")])
def test_degrees_follow_the_gpus(kind: str, flag: str) -> None:
    assert values(made(kind, hardware=Hardware(cpus=2, gpus=4)))[flag] == [1, 2, 4]
    for gpus in (0, 1):
        assert flag not in values(made(kind, hardware=Hardware(cpus=2, gpus=gpus)))


def test_given_server_is_used_on_the_gpu() -> None:
    study = made("llama_cpp", server="/opt/llama server", hardware=Hardware(cpus=2, gpus=1))
    assert study.engine.settings == {"server": "/opt/llama server"}
    assert study.engine.args == {"n-gpu-layers": "all"}
    assert made("llama_cpp", server="/opt/llama").engine.args == {}


@pytest.mark.parametrize("goal", StarterGoal)
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fake"])
def test_written_file_can_be_planned(kind: str, goal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "_docker_is_here", lambda: False)
    path = autotuner.write_starter(tmp_path / f"my {kind}.yaml", engine=kind, goal=goal)
    schema, guide, *_ = path.read_text().splitlines()
    assert shlex.split(guide.partition("Check it with: ")[2]) == ["autotuner", "plan", str(path)]
    assert Path(schema.removeprefix("# yaml-language-server: $schema=")).is_file()
    plan = autotuner.plan_study(path)
    assert plan.launchable
    assert [c.detail for c in plan.checks if c.name.startswith("parameters.") and c.status is CheckStatus.WARN] == []


def test_program_for_an_engine_without_one(tmp_path: Path) -> None:
    with pytest.raises(autotuner.UsageError, match="simulated"):
        autotuner.write_starter(tmp_path / "s.yaml", engine="simulated", server="x")


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_study_for_cost_has_prices(gpus: int) -> None:
    study = made("llama_cpp", goal=StarterGoal.COST, hardware=Hardware(cpus=2, gpus=gpus))
    assert study.objectives[0].text == "min cost_per_million_output_tokens"
    assert set(study.prices) == {"*", "host"}


def test_a_file_for_an_unknown_goal_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(autotuner.UsageError, match="goal"):
        autotuner.write_starter(tmp_path / "s.yaml", goal="speed")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_commented_parameters_are_valid(kind: str) -> None:
    engine = loading.load("engines", kind)
    text = starter_text(Start(name="mine", model="m.gguf"), engine)
    study = parsed(text.replace("\n  # ", "\n  "))
    assert {p.name for p in study.parameters} == {e.name for e in engine.catalog.values() if e.suggested}
    bounds = parsed(text.replace("# constraints:", "constraints:")).constraints
    assert bounds == ((engine.starter_constraint,) if engine.starter_constraint else ())


@pytest.mark.parametrize("name", ["123", "1e3", "true", "null", "no", "2024-01-01", "a.b_c-d", "0x10", "1_000"])
def test_names_that_yaml_would_read_as_other_types(name: str) -> None:
    assert parsed(starter_text(Start(name=name, model="m"), FakeEngine)).name == name


@pytest.mark.parametrize("model", ["m", "/a b/c: d.gguf", "org/name#1", "émoji-\U0001f600.gguf", 'quote".gguf', "true"])
def test_models_with_unusual_names(model: str) -> None:
    path = parsed(starter_text(Start(name="s", model=model), FakeEngine)).model.path
    assert path.removeprefix("/models/") == model


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "fake"])
@pytest.mark.parametrize("goal", StarterGoal)
def test_a_starter_for_each_goal_has_something_to_try(kind: str, goal: StarterGoal) -> None:
    text = autotuner.starter_text(kind, name="mine", model="/models/m.gguf", goal=goal.value)
    assert not text.startswith("#")
    plan = autotuner.open().plan(parsed(text.replace("deploy: docker", "deploy: process")), preflight=False)
    assert plan.launchable is None or plan.launchable > 3


def test_an_unknown_goal_names_the_known_ones() -> None:
    with pytest.raises(autotuner.UsageError, match="goal") as caught:
        autotuner.starter_text("vllm", name="s", goal="latencies")
    assert "latency" in caught.value.remedy


def test_engine_without_suggestions() -> None:
    class Bare(FakeEngine):
        catalog: ClassVar = {"x": CatalogEntry(name="x", type=ValueType(kind="int"), meaning="nothing to suggest")}

    assert parsed(starter_text(Start(name="s", model="m"), Bare)).parameters == ()
