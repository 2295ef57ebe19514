"""SGLang's knowledge, without a server. Logs are as SGLang 0.5.23 writes them."""

from typing import Any

import pytest

from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.plugins import loading as plugins_loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Blame, FailureCause
from autotuner.study.launch import Hardware
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HUB = Model(path="org/model-8b")
SPEC = EngineSpec(kind="sglang")


def on(gpu: str) -> Hardware:
    return Hardware(cpus=8, memory_gb=64.0, gpus=8, gpu_memory_gb=80.0, gpu_name=gpu)


H100 = on("NVIDIA H100 80GB HBM3")


class TestSglang(EngineConformance):
    @pytest.fixture
    def engine(self) -> Sglang:
        return Sglang(SglangSettings())


@pytest.fixture
def engine() -> Sglang:
    return Sglang(SglangSettings())


def test_is_found_as_a_plugin() -> None:
    engine = plugins_loading.engine(
        EngineSpec.model_validate({"kind": "sglang", "server": "/opt/py -m sglang.launch_server"})
    )
    plan = engine.plan(HUB, SPEC, Configuration(values={"tp": 2}))
    assert plan.command == ("/opt/py", "-m", "sglang.launch_server")
    assert plan.tuned == {"tp-size": 2}


def test_the_launch(engine: Sglang) -> None:
    spec = SPEC.model_copy(update={"args": {"mem_fraction_static": 0.8, "chat-template": "/srv/chat.jinja"}})
    plan = engine.plan(HUB, spec, Configuration(values={"tp-size": 2, "disable-radix-cache": True, "dp": 2}))
    assert plan.argv(host="0.0.0.0", port=30000) == (
        "python3",
        "-m",
        "sglang.launch_server",
        "--model-path",
        "org/model-8b",
        "--served-model-name",
        "org/model-8b",
        "--enable-metrics",
        "--mem-fraction-static",
        "0.8",
        "--chat-template",
        "/srv/chat.jinja",
        "--tp-size",
        "2",
        "--disable-radix-cache",
        "--dp-size",
        "2",
        "--host",
        "0.0.0.0",
        "--port",
        "30000",
    )
    assert (plan.gpus, plan.model, plan.readiness.path) == (4, "org/model-8b", "/health")
    assert plan.image == "lmsysorg/sglang:v0.5.23"
    assert plan.help == ("python3", "-m", "sglang.launch_server", "--help")
    assert (plan.needs_files, plan.hub_models, plan.needs_modules) == (("/srv/chat.jinja",), ("org/model-8b",), ())


def test_local_models_are_files_and_others_come_from_the_hub(engine: Sglang) -> None:
    values: dict[str, Value] = {"speculative-draft-model-path": "org/draft"}
    plan = engine.plan(Model(path="/models/m-8b"), SPEC, Configuration(values=values))
    assert (plan.needs_files, plan.hub_models, plan.model) == (("/models/m-8b",), ("org/draft",), "m-8b")


def test_metrics_are_served_unless_the_study_says_otherwise(engine: Sglang) -> None:
    spec = SPEC.model_copy(update={"args": {"enable_metrics": False}})
    assert "--enable-metrics" not in engine.plan(HUB, spec, Configuration()).argv(host="h", port=1)


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 1),
        ({"tp-size": 4, "pp-size": 2}, 8),
        ({"tp": 2, "dp": 4}, 8),
        ({"tp-size": 8, "dp-size": 4, "enable-dp-attention": True}, 8),
        ({"tp-size": 8, "attn-dp-size": 4}, 8),
        ({"tp-size": 4, "ep-size": 4, "attn-cp-size": 2}, 4),
        ({"tp-size": "2"}, 2),
        ({"tp-size": "many"}, 1),
        ({"device": "cpu", "tp-size": 2}, 0),
    ],
)
def test_gpus(engine: Sglang, values: dict[str, Value], count: int) -> None:
    assert engine.gpus(values) == count


def test_a_build_for_the_cpu_needs_no_gpu() -> None:
    assert Sglang(SglangSettings(device="cpu")).gpus({"tp-size": 4}) == 0


@pytest.mark.parametrize(
    ("values", "where", "says"),
    [
        ({"tp-size": 4, "dp-size": 3, "enable-dp-attention": True}, "tp-size", "3 attention groups"),
        ({"tp-size": 4, "attn-dp-size": 8}, "tp-size", "8 attention groups"),
        ({"tp-size": 4, "attn-dp-size": 2, "dp-size": 2}, "dp-size", "attn-dp-size"),
        ({"tp-size": 2, "ep-size": 4}, "ep-size", "exceeds tp-size"),
        ({"tp-size": 8, "moe-dp-size": 3}, "moe-dp-size", "does not fit"),
        ({"chunked-prefill-size": 1000, "page-size": 64}, "chunked-prefill-size", "page-size (64)"),
        ({"chunked-prefill-size": -1, "enable-mixed-chunk": True}, "enable-mixed-chunk", "chunked prefill"),
        ({"cuda-graph-max-bs": 64, "disable-cuda-graph": True}, "cuda-graph-max-bs-decode", "disable-cuda-graph"),
        ({"cuda-graph-max-bs-prefill": 64, "cuda-graph-backend-prefill": "disabled"}, "cuda-graph-max-bs-prefill",
         "no effect"),
        ({"torch-compile-max-bs": 8}, "torch-compile-max-bs", "enable-torch-compile"),
        ({"enable-torch-compile": True, "disable-cuda-graph-padding": True}, "disable-cuda-graph-padding", "combined"),
        ({"enable-hicache": True, "disable-radix-cache": True}, "enable-hierarchical-cache", "radix cache"),
        ({"enable-priority-scheduling": True, "schedule-policy": "lpm"}, "schedule-policy", "priorities"),
        ({"enable-two-batch-overlap": True}, "enable-two-batch-overlap", "moe-a2a-backend"),
        ({"speculative-num-steps": 3}, "speculative-num-steps", "speculative-algorithm"),
        ({"mem-fraction-static": 1.5}, "mem-fraction-static", "range"),
        ({"schedule-policy": "lifo"}, "schedule-policy", "one of its values"),
        ({"tp-size": 2.5}, "tp-size", "whole number"),
        ({"context-length": "32q"}, "context-length", "whole number"),
        ({"model-path": "x"}, "model-path", "managed by autotuner"),
        ({"port": 1}, "port", "managed by autotuner"),
        ({"config": "/x.yaml"}, "config", "managed by autotuner"),
        ({"ssl-keyfile": "/k"}, "ssl-keyfile", "managed by autotuner"),
        ({"no-enable-fused-qk-norm-rope": True}, "no-enable-fused-qk-norm-rope", "off spelling"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_known_before_launch(
    engine: Sglang, values: dict[str, Value], where: str, says: str
) -> None:
    (problem,) = engine.check(values, H100)
    assert problem.where == where
    assert says in problem.why
    assert problem.remedy


@pytest.mark.parametrize(
    "values",
    [
        {"tp-size": 8, "dp-size": 4, "enable-dp-attention": True, "ep-size": 8},
        {"chunked-prefill-size": 8192, "page-size": 64, "enable-mixed-chunk": True},
        {"chunked-prefill-size": -1, "page-size": 64},
        {"context-length": "32k", "max-total-tokens": "1Mi"},
        {"attention-backend": "fa3", "quantization": "w8a8_fp8", "kv-cache-dtype": "fp8_e4m3"},
        {"some-new-flag": 3},
    ],
)
def test_what_works_is_let_through(engine: Sglang, values: dict[str, Value]) -> None:
    assert engine.check(values, H100) == []


@pytest.mark.parametrize(
    ("gpu", "values", "where"),
    [
        ("NVIDIA A100-SXM4-80GB", {"quantization": "w8a8_fp8"}, "quantization"),
        ("Tesla V100-SXM2-16GB", {"quantization": "fp8"}, "quantization"),
        ("Tesla T4", {"quantization": "modelopt_fp8"}, "quantization"),
        ("NVIDIA A100-SXM4-80GB", {"fp8-gemm-backend": "deep_gemm"}, "fp8-gemm-backend"),
        ("NVIDIA A100-SXM4-80GB", {"kv-cache-dtype": "fp8_e4m3", "attention-backend": "triton"}, "kv-cache-dtype"),
        ("Tesla T4", {"dtype": "bfloat16"}, "dtype"),
        ("Tesla T4", {"attention-backend": "fa3"}, "attention-backend"),
        ("NVIDIA B200", {"decode-attention-backend": "fa3"}, "decode-attention-backend"),
        ("NVIDIA H100 80GB HBM3", {"attention-backend": "trtllm_mla"}, "attention-backend"),
    ],
)
def test_what_this_gpu_cannot_run(engine: Sglang, gpu: str, values: dict[str, Value], where: str) -> None:
    assert [p.where for p in engine.check(values, on(gpu))] == [where]
    assert engine.check(values, on("")) == [], "an unknown GPU is not judged"


def test_secrets_stay_off_the_command_line(engine: Sglang) -> None:
    (problem,) = engine.check({"api_key": "s3cret"}, H100)
    assert "s3cret" not in str(problem)


def test_remote_code_needs_a_word_of_its_own(engine: Sglang) -> None:
    (problem,) = engine.check({"trust_remote_code": True}, H100)
    assert "allow_remote_code: true" in problem.remedy
    assert engine.check({"trust_remote_code": False}, H100) == []
    assert Sglang(SglangSettings(allow_remote_code=True)).check({"trust_remote_code": True}, H100) == []


def test_flags_outside_of_the_catalog_are_noted(engine: Sglang) -> None:
    (note,) = engine.notes({"chunked-prefil-size": 2048, "tp-size": 2, "enable-metrics": True})
    assert note.where == "chunked-prefil-size"
    assert note.remedy == 'did you mean "chunked-prefill-size"?'
    (other,) = engine.notes({"zzz": 1})
    assert "itself" in other.remedy


def crashed(error: str) -> str:
    """How SGLang ends when a scheduler fails."""
    return (
        "[2026-11-25 01:00:01 TP0] Load weight begin. avail mem=78.68 GB\n"
        f"[2026-11-25 01:00:09 TP0] Scheduler hit an exception: Traceback (most recent call last):\n"
        '  File "/sgl/scheduler.py", line 1, in run_scheduler_process\n'
        f"{error}\n\n"
        "[2026-11-25 01:00:09] SIGQUIT received. signum=None, frame=None. It usually means one child failed.\n"
    )


LOADED = "[2026-11-25 01:00:05 TP0] Load weight end. elapsed=3.1 s, avail mem=60.1 GB\n"
ARGPARSE = "usage: sglang serve [-h] --model-path MODEL_PATH\nsglang serve: error: "


@pytest.mark.parametrize(
    ("code", "log", "ready", "cause", "message"),
    [
        (2, ARGPARSE + "unrecognized arguments: --no-such 3\n", False, FailureCause.INVALID_FLAG, "--no-such 3"),
        (2, ARGPARSE + "ambiguous option: --cuda-graph-max-bs could match --cuda-graph-max-bs-decode, --x\n", False,
         FailureCause.INVALID_FLAG, "--cuda-graph-max-bs"),
        (2, ARGPARSE + "argument --tp-size/--tensor-parallel-size: invalid int value: 'x'\n", False,
         FailureCause.INVALID_VALUE, "invalid int value"),
        (2, ARGPARSE + "argument --dtype: invalid choice: 'int1' (choose from 'auto', 'half')\n", False,
         FailureCause.INVALID_VALUE, "invalid choice"),
        (-9, crashed("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."), False,
         FailureCause.GPU_OUT_OF_MEMORY_LOADING, "weights were loaded"),
        (-9, LOADED + crashed("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."), False,
         FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "after the weights"),
        (-9, crashed("Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 1 GiB\nPossible"),
         False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "captured"),
        (-9, crashed("torch.cuda.OutOfMemoryError: CUDA out of memory."), True,
         FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "under load"),
        (-9, crashed("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. "
                     "Current value: mem_fraction_static=0.3"), False,
         FailureCause.KV_CACHE_TOO_SMALL, "mem_fraction_static=0.3"),
        (-9, crashed("ValueError: Loaded weights leave no GPU memory for the KV cache under "
                     "--mem-fraction-static=0.2. Raise --mem-fraction-static above 0.412 (minimum viable"), False,
         FailureCause.KV_CACHE_TOO_SMALL, "mem-fraction-static 0.2"),
        (-9, crashed("RuntimeError: Decode out of memory. Try to lower your batch size."), True,
         FailureCause.KV_CACHE_TOO_SMALL, "ran out of room"),
        (-9, crashed("ValueError: The quantization method w8a8_fp8 is not supported for the current GPU. "
                     "Minimum capability: 89. Current capability: 80."), False,
         FailureCause.UNSUPPORTED_GPU, "w8a8_fp8"),
        (-9, crashed("AssertionError: FlashAttention v3 Backend requires SM>=80 and SM<=90. Please use"), False,
         FailureCause.UNSUPPORTED_GPU, "fa3"),
        (-9, crashed("torch.distributed.DistBackendError: NCCL error in: x.cpp:1, unhandled system error"), False,
         FailureCause.NCCL, "NCCL error"),
        (1, "AssertionError: chunked_prefill_size must be divisible by page_size\n", False,
         FailureCause.UNSUPPORTED_COMBINATION, "divisible by page_size"),
        (1, "ValueError: port_base at 30234 is not available in 30 seconds. x\n", False,
         FailureCause.PORT_UNAVAILABLE, "30234"),
        (1, "OSError: org/x is not a local folder and is not a valid model identifier listed on the hub\n", False,
         FailureCause.MODEL_MISSING, "no such model"),
        (1, "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url x\n", False,
         FailureCause.MODEL_GATED, "license"),
        (1, "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url\n", False, FailureCause.MODEL_GATED,
         "403"),
        (1, "ValueError: The repository /m contains custom code which must be executed. Please pass the argument "
            "set the option `trust_remote_code=True` to allow\n", False, FailureCause.MODEL_MISSING, "code of its own"),
        (1, "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).\n", False,
         FailureCause.DRIVER_MISMATCH, "too old"),
        (1, "RuntimeError: No CUDA GPUs are available\n", False, FailureCause.GPU_UNAVAILABLE, "no GPU"),
        (1, "torch.AcceleratorError: CUDA error: invalid device ordinal\n", False, FailureCause.GPU_UNAVAILABLE,
         "more GPUs"),
        (1, "RuntimeError: Rank 0 scheduler died during initialization (exit code: -9). If exit code is -9 (SIGKILL)",
         False, FailureCause.ENVIRONMENT, "a process of the server was killed by SIGKILL while loading"),
        (1, "RuntimeError: Rank 0 scheduler died during initialization (exit code: -7). If exit code is -9 (SIGKILL)",
         False, FailureCause.ENVIRONMENT, "shared memory"),
        (137, "all is well\n", True, FailureCause.ENVIRONMENT, "killed by SIGKILL under load"),
        (-15, "all is well\n", False, FailureCause.ENVIRONMENT, "SIGTERM"),
        (-9, crashed("RuntimeError: CUDA error: an illegal memory access was encountered"), True,
         FailureCause.CRASH_UNDER_LOAD, "illegal memory access"),
        (-11, "", True, FailureCause.CRASH_UNDER_LOAD, "SIGSEGV"),
        (1, "OSError: [Errno 28] No space left on device\n", False, FailureCause.DISK_FULL, "disk"),
    ],
)  # fmt: skip
def test_causes(engine: Sglang, code: int, log: str, ready: bool, cause: FailureCause, message: str) -> None:
    failure = engine.explain(code, log, ready=ready)
    assert failure is not None
    assert (failure.cause, failure.exit_code) == (cause, code)
    assert message in failure.message
    assert failure.remedy
    assert "\n" not in failure.message + failure.remedy


def test_the_two_cures_of_gpu_memory_are_opposite(engine: Sglang) -> None:
    loading = engine.explain(-9, crashed("torch.OutOfMemoryError: CUDA out of memory."), ready=False)
    running = engine.explain(-9, crashed("torch.OutOfMemoryError: CUDA out of memory."), ready=True)
    assert loading is not None
    assert running is not None
    assert loading.remedy.startswith("raise mem-fraction-static")
    assert running.remedy.startswith("lower mem-fraction-static")
    assert running.blame is Blame.CONFIGURATION


def test_what_a_request_logs_is_no_cause_of_a_death_under_load(engine: Sglang) -> None:
    failure = engine.explain(-11, "prompt: error: unrecognized arguments: --foo\n", ready=True)
    assert failure is not None
    assert failure.cause is FailureCause.CRASH_UNDER_LOAD


INFO: dict[str, Any] = {
    "tp_size": 2, "dp_size": 1, "mem_fraction_static": 0.828, "chunked_prefill_size": 8192, "max_prefill_tokens": 16384,
    "attention_backend": "fa3", "sampling_backend": "flashinfer", "kv_cache_dtype": "auto", "page_size": 1,
    "max_running_requests": None, "api_key": None, "launch_command": "python3 -m sglang.launch_server",
    "max_total_num_tokens": 447123, "version": "0.5.23",
    "internal_states": [{"effective_max_running_requests_per_dp": 2048, "memory_usage": {"kvcache": 60.1}}],
}  # fmt: skip


def test_what_the_server_decided(engine: Sglang) -> None:
    found = engine.resolved(INFO, "", "")
    assert found["mem-fraction-static"] == 0.828
    assert found["max-total-num-tokens"] == 447123
    assert found["max-running-requests"] == 2048
    assert (found["attention-backend"], found["version"]) == ("fa3", "0.5.23")
    assert "simulated" not in found
    assert "api-key" not in found


def test_a_simulator_says_so(engine: Sglang) -> None:
    assert engine.resolved({**INFO, "simulated": True}, "", "")["simulated"] is True
    assert engine.resolved({}, "# TYPE autotuner_simulated gauge\nautotuner_simulated 1\n", "") == {"simulated": True}
    assert engine.resolved({"simulated": "no"}, "autotuner_simulated 0\n", "") == {}


def test_the_log_tells_when_the_endpoint_does_not(engine: Sglang) -> None:
    log = (
        "[2026-11-25 01:00:09 TP0] max_total_num_tokens=447123, chunked_prefill_size=8192, max_prefill_tokens=16384, "
        "max_running_requests=2048, context_len=8192, available_gpu_mem=10.11 GB\n"
    )
    found = engine.resolved({}, "", log)
    assert (found["max-total-num-tokens"], found["max-running-requests"], found["context-length"]) == (
        447123,
        2048,
        8192,
    )


def test_the_beginning_of_a_flag_is_the_flag(engine: Sglang) -> None:
    """As argparse reads it, and as OME's own runtimes write it; a whole word may be another flag."""
    line = ("python3", "-m", "sglang.launch_server", "--mem-frac", "0.9", "--log-level", "info")
    assert engine.read(line).single["mem-fraction-static"] == 0.9
    assert engine.override(line, {"mem-fraction-static": 0.8})[-4:] == (
        "--log-level",
        "info",
        "--mem-fraction-static",
        "0.8",
    )
    assert "mem-fraction-static" not in engine.read((*line[:3], "--mem", "0.9")).single
