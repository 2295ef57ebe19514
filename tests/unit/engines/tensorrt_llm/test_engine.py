"""Launch plans, checks and resolved values of trtllm-serve, without a server."""

import pytest

from autotuner.engines.tensorrt_llm.engine import TensorrtLlm, TensorrtLlmSettings
from autotuner.plugins import loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.launch import Hardware
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HUB = Model(path="org/model-8b")
SPEC = EngineSpec(kind="tensorrt_llm")
H100 = Hardware(cpus=8, memory_gb=64.0, gpus=8, gpu_memory_gb=80.0, gpu_name="NVIDIA H100 80GB HBM3")


class TestNewer(EngineConformance):
    @pytest.fixture
    def engine(self) -> TensorrtLlm:
        return TensorrtLlm(TensorrtLlmSettings(set_flag=True))


@pytest.fixture
def released() -> TensorrtLlm:
    return TensorrtLlm(TensorrtLlmSettings())


@pytest.fixture
def newer() -> TensorrtLlm:
    return TensorrtLlm(TensorrtLlmSettings(set_flag=True))


def test_is_found_as_a_plugin() -> None:
    engine = loading.engine(EngineSpec.model_validate({"kind": "tensorrt_llm", "server": "/opt/bin/trtllm-serve"}))
    plan = engine.plan(HUB, SPEC, Configuration())
    assert plan.command == ("/opt/bin/trtllm-serve", "serve", "org/model-8b")


def test_the_launch(released: TensorrtLlm) -> None:
    spec = SPEC.model_copy(update={"args": {"config": "/srv/options.yaml", "enable_chunked_prefill": True}})
    plan = released.plan(
        HUB, spec, Configuration(values={"max-batch-size": 64, "tp": 2, "free_gpu_memory_fraction": 0.8})
    )
    assert plan.argv(host="0.0.0.0", port=8000) == (
        "trtllm-serve",
        "serve",
        "org/model-8b",
        "--extra_llm_api_options",
        "/srv/options.yaml",
        "--enable_chunked_prefill",
        "--max_batch_size",
        "64",
        "--tp_size",
        "2",
        "--kv_cache_free_gpu_memory_fraction",
        "0.8",
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
    )
    assert plan.tuned == {"max-batch-size": 64, "tp-size": 2, "kv-cache-free-gpu-memory-fraction": 0.8}
    assert (plan.gpus, plan.model, plan.readiness.path) == (2, "org/model-8b", "/health")
    assert plan.image == "nvcr.io/nvidia/tensorrt-llm/release:1.2.1"
    assert plan.help == ("trtllm-serve", "serve", "--help")
    assert (plan.needs_files, plan.hub_models) == (("/srv/options.yaml",), ("org/model-8b",))


def test_options_by_path_reach_a_newer_server(newer: TensorrtLlm) -> None:
    values: dict[str, Value] = {
        "kv_cache_config.dtype": "fp8",
        "kv_cache_config.enable_block_reuse": False,
        "disable_overlap_scheduler": True,
        "some_config.new_option": 3,
        "stream_interval": None,
    }
    model = Model(path="/models/m", name="m8")
    argv = newer.plan(model, SPEC, Configuration(values=values)).argv(host="h", port=1)
    assert argv[3:5] == ("--served_model_name", "m8")
    assert argv[5:-4] == (
        "--set",
        "kv_cache_config.dtype=fp8",
        "--set",
        "kv_cache_config.enable_block_reuse=false",
        "--set",
        "disable_overlap_scheduler=true",
        "--set",
        "some_config.new_option=3",
    )
    assert newer.flag_value(argv, "kv_cache_config.enable_block_reuse") == "false"
    assert newer.flag_value(argv, "some-config.new-option") == "3"
    changed = newer.override(argv, {"kv-cache-config.dtype": "auto"})
    assert changed.count("--set") == 4
    assert newer.flag_value(changed, "kv-cache-config.dtype") == "auto"
    assert newer.check(values, H100) == []


@pytest.mark.parametrize(
    "values", [{"kv_cache_config.dtype": "fp8"}, {"disable-overlap-scheduler": True}, {"some_config.new_option": 3}]
)
def test_options_by_path_are_refused_for_an_older_server(released: TensorrtLlm, values: dict[str, Value]) -> None:
    (problem,) = released.check(values, H100)
    assert problem.where == released.canonical(next(iter(values)))
    assert "1.2" in problem.why
    assert "extra-llm-api-options" in problem.remedy
    assert "set_flag: true" in problem.remedy


def test_an_options_file_gets_a_warning(released: TensorrtLlm) -> None:
    (note,) = released.notes({"config": "/srv/options.yaml", "max-batch-size": 4})
    assert (note.where, note.value) == ("extra-llm-api-options", "/srv/options.yaml")


def test_resolved_values(released: TensorrtLlm) -> None:
    log = (
        "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 0.56 GiB for max tokens in paged KV cache (8224).\n"
        "[12/20/2025-04:21:10] [TRT-LLM] [I] max_seq_len=8224, max_num_requests=64, max_num_tokens=8192\n"
        "[TensorRT-LLM][INFO] [MemUsageChange] Allocated 40.50 GiB for max tokens in paged KV cache (331776).\n"
    )
    assert released.resolved({"version": "1.2.1"}, "", log) == {
        "version": "1.2.1",
        "kv-cache-gib": 40.5,
        "kv-cache-tokens": 331776,
        "max-seq-len": 8224,
        "max-batch-size": 64,
        "max-num-tokens": 8192,
    }
    assert released.resolved({"version": "x", "simulated": True}, "", "") == {"version": "x", "simulated": True}
