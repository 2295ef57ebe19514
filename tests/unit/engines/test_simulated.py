"""Launch plans and settings of the simulated engine, without a server."""

import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from autotuner import simulator
from autotuner.engines.simulated import IMAGE, Simulated, SimulatedSettings
from autotuner.plugins import loading
from autotuner.simulator.options import own_options
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HARDWARE = Hardware(cpus=2, memory_gb=8.0)
MODEL = Model(path="meta-llama/Llama-3.1-8B-Instruct")


class TestSGLang(EngineConformance):
    @pytest.fixture
    def engine(self) -> Simulated:
        return Simulated(SimulatedSettings(gpu_count=8))


class TestVllm(EngineConformance):
    @pytest.fixture
    def engine(self) -> Simulated:
        return Simulated(SimulatedSettings(flavor="vllm", gpu_count=8))


def engine(**settings: object) -> Simulated:
    made = loading.engine(EngineSpec.model_validate({"kind": "simulated", **settings}))
    assert isinstance(made, Simulated)
    return made


def test_the_simulators_options_precede_the_engines_flags() -> None:
    made = engine(gpu="h100", gpu_count=4, model="llama-3.1-70b", speed=0.5, start_s=2, noise=0.1)
    spec = EngineSpec(kind="simulated", args={"tp_size": 4})
    plan = made.plan(MODEL, spec, Configuration(values={"schedule-policy": "lpm"}))
    own = "--flavor sglang --gpu H100 --gpu-count 4 --shape Llama-3.1-70B --speed 0.5 --start-s 2.0 --noise 0.1"
    assert plan.command[1:] == ("-m", "autotuner.simulator", *own.split())
    argv = plan.argv(host="127.0.0.1", port=1)
    assert argv[argv.index("--tp-size") + 1] == "4"
    assert made.flag_value(argv, "schedule_policy") == "lpm"


@pytest.mark.parametrize(("flavor", "size"), [("sglang", "tp-size"), ("vllm", "tensor-parallel-size")])
def test_gpus_are_leased_only_on_request(flavor: str, size: str) -> None:
    for lease, expected in ((False, 0), (True, 4)):
        made = engine(flavor=flavor, gpu_count=4, lease_gpus=lease)
        plan = made.plan(MODEL, EngineSpec(kind="simulated"), Configuration(values={size: 4}))
        assert made.simulated_gpus(plan.tuned) == 4
        assert made.gpus(plan.tuned) == plan.gpus == expected


def test_flags_that_are_not_modeled_get_a_warning() -> None:
    made = engine()
    assert made.check({"attention-backend": "fa3"}, HARDWARE) == []
    (note,) = made.notes({"attention-backend": "fa3", "page-size": 16})
    assert note.where == "attention-backend"
    assert note.why == "has no effect: the simulator does not model it"


def test_flags_that_the_real_engine_does_not_know_get_its_warning() -> None:
    (note,) = engine().notes({"chunk-prefill-sizes": 512, "page-size": 16})
    assert (note.where, note.remedy) == ("chunk-prefill-sizes", 'did you mean "chunked-prefill-size"?')
    assert note.why.startswith("is not in the catalog (sglang ")


@pytest.mark.parametrize("settings", [{"gpu": "H1000"}, {"model": "Lama-3.1-8B"}, {"speed": 0}, {"flavor": "tgi"}])
def test_settings_are_checked(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as raised:
        SimulatedSettings.model_validate(settings)
    assert len(raised.value.errors()) == 1


def test_resolved_values() -> None:
    info = {"mem_fraction_static": 0.828, "max_total_num_tokens": 410609, "simulated": True, "version": "0.5.23"}
    found = engine().resolved(info, "", "")
    assert found == {
        "mem-fraction-static": 0.828,
        "max-total-num-tokens": 410609,
        "version": "0.5.23",
        "simulated": True,
    }
    metrics = (
        'vllm:cache_config_info{num_gpu_blocks="28285",cache_dtype="auto",engine="0"} 1.0\nautotuner_simulated 1\n'
    )
    found = engine(flavor="vllm").resolved({}, metrics, "GPU KV cache size: 452,560 tokens, Maximum")
    assert (found["num-gpu-blocks"], found["kv-cache-dtype"], found["simulated"]) == (28285, "auto", True)


def test_the_dockerfile_builds_the_default_image() -> None:
    root = Path(__file__).parents[3]
    text = (root / "packaging/simulated.Dockerfile").read_text()
    assert f"-t {IMAGE} " in text
    copied = [word for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied
    assert all((root / word).exists() for word in copied)
    assert f"-t {IMAGE} " in (root / "docs/how-to/plan-without-gpus.md").read_text()


def test_a_container_uses_the_python_of_the_image() -> None:
    plan = Simulated(SimulatedSettings()).plan(Model(path="Llama-3.1-8B"), EngineSpec(kind="simulated"), DEFAULT)
    assert plan.command[0] == sys.executable
    assert plan.in_container().argv(host="h", port=1) == ("python3", *plan.argv(host="h", port=1)[1:])


def test_stored_studies_may_use_the_earlier_spelling() -> None:
    assert SimulatedSettings.model_validate({"flavour": "vllm"}) == SimulatedSettings(flavor="vllm")  # codespell:ignore


def test_the_dockerfile_copies_what_the_build_needs_and_points_to_the_shims() -> None:
    root = Path(__file__).parents[3]
    text = (root / "packaging/simulated.Dockerfile").read_text()
    copied = {word for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]}
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert {"pyproject.toml", "src", project["readme"], *project["license-files"]} <= copied
    shims = Path(simulator.__file__).parent / "shims"
    assert all(os.access(shims / "bin" / name, os.X_OK) for name in ("sglang", "vllm"))
    assert "PATH=/opt/simulator/shims/bin:$PATH PYTHONPATH=/opt/simulator/shims" in text
    variables = dict(re.findall(r"(AUTOTUNER_SIMULATED_\w+)=(\S+)", text))
    simulation, _ = own_options([], variables)
    assert (simulation.gpu, simulation.gpu_count) == ("H100", 1)
    assert len(variables) == 2
