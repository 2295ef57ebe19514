"""Simulated variants of studies: their engine, and the name that keeps their numbers apart."""

from pathlib import Path

import pytest

from autotuner.errors import UsageError
from autotuner.study.spec import EngineSpec, Model, PluginSpec, StudySpec
from autotuner.testing.samples import sample_spec
from autotuner.tuning.planning.prepared_study import prepare
from autotuner.tuning.planning.simulated_study import parse_gpus, simulated_study


def study(kind: str, name: str = "chat", **settings: object) -> StudySpec:
    spec = sample_spec(name, slos=(), space={"max-running-requests": (8, 16)})
    spec = spec.model_copy(update={"model": Model(path="Qwen/Qwen3-8B")})
    engine = EngineSpec.model_validate({"kind": kind, **settings})
    return spec.model_copy(update={"engine": engine, "deploy": PluginSpec(kind="docker")})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("H100x8", ("H100", 8)),
        ("h200 x 1", ("H200", 1)),
        ("L4", ("L4", 1)),
        ("RTX4090x2", ("RTX-4090", 2)),
        ("RTX4090", ("RTX-4090", 1)),
        ("a100-40gbX4", ("A100-40GB", 4)),
    ],
)
def test_parse_gpus(text: str, expected: tuple[str, int]) -> None:
    assert parse_gpus(text) == expected


@pytest.mark.parametrize("text", ["", "x8", "H100x0", "H100x9999", "H101x8", "H100x-1", "8xH100"])
def test_invalid_gpus(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_gpus(text)
    assert error.value.problems[0].where == "--simulate"


def test_engine_is_replaced_by_the_simulated_one() -> None:
    spec = study("sglang", args={"tp-size": 2}, env={"A": "1"}, start_timeout="3m")
    found = simulated_study(spec, "H100x8")
    assert found.engine.kind == "simulated"
    assert found.engine.settings == {"flavor": "sglang", "gpu": "H100", "gpu_count": 8}
    assert (found.engine.args, found.engine.env) == (spec.engine.args, spec.engine.env)
    assert (found.deploy.kind, found.benchmark.kind) == ("process", "native")
    assert (found.parameters, found.workload) == (spec.parameters, spec.workload)


def test_name_shows_the_simulated_gpus() -> None:
    names = {simulated_study(study("vllm"), gpus).name for gpus in ("H100x8", "H100x4", "H200x8")}
    assert len(names) == 3
    assert all("simulated" in name for name in names)
    long = simulated_study(study("vllm", "n" * 63), "A100-40GBx8").name
    assert len(long) == 63
    assert long.endswith("-simulated-A100-40GBx8")


def test_simulated_study_on_other_gpus() -> None:
    found = simulated_study(study("simulated", flavor="vllm", gpu="L4", speed=10.0), "H100x2")
    assert found.engine.settings == {"flavor": "vllm", "gpu": "H100", "gpu_count": 2, "speed": 10.0}


def test_engine_that_cannot_be_simulated() -> None:
    with pytest.raises(UsageError) as error:
        simulated_study(study("llama_cpp"), "H100x8")
    assert error.value.problems[0].where == "engine.kind"


@pytest.mark.anyio
async def test_constraints_know_the_simulated_gpus() -> None:
    spec = study("sglang", args={"trust-remote-code": True}, allow_remote_code=True)
    spec = spec.model_copy(update={"constraints": ("max-running-requests <= gpus",)})
    prepared = await prepare(simulated_study(spec, "H100x8"))
    assert [c.values["max-running-requests"] for c in prepared.space.grid()] == [8]


def test_model_of_unknown_shape(tmp_path: Path) -> None:
    for path in ("org/private-model", str(tmp_path)):
        spec = study("vllm").model_copy(update={"model": Model(path=path)})
        with pytest.raises(UsageError) as error:
            simulated_study(spec, "H100x8")
        assert error.value.problems[0].where == "model.path"
    (tmp_path / "config.json").write_text("{}")
    assert simulated_study(spec, "H100x8").model.path == str(tmp_path)
