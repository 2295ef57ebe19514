"""vLLM's knowledge, without a server. Logs and metrics are those of real runs of vLLM 0.32.0, on a CPU where its texts
do not need a GPU."""

import pytest

from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.plugins import loading
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Hardware
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.engine_kit import EngineConformance

HUB = Model(path="org/model-8b")
SPEC = EngineSpec(kind="vllm")
MODULE = "python3 -m vllm.entrypoints.openai.api_server"


def on(gpu: str) -> Hardware:
    return Hardware(cpus=8, memory_gb=64.0, gpus=8, gpu_memory_gb=80.0, gpu_name=gpu)


H100 = on("NVIDIA H100 80GB HBM3")


class TestProgram(EngineConformance):
    @pytest.fixture
    def engine(self) -> Vllm:
        return Vllm(VllmSettings())


class TestModule(EngineConformance):
    @pytest.fixture
    def engine(self) -> Vllm:
        return Vllm(VllmSettings(server=MODULE))


@pytest.fixture
def engine() -> Vllm:
    return Vllm(VllmSettings())


def test_is_found_as_a_plugin() -> None:
    engine = loading.engine(EngineSpec.model_validate({"kind": "vllm", "server": "/opt/vllm/bin/vllm"}))
    assert engine.plan(HUB, SPEC, Configuration()).command == ("/opt/vllm/bin/vllm", "serve", "org/model-8b")


def test_the_launch(engine: Vllm) -> None:
    values: dict[str, Value] = {
        "tp": 2,
        "enable_prefix_caching": False,
        "enforce-eager": True,
        "async-scheduling": None,
        "compilation-config": '{"mode": 3, "cudagraph_mode": "FULL"}',
        "compilation-config.max_cudagraph_size": 8,
        "some_new_switch": False,
        "compilation-config.pass_config.fuse_x": True,
    }
    plan = engine.plan(HUB, SPEC, Configuration(values=values))
    assert plan.argv(host="0.0.0.0", port=8000) == (
        "vllm",
        "serve",
        "org/model-8b",
        "--served-model-name",
        "org/model-8b",
        "--tensor-parallel-size",
        "2",
        "--no-enable-prefix-caching",
        "--enforce-eager",
        "--compilation-config",
        '{"mode": 3, "cudagraph_mode": "FULL"}',
        "--compilation-config.max_cudagraph_size",
        "8",
        "--no-some-new-switch",
        "--compilation-config.pass_config.fuse_x",
        "true",
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
    )
    argv = plan.argv(host="h", port=1)
    assert engine.flag_value(argv, "compilation-config.max-cudagraph-size") == "8"
    assert (plan.gpus, plan.model, plan.readiness.path) == (2, "org/model-8b", "/health")
    assert plan.image == "vllm/vllm-openai:v0.32.0"
    assert plan.help == ("vllm", "serve", "--help=all")
    assert (plan.needs_files, plan.hub_models) == ((), ("org/model-8b",))


@pytest.mark.parametrize(
    ("model", "args", "tuned", "expected"),
    [
        (HUB, {}, {}, {}),
        (HUB, {"revision": "v1"}, {}, {"org/model-8b": "v1"}),
        (HUB, {"revision": "v1"}, {"revision": "v2"}, {"org/model-8b": "v2"}),
        (Model(path="./m"), {"revision": "v1"}, {}, {}),
    ],
)
def test_the_revision_of_a_hub_model(
    engine: Vllm, model: Model, args: dict[str, Value], tuned: dict[str, Value], expected: dict[str, str]
) -> None:
    spec = SPEC.model_copy(update={"args": args})
    assert engine.plan(model, spec, Configuration(values=tuned)).hub_revisions == expected


def test_a_module_takes_the_model_as_a_flag() -> None:
    plan = Vllm(VllmSettings(server=MODULE)).plan(Model(path="./m", name="tiny"), SPEC, Configuration())
    assert plan.argv(host="h", port=1)[:7] == (*MODULE.split(), "--model", "./m", "--served-model-name", "tiny")
    assert (plan.needs_files, plan.hub_models) == (("./m",), ())


@pytest.mark.parametrize(
    ("values", "count"),
    [
        ({}, 1),
        ({"tensor_parallel_size": 4, "pp": 2}, 8),
        ({"tp": 2, "dp": 4, "ep": True}, 8),
        ({"tp": 4, "dcp": 2}, 4),
        ({"tp": 2, "pcp": 2}, 4),
    ],
)
def test_gpus(engine: Vllm, values: dict[str, Value], count: int) -> None:
    assert engine.gpus(values) == count
    assert Vllm(VllmSettings(device="cpu")).gpus(values) == 0


@pytest.mark.parametrize(
    ("values", "where", "says"),
    [
        ({"enable-chunked-prefill": False, "max-num-batched-tokens": 2048, "max-model-len": "4k"},
         "max-num-batched-tokens", "max-model-len (4000)"),
        ({"max-num-batched-tokens": 64, "max-num-seqs": 128}, "max-num-batched-tokens", "max-num-seqs (128)"),
        ({"max-num-active-seqs": 64, "max-num-seqs": 32}, "max-num-active-seqs", "exceeds"),
        ({"long-prefill-token-threshold": 4096, "max-model-len": 2048}, "long-prefill-token-threshold", "exceeds"),
        ({"tp": 4, "dcp": 3}, "decode-context-parallel-size", "divide"),
        ({"tp": 2, "pcp": 2, "dcp": 3}, "decode-context-parallel-size", "fit"),
        ({"enable-eplb": True}, "enable-eplb", "enable-expert-parallel"),
        ({"enable-eplb": True, "enable-expert-parallel": True}, "enable-eplb", "more than one GPU"),
        ({"enable-dbo": True}, "enable-dbo", "deepep_low_latency"),
        ({"enforce-eager": True, "max-cudagraph-capture-size": 8}, "max-cudagraph-capture-size", "no effect"),
        ({"speculative-config": '{"method": "ngram"}', "spec-method": "ngram"}, "spec-method", "twice"),
        ({"compilation-config": "{mode: 3"}, "compilation-config", "JSON"),
        ({"gpu-memory-utilization": 1.2}, "gpu-memory-utilization", "range"),
        ({"kv-cache-dtype": "q8"}, "kv-cache-dtype", "one of its values"),
        ({"enable-prefix-caching": "yes"}, "enable-prefix-caching", "switch"),
        ({"no-enable-prefix-caching": True}, "no-enable-prefix-caching", "off spelling"),
        ({"max-model-len": "4q"}, "max-model-len", "whole number"),
        ({"host": "x"}, "host", "managed by autotuner"),
        ({"served_model_name": "x"}, "served-model-name", "managed by autotuner"),
        ({"ssl_certfile": "x"}, "ssl-certfile", "managed by autotuner"),
        ({"trust_remote_code": True}, "trust-remote-code", "executes code"),
        ({"hf_token": "x"}, "hf-token", "secret"),
        ({"trust-remote": True}, "trust-remote", "short for trust-remote-code"),
        ({"hf-tok": "x"}, "hf-tok", "short for hf-token"),
        ({"reasoning-parser": "--trust-remote-code"}, "reasoning-parser", "looks like a flag"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_known_before_launch(engine: Vllm, values: dict[str, Value], where: str, says: str) -> None:
    (problem,) = engine.check(values, H100)
    assert problem.where == where
    assert says in problem.why
    assert problem.remedy


@pytest.mark.parametrize(
    "values",
    [
        {"max-model-len": "auto", "max-num-batched-tokens": 64, "max-num-seqs": 64},
        {"max-model-len": "8k", "max-num-batched-tokens": "2K"},
        {"enable-chunked-prefill": False, "max-num-batched-tokens": 8192, "max-model-len": 8192},
        {"attention-backend": "FLASH_ATTN", "kv-cache-dtype": "fp8", "quantization": "fp8"},
        {"tp": 4, "dcp": 2},
        {"some-new-flag": "x"},
    ],
)
def test_what_works_is_let_through(engine: Vllm, values: dict[str, Value]) -> None:
    assert engine.check(values, H100) == []


@pytest.mark.parametrize(
    ("gpu", "values", "where"),
    [
        ("Tesla V100-SXM2-16GB", {"quantization": "fp8"}, "quantization"),
        ("Tesla T4", {"dtype": "bfloat16"}, "dtype"),
        ("Tesla T4", {"attention-backend": "flash_attn"}, "attention-backend"),
        ("Tesla T4", {"kv-cache-dtype": "fp8"}, "kv-cache-dtype"),
        ("NVIDIA A100-SXM4-80GB", {"kv-cache-dtype": "fp8", "attention-backend": "FLASH_ATTN"}, "kv-cache-dtype"),
        ("NVIDIA A10G", {"kv-cache-dtype": "fp8_e4m3", "attention-backend": "TRITON_ATTN"}, "kv-cache-dtype"),
    ],
)
def test_what_this_gpu_cannot_run(engine: Vllm, gpu: str, values: dict[str, Value], where: str) -> None:
    assert [p.where for p in engine.check(values, on(gpu))] == [where]
    assert engine.check(values, on("Some New GPU")) == []


def test_flags_outside_of_the_catalog_are_noted(engine: Vllm) -> None:
    notes = engine.notes({"max-num-seq": 8, "compilation-config.mode": 3, "tp": 2})
    assert [n.where for n in notes] == ["max-num-seq", "compilation-config.mode"]
    assert notes[0].remedy == 'did you mean "max-num-seqs"?'


def pydantic(cls: str, said: str) -> str:
    return (
        f"pydantic_core._pydantic_core.ValidationError: 1 validation error for {cls}\n"
        f"  Value error, {said} [type=value_error, input_value=ArgsKwargs((), {{'x': 1}}), input_type=ArgsKwargs]\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
    )


def core(error: str, exit_code: int = 1) -> str:
    """How vLLM ends when its engine process fails."""
    before = "(EngineCore pid=18358) ERROR 11-25 01:50:46 [core.py:1510] "
    return (
        f"{before}EngineCore failed to start.\n{before}Traceback (most recent call last):\n{before}{error}\n"
        "(APIServer pid=17139) RuntimeError: Engine core initialization failed. See root cause above. "
        f"Failed core proc(s): {{'EngineCore': {exit_code}}}\n"
    )


KV = (
    "ValueError: To serve at least one request with the model's max seq len (1024), (0.5 GiB KV cache is needed, which "
    "is larger than the available KV cache memory (0.0 GiB). Based on the available memory, the estimated maximum "
    "model length is 128. Try increasing `gpu_memory_utilization`"
)
ARGPARSE = "                     [model_tag]\napi_server.py: error: "


@pytest.mark.parametrize(
    ("code", "log", "ready", "cause", "message"),
    [
        (2, ARGPARSE + "unrecognized arguments: --no-such-flag\n", False, FailureCause.INVALID_FLAG, "--no-such-flag"),
        (2, ARGPARSE + "argument --max-num-seqs: invalid int value: 'many'\n", False, FailureCause.INVALID_VALUE,
         "--max-num-seqs: invalid int value"),
        (2, ARGPARSE + "argument --kv-cache-dtype: invalid choice: 'q8' (choose from 'auto', 'fp8')\n", False,
         FailureCause.INVALID_VALUE, "invalid choice"),
        (1, pydantic("SchedulerConfig", "max_num_batched_tokens (512) is smaller than max_model_len (1024). This"),
         False, FailureCause.UNSUPPORTED_COMBINATION, "(512) is smaller than max-model-len (1024)"),
        (1, pydantic("SchedulerConfig",
                 "max_num_batched_tokens (4) must be greater than or equal to max_num_seqs (8)"),
         False, FailureCause.UNSUPPORTED_COMBINATION, "(4) is smaller than max-num-seqs (8)"),
        (1, pydantic("ModelConfig", "User-specified max_model_len (9999) is greater than the derived max_model_len "
                     "(max_position_embeddings=4096.0 or model_max_length=None in model's config.json)."),
         False, FailureCause.INVALID_VALUE, "9999"),
        (1, pydantic("ModelConfig", "Unknown quantization method: nothing. Must be one of ['awq', 'fp8']"), False,
         FailureCause.UNSUPPORTED_COMBINATION, "Unknown quantization method: nothing"),
        (1, "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
            "'namespace/repo_name': '/srv/nothing'. Use `repo_type` argument if needed.\n", False,
         FailureCause.MODEL_MISSING, "folder"),
        (1, "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the "
            "specified revision\n", False, FailureCause.MODEL_MISSING, "cache"),
        (1, core(KV), False, FailureCause.KV_CACHE_TOO_SMALL, "1024 tokens needs 0.5 GiB"),
        (1, core("ValueError: No available memory for the cache blocks. Try increasing"), False,
         FailureCause.KV_CACHE_TOO_SMALL, "no memory"),
        (1, core("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB."), False,
         FailureCause.GPU_OUT_OF_MEMORY_LOADING, "weights were loaded"),
        (1, "Model loading took 14 GiB memory and 3 seconds\n" + core("torch.OutOfMemoryError: CUDA out of memory."),
         False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "after the weights"),
        (1, core("RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. Please"),
         False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "1024 requests"),
        (1, core("ValueError: Free memory on device cuda:0 (3.1/79.1 GiB) on startup is less than desired GPU memory"),
         False, FailureCause.GPU_UNAVAILABLE, "3.1 of 79.1 GiB"),
        (1, core("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0."),
         False, FailureCause.UNSUPPORTED_GPU, "at least 8.0"),
        (1, core("ValueError: FP8 KV cache is not supported by the Triton attention backend on NVIDIA A100 (compute"),
         False, FailureCause.UNSUPPORTED_GPU, "FP8"),
        (1, pydantic("VllmConfig", "World size (8) is larger than the number of available GPUs (4) in this node."),
         False, FailureCause.GPU_UNAVAILABLE, "needs 8 GPUs and sees 4"),
        (1, pydantic("VllmConfig",
                 "Total number of attention heads (8) must be divisible by tensor parallel size (3)"),
         False, FailureCause.UNSUPPORTED_COMBINATION, "8 attention heads"),
        (1, core("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)"), False,
         FailureCause.NCCL, "unhandled system error"),
        (1, core("x", exit_code=-9), False, FailureCause.ENVIRONMENT, "process of the server"),
        (1, core("x", exit_code=-7), False, FailureCause.ENVIRONMENT, "shared memory"),
        (1, "OSError: [Errno 98] Address already in use\n", False, FailureCause.PORT_UNAVAILABLE, "in use"),
        (1, core("TypeError: something new"), False, FailureCause.CRASH_LOADING, "TypeError: something new"),
        (-9, "", True, FailureCause.ENVIRONMENT, "under load"),
        (0, "(EngineCore pid=2) ERROR 11-25 02:07:13 [multiproc_executor.py:315] Worker proc VllmWorker-0 died "
            "unexpectedly (exit code: None), shutting down executor.\n"
            "(EngineCore pid=2) ERROR 11-25 02:07:13 [core.py:1512] RuntimeError: Executor failed.\n", True,
         FailureCause.CRASH_UNDER_LOAD, "Worker proc VllmWorker-0 died"),
        (1, "(EngineCore pid=2) ERROR 11-25 02:07:13 [multiproc_executor.py:315] Worker proc VllmWorker-0 died "
            "unexpectedly (exit code: -9), shutting down executor.\n", True,
         FailureCause.ENVIRONMENT, "process of the server"),
        (1, "(EngineCore pid=1) ERROR 11-25 01:50:46 [core.py:9] torch.OutOfMemoryError: CUDA out of memory.\n", True,
         FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "under load"),
    ],
)  # fmt: skip
def test_causes(engine: Vllm, code: int, log: str, ready: bool, cause: FailureCause, message: str) -> None:
    failure = engine.explain(code, log, ready=ready)
    assert failure is not None
    assert (failure.cause, failure.exit_code) == (cause, code)
    assert message in failure.message
    assert failure.remedy


LOG = (
    "(APIServer pid=17139) INFO 11-25 01:49:57 [api_utils.py:347]  \N{UPPER HALF BLOCK} version 0.32.0\n"
    "(APIServer pid=17139) INFO 11-25 01:49:57 [scheduler.py:307] Chunked prefill is enabled with "
    "max_num_batched_tokens=2048.\n"
    "(EngineCore pid=18358) INFO 11-25 01:50:46 [utils.py:347] Using LBHNC KV cache layout.\n"
    "(EngineCore pid=18358) INFO 11-25 01:50:46 [cuda.py:480] Using FLASH_ATTN attention backend out of potential.\n"
    "(EngineCore pid=18358) INFO 11-25 01:50:46 [kv_cache_utils.py:2327] GPU KV cache size: 2,097,152 tokens, Maximum "
    "concurrency for 1,024 tokens per request: 2048.00x\n"
)
METRICS = (
    "# TYPE vllm:cache_config_info gauge\n"
    'vllm:cache_config_info{block_size="128",cache_dtype="auto",enable_prefix_caching="True",engine="0",'
    'gpu_memory_utilization="0.92",kv_cache_max_concurrency="2048.0",kv_cache_size_tokens="2097152",'
    'num_gpu_blocks="16384",num_cpu_blocks="None"} 1.0\n'
)


def test_what_the_server_decided(engine: Vllm) -> None:
    assert engine.resolved({}, "", LOG) == {
        "version": "0.32.0",
        "kv-cache-tokens": 2097152,
        "max-model-len": 1024,
        "max-concurrency": 2048.0,
        "max-num-batched-tokens": 2048,
        "attention-backend": "FLASH_ATTN",
    }
    assert engine.resolved({"version": "0.32.0"}, METRICS, "") == {
        "version": "0.32.0",
        "block-size": 128,
        "kv-cache-dtype": "auto",
        "enable-prefix-caching": True,
        "gpu-memory-utilization": 0.92,
        "max-concurrency": 2048.0,
        "kv-cache-tokens": 2097152,
        "num-gpu-blocks": 16384,
    }


def test_a_simulator_says_so(engine: Vllm) -> None:
    assert engine.resolved({}, METRICS + "autotuner_simulated 1\n", "")["simulated"] is True
    assert engine.resolved({"simulated": True}, "", "") == {"simulated": True}
