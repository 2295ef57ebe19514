"""trtllm-serve's knowledge, without a server. Logs are put together from the texts of its source."""

import pytest

from autotuner.engines.tensorrt_llm.engine import TensorrtLlm, TensorrtLlmSettings
from autotuner.plugins import loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Hardware
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HUB = Model(path="org/model-8b")
SPEC = EngineSpec(kind="tensorrt_llm")
H100 = Hardware(cpus=8, memory_gb=64.0, gpus=8, gpu_memory_gb=80.0, gpu_name="NVIDIA H100 80GB HBM3")
A100 = H100.model_copy(update={"gpu_name": "NVIDIA A100-SXM4-80GB"})


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


def test_options_that_are_no_flags_reach_a_newer_server(newer: TensorrtLlm) -> None:
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
def test_options_that_would_never_reach_the_server_are_refused(released: TensorrtLlm, values: dict[str, Value]) -> None:
    (problem,) = released.check(values, H100)
    assert "file only" in problem.why
    assert "extra-llm-api-options" in problem.remedy


def test_a_file_of_options_is_noted(released: TensorrtLlm) -> None:
    (note,) = released.notes({"config": "/srv/options.yaml", "max-batch-size": 4})
    assert note.where == "extra-llm-api-options"
    assert "win over flags" in note.why


@pytest.mark.parametrize(
    ("values", "count"),
    [({}, 1), ({"tp_size": 4, "pp_size": 2}, 8), ({"tp": 2, "context-parallel-size": 2, "ep": 2}, 4)],
)
def test_gpus(released: TensorrtLlm, values: dict[str, Value], count: int) -> None:
    assert released.gpus(values) == count


@pytest.mark.parametrize(
    ("values", "where", "says"),
    [
        ({"tp-size": 4, "ep-size": 3}, "ep-size", "divide"),
        ({"max-num-tokens": 64, "max-batch-size": 128}, "max-num-tokens", "max-batch-size"),
        ({"max-num-tokens": 1024, "max-seq-len": 4096}, "max-num-tokens", "chunked prefill"),
        ({"backend": "tensorrt", "kv-cache-config.dtype": "fp8"}, "backend", "only flags"),
        ({"kv-cache-free-gpu-memory-fraction": 2}, "kv-cache-free-gpu-memory-fraction", "range"),
        ({"kv-cache-config.enable-block-reuse": "maybe"}, "kv-cache-config.enable-block-reuse", "values"),
        ({"port": 1}, "port", "managed by autotuner"),
        ({"served_model_name": "x"}, "served-model-name", "managed by autotuner"),
        ({"set": "a=1"}, "set", "managed by autotuner"),
        ({"trust_remote_code": True}, "trust-remote-code", "executes code"),
    ],
)
def test_what_cannot_work_is_known_before_launch(
    newer: TensorrtLlm, values: dict[str, Value], where: str, says: str
) -> None:
    (problem,) = newer.check(values, H100)
    assert problem.where == where
    assert says in problem.why
    assert problem.remedy


def test_what_this_gpu_cannot_run(newer: TensorrtLlm) -> None:
    assert newer.check({"kv-cache-config.dtype": "fp8"}, H100) == []
    (problem,) = newer.check({"kv-cache-config.dtype": "fp8"}, A100)
    assert "8.9" in problem.why


def memory(component: str) -> str:
    return (
        "RuntimeError: Executor creation failed due to insufficient GPU memory.\n\n"
        f"The following component could not be created: {component}\nTotal GPU memory (GiB): 79.11\n"
    )


USAGE = "Usage: trtllm-serve serve [OPTIONS] MODEL\nTry 'trtllm-serve serve --help' for help.\n\nError: "


@pytest.mark.parametrize(
    ("code", "log", "cause", "message"),
    [
        (2, USAGE + "No such option '--kv_cache_dtype'.\n", FailureCause.INVALID_FLAG, "--kv_cache_dtype"),
        (2, USAGE + "No such option: --set\n", FailureCause.INVALID_FLAG, "--set"),
        (2, USAGE + "Invalid value for '--tensor_parallel_size' / '--tp_size': 'x' is not a valid integer.\n",
         FailureCause.INVALID_VALUE, "not a valid integer"),
        (2, USAGE + "Invalid value for '--backend': 'zz' is not one of 'pytorch', 'tensorrt'.\n",
         FailureCause.INVALID_VALUE, "not one of"),
        (2, USAGE + "Option '--tp_size' requires an argument.\n", FailureCause.INVALID_VALUE, "--tp_size"),
        (1, memory("Model"), FailureCause.GPU_OUT_OF_MEMORY_LOADING, "weights were loaded"),
        (1, memory("Draft model for speculative decoding"), FailureCause.GPU_OUT_OF_MEMORY_LOADING, "Draft model"),
        (1, memory("KV cache"), FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "KV cache"),
        (1, memory("Model resources created during usage"), FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "during usage"),
        (1, "RuntimeError: Only 2 GPUs are available, but 4 are required.\n", FailureCause.GPU_UNAVAILABLE, "needs 4"),
        (1, "ValueError: No GPU devices found on the node\n", FailureCause.GPU_UNAVAILABLE, "no GPU"),
        (1, "RuntimeError: Failed to bind socket to 0.0.0.0:8000: [Errno 98] Address already in use\n",
         FailureCause.PORT_UNAVAILABLE, "8000"),
        (1, "RuntimeError: Executor creation failed with NCCL error: Failed, NCCL error x.cpp:1 'unhandled'\n",
         FailureCause.NCCL, "unhandled"),
        (1, "pydantic_core._pydantic_core.ValidationError: 1 validation error for TorchLlmArgs\n"
            "  Value error, max_tokens must be positive [type=value_error, input_value=0]\n",
         FailureCause.UNSUPPORTED_COMBINATION, "max_tokens must be positive"),
        (137, "", FailureCause.ENVIRONMENT, "killed"),
    ],
)  # fmt: skip
def test_causes(newer: TensorrtLlm, code: int, log: str, cause: FailureCause, message: str) -> None:
    failure = newer.explain(code, log, ready=False)
    assert failure is not None
    assert failure.cause is cause
    assert message in failure.message
    assert failure.remedy


def test_what_the_server_decided(released: TensorrtLlm) -> None:
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
