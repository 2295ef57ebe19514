"""What engines say about a server before its launch, compared with how the simulator starts."""

import json
from pathlib import Path
from random import Random
from typing import Any, Literal

import pytest

from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.engines.simulated import Simulated, SimulatedSettings
from autotuner.engines.tensorrt_llm.engine import TensorrtLlm, TensorrtLlmSettings
from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.predict.engines import MEMORY_RULES
from autotuner.predict.gpus import gpu_named
from autotuner.predict.memory import fits
from autotuner.predict.models import shape_named
from autotuner.simulator.config import EngineExitError
from autotuner.simulator.options import Simulation, engine_parser
from autotuner.simulator.sglang.start import SGLangStart
from autotuner.simulator.vllm.start import VllmStart
from autotuner.study.configuration import Configuration
from autotuner.study.launch import Hardware
from autotuner.study.search.serving import Serving
from autotuner.study.spec import EngineSpec, Model
from autotuner.study_file.loader import parse_study
from autotuner.tuning.planning.prepared_study import prepare

SGLANG: dict[str, list[Any]] = {
    "tp-size": [None, 1, 2, 4], "pp-size": [None, 2], "mem-fraction-static": [None, 0.05, 0.3, 0.8, 0.95, 0.99],
    "quantization": [None, "fp8", "awq"], "kv-cache-dtype": [None, "fp8_e5m2"], "page-size": [None, 16],
    "chunked-prefill-size": [None, -1, 2048, 16384], "max-running-requests": [None, 8, 5000],
    "max-total-tokens": [None, "100k"], "disable-cuda-graph": [None, True], "cuda-graph-max-bs-decode": [None, 2000],
    "cuda-graph-bs-decode": [None, (1, 2, 99)], "context-length": [None, 4096], "max-prefill-tokens": [None, "32k"],
}  # fmt: skip
VLLM: dict[str, list[Any]] = {
    "tensor-parallel-size": [None, 2, 4], "pipeline-parallel-size": [None, 2], "quantization": [None, "fp8", "awq"],
    "gpu-memory-utilization": [None, 0.1, 0.5, 0.95, 0.99], "kv-cache-dtype": [None, "fp8"],
    "max-num-seqs": [None, 16, 8192], "max-num-batched-tokens": [None, "2k", 16384], "block-size": [None, 32],
    "max-model-len": [None, 4096, -1], "enforce-eager": [None, True], "max-cudagraph-capture-size": [None, 64, 2048],
}  # fmt: skip
MODELS = ("Llama-3.1-8B", "Llama-3.1-70B", "DeepSeek-V3", "Qwen3-0.6B", "Qwen3-30B-A3B")
GPUS = ("H100", "H200", "L4", "A100-80GB", "B200")
NO_MEMORY = ("out of memory", "memory", "KV cache")


@pytest.mark.parametrize(("flavor", "flags"), [("sglang", SGLANG), ("vllm", VLLM)])
def test_what_fits_is_what_the_simulator_starts(flavor: Literal["sglang", "vllm"], flags: dict[str, list[Any]]) -> None:
    """Both sides translate the flags on their own; the rules are shared."""
    random = Random(3)
    parser = engine_parser(flavor)
    started = short = 0
    for _ in range(400):
        model = random.choice(MODELS)
        gpu = random.choice(GPUS)
        values = {name: random.choice(choices) for name, choices in flags.items() if random.random() < 0.5}
        engine = Simulated(SimulatedSettings(flavor=flavor, gpu=gpu, gpu_count=8, model=model))
        serving = engine.serving(values, Hardware())
        assert serving is not None
        use = fits(shape_named(model), gpu_named(gpu), serving, MEMORY_RULES[flavor])
        assert use is not None
        plan = engine.plan(Model(path="m"), EngineSpec(kind="simulated", args=values), Configuration())
        argv = [a for flag in plan.flags for a in flag.argv()]
        given = vars(parser.parse_args(argv if flavor == "sglang" else ["m", *argv]))
        simulation = Simulation(flavor=flavor, gpu=gpu, gpu_count=8, shape=model)
        start = (SGLangStart if flavor == "sglang" else VllmStart)(given, simulation, lambda _: None)
        tokens, lines = _tokens(start)
        if tokens is not None:
            assert use.fits, (values, use.why)
            assert tokens == use.kv_tokens
            started += 1
        elif any(text in lines for text in NO_MEMORY):
            assert not use.fits, (values, lines)
            short += 1
    assert min(started, short) > 50


def _tokens(start: SGLangStart | VllmStart) -> tuple[int | None, str]:
    """Size of the KV cache, or why the server does not start."""
    try:
        return start.run().kv_tokens, ""
    except EngineExitError as error:
        return None, error.lines


def test_flags_that_the_rules_do_not_cover_leave_the_server_unknown() -> None:
    machine = Hardware(gpus=8, gpu_name="NVIDIA H100 80GB HBM3", gpu_memory_gb=79.1)
    sglang = Sglang(SglangSettings())
    vllm = Vllm(VllmSettings())
    assert sglang.serving({"tp-size": 2}, machine) is not None
    for values in ({"cpu-offload-gb": 4}, {"attn-cp-size": 2}, {"json-model-override-args": "{...}"}):
        assert sglang.serving(values, machine) is None
    overridden: list[dict[str, Any]] = [
        {"cpu-offload-gb": 4.0},
        {"hf-overrides.num_hidden_layers": 2},
        {"load-format": "gguf"},
        {"kv-cache-memory-bytes": "much"},
    ]
    for given in overridden:
        assert vllm.serving(given, machine) is None
    assert vllm.serving({"cpu-offload-gb": 0.0, "load-format": "safetensors"}, machine) is not None
    assert Sglang(SglangSettings(device="cpu")).serving({}, machine) is None
    assert TensorrtLlm(TensorrtLlmSettings()).serving({}, machine) is None


def test_flags_become_terms_that_engines_share() -> None:
    machine = Hardware(gpus=16)
    found = Sglang(SglangSettings()).serving(
        {"tp-size": 8, "dp-size": 4, "enable-dp-attention": True, "ep-size": 8, "max-total-tokens": "4k"}, machine
    )
    assert found is not None
    assert (found.tp, found.dp, found.attention_dp, found.ep, found.gpus) == (8, 1, 4, 8, 8)
    assert found.max_tokens == 4000
    vllm = Vllm(VllmSettings()).serving({"tensor-parallel-size": 4, "data-parallel-size": 4, "ep": True}, machine)
    assert vllm is not None
    assert (vllm.tp, vllm.dp, vllm.ep, vllm.gpus) == (4, 4, 16, 16)
    plain = Vllm(VllmSettings()).serving({"enforce-eager": True, "max-model-len": "auto"}, machine)
    assert plain is not None
    assert not plain.graphs
    assert plain.context is None
    assert isinstance(plain, Serving)


@pytest.mark.parametrize("flavor", ["sglang", "vllm"])
def test_no_value_of_a_known_flag_is_an_error(flavor: Literal["sglang", "vllm"]) -> None:
    """The values come from study files as they are; what an engine refuses, it refuses when it is launched."""
    engine = Simulated(SimulatedSettings(flavor=flavor, gpu="H100", gpu_count=8, model="Llama-3.1-8B"))
    odd: list[Any] = [-1, "-1", 0, "0", -0.5, float("nan"), "-2k", "", "x", "\u00b2", True, (0, -1)]
    for name in engine.catalog:
        for value in odd:
            engine.serving({name: value}, Hardware())


def test_sizes_below_one_are_unknown() -> None:
    engine = Vllm(VllmSettings())
    found = engine.serving({"max-num-batched-tokens": "-1", "max-model-len": -1, "block-size": 0}, Hardware(gpus=1))
    assert found is not None
    assert (found.max_batched_tokens, found.context, found.page) == (None, None, 16)
    assert engine.serving({"kv-cache-memory-bytes": -1}, Hardware(gpus=1)) is None
    values = {"max-total-tokens": "-1", "max-prefill-tokens": "-1", "context-length": "-1", "chunked-prefill-size": -1}
    sglang = Sglang(SglangSettings()).serving(values, Hardware(gpus=1))
    assert sglang is not None
    assert (sglang.max_tokens, sglang.max_batched_tokens, sglang.context, sglang.chunk) == (None, None, None, 0)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "values", [{"kv-cache-memory-bytes": [-1, 20000000000]}, {"max-num-batched-tokens": ["-1", 2048]}]
)
async def test_a_study_with_sizes_below_one_can_be_planned(values: dict[str, Any]) -> None:
    study = {
        "name": "sizes",
        "model": "Llama-3.1-8B",
        "engine": {"kind": "simulated", "flavor": "vllm", "gpu": "H100"},
        "parameters": values,
        "workload": {"scenarios": ["D(100,10)"], "concurrency": [4]},
        "objective": "max output_throughput",
    }
    found = await prepare(parse_study(json.dumps(study), source="study.yaml", folder=Path("/")).spec, planning=True)
    assert found.size.launchable == 2
