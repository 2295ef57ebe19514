"""Cases of vLLM. The logs are those of real runs of vLLM 0.32.0, on a CPU where the lines do not need a GPU."""

from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.study.failure import FailureCause
from support.engine_cases import EngineCases, Exited, Refused, Unsupported


def _invalid(config: str, error: str) -> str:
    """The log of a server that exits because pydantic refuses its configuration."""
    return (
        f"pydantic_core._pydantic_core.ValidationError: 1 validation error for {config}\n"
        f"  Value error, {error} [type=value_error, input_value=ArgsKwargs((), {{'x': 1}}), input_type=ArgsKwargs]\n"
        "    For further information visit https://errors.pydantic.dev/2.14/v/value_error\n"
    )


def _core(error: str, exit_code: int = 1) -> str:
    """The log of a server that exits because its engine process failed."""
    before = "(EngineCore pid=18358) ERROR 11-25 01:50:46 [core.py:1510] "
    return (
        f"{before}EngineCore failed to start.\n{before}Traceback (most recent call last):\n{before}{error}\n"
        "(APIServer pid=17139) RuntimeError: Engine core initialization failed. See root cause above. "
        f"Failed core proc(s): {{'EngineCore': {exit_code}}}\n"
    )


_KV_CACHE = (
    "ValueError: To serve at least one request with the model's max seq len (1024), (0.5 GiB KV cache is needed, which "
    "is larger than the available KV cache memory (0.0 GiB). Based on the available memory, the estimated maximum "
    "model length is 128. Try increasing `gpu_memory_utilization`"
)
_FREE = "ValueError: Free memory on device cuda:0 ({}/79.1 GiB) on startup is less than desired GPU memory"
_USAGE = "                     [model_tag]\napi_server.py: error: "
_DIED = (
    "(EngineCore pid=2) ERROR 11-25 02:07:13 [multiproc_executor.py:315] Worker proc VllmWorker-0 died unexpectedly "
)

VLLM = EngineCases(
    engine=Vllm(VllmSettings()),
    refused=(
        Refused({"enable-chunked-prefill": False, "max-num-batched-tokens": 2048, "max-model-len": "4k"},
                "max-num-batched-tokens", ("max-model-len (4000)",)),
        Refused({"max-num-batched-tokens": 64, "max-num-seqs": 128}, "max-num-batched-tokens",
                ("max-num-seqs (128)",)),
        Refused({"max-num-active-seqs": 64, "max-num-seqs": 32}, "max-num-active-seqs", ("max-num-seqs (32)",)),
        Refused({"long-prefill-token-threshold": 4096, "max-model-len": 2048}, "long-prefill-token-threshold",
                ("max-model-len (2048)",)),
        Refused({"tp": 4, "dcp": 3}, "decode-context-parallel-size", ("tensor-parallel-size (4)",)),
        Refused({"tp": 2, "pcp": 2, "dcp": 3}, "decode-context-parallel-size",
                ("prefill-context-parallel-size", "1, 2 or 4")),
        Refused({"enable-eplb": True}, "enable-eplb", ("enable-expert-parallel",)),
        Refused({"enable-eplb": True, "enable-expert-parallel": True}, "enable-eplb", ("GPU", "false")),
        Refused({"enable-dbo": True}, "enable-dbo", ("all2all-backend", "deepep_low_latency")),
        Refused({"enforce-eager": True, "max-cudagraph-capture-size": 8}, "max-cudagraph-capture-size",
                ("enforce-eager",)),
        Refused({"enable-prefix-caching": False, "prefix-caching-hash-algo": "xxhash"}, "prefix-caching-hash-algo"),
        Refused({"speculative-config": '{"method": "ngram"}', "spec-method": "ngram"}, "spec-method",
                ("speculative-config",)),
        Refused({"compilation-config": "{mode: 3"}, "compilation-config", ("JSON",)),
        Refused({"gpu-memory-utilization": 1.2}, "gpu-memory-utilization", ("at least 0, at most 1",)),
        Refused({"kv-cache-dtype": "q8"}, "kv-cache-dtype", ("auto, bfloat16",)),
        Refused({"enable-prefix-caching": "yes"}, "enable-prefix-caching", ("true or false",)),
        Refused({"no-enable-prefix-caching": True}, "no-enable-prefix-caching", ("enable-prefix-caching: false",)),
        Refused({"max-num-seqs": True}, "max-num-seqs", ("whole number",)),
        Refused({"max-num-seqs": (8, 16)}, "max-num-seqs", ("parameters",)),
        Refused({"max-model-len": "4q"}, "max-model-len", ("whole number", "auto")),
        Refused({"host": "x"}, "host"),
        Refused({"served_model_name": "x"}, "served-model-name", ("model.name",)),
        Refused({"ssl_certfile": "x"}, "ssl-certfile"),
        Refused({"trust_remote_code": True}, "trust-remote-code", ("allow_remote_code: true",)),
        Refused({"hf_token": "x"}, "hf-token", ("HF_TOKEN",)),
        Refused({"trust-remote": True}, "trust-remote", ("trust-remote-code",)),
        Refused({"hf-tok": "x"}, "hf-tok", ("hf-token",)),
        Refused({"reasoning-parser": "--trust-remote-code"}, "reasoning-parser", ("--trust-remote-code",)),
    ),
    accepted=(
        {"max-model-len": "auto", "max-num-batched-tokens": 64, "max-num-seqs": 64},
        {"max-model-len": "8k", "max-num-batched-tokens": "2K"},
        {"enable-chunked-prefill": False, "max-num-batched-tokens": 8192, "max-model-len": 8192},
        {"attention-backend": "FLASH_ATTN", "kv-cache-dtype": "fp8", "quantization": "fp8"},
        {"tp": 4, "dcp": 2},
        {"some-new-flag": "x"},
    ),
    unsupported=(
        Unsupported("Tesla V100-SXM2-16GB", {"quantization": "fp8"}, "quantization", "7.5"),
        Unsupported("Tesla T4", {"dtype": "bfloat16"}, "dtype", "8"),
        Unsupported("Tesla T4", {"attention-backend": "flash_attn"}, "attention-backend", "8"),
        Unsupported("Tesla T4", {"kv-cache-dtype": "fp8"}, "kv-cache-dtype", "8"),
        Unsupported("NVIDIA A100-SXM4-80GB", {"kv-cache-dtype": "fp8", "attention-backend": "FLASH_ATTN"},
                    "kv-cache-dtype", "9"),
        Unsupported("NVIDIA A10G", {"kv-cache-dtype": "fp8_e4m3", "attention-backend": "TRITON_ATTN"},
                    "kv-cache-dtype", "8.9"),
    ),
    exited=(
        Exited(2, _USAGE + "unrecognized arguments: --no-such-flag\n", False,
               FailureCause.INVALID_FLAG, ("--no-such-flag",)),
        Exited(2, _USAGE + "argument --max-num-seqs: invalid int value: 'many'\n", False,
               FailureCause.INVALID_VALUE, ("--max-num-seqs: invalid int value",)),
        Exited(2, _USAGE + "argument --kv-cache-dtype: invalid choice: 'q8' (choose from 'auto', 'fp8')\n", False,
               FailureCause.INVALID_VALUE, ("--kv-cache-dtype", "invalid choice: 'q8'")),
        Exited(1, _invalid("SchedulerConfig", "max_num_batched_tokens (512) is smaller than max_model_len (1024). "
                           "This"), False,
               FailureCause.UNSUPPORTED_COMBINATION, ("max-num-batched-tokens (512)", "max-model-len (1024)")),
        Exited(1, _invalid("SchedulerConfig",
                           "max_num_batched_tokens (4) must be greater than or equal to max_num_seqs (8)"), False,
               FailureCause.UNSUPPORTED_COMBINATION, ("max-num-batched-tokens (4)", "max-num-seqs (8)")),
        Exited(1, _invalid("ModelConfig", "User-specified max_model_len (9999) is greater than the derived "
                           "max_model_len (max_position_embeddings=4096.0 or model_max_length=None in model's "
                           "config.json)."), False, FailureCause.INVALID_VALUE, ("9999",)),
        Exited(1, _invalid("ModelConfig", "Unknown quantization method: nothing. Must be one of ['awq', 'fp8']"), False,
               FailureCause.UNSUPPORTED_COMBINATION, ("Unknown quantization method: nothing",)),
        Exited(1, "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or "
                  "'namespace/repo_name': '/srv/nothing'. Use `repo_type` argument if needed.\n", False,
               FailureCause.MODEL_MISSING),
        Exited(1, "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder "
                  "for the specified revision\n", False, FailureCause.MODEL_MISSING),
        Exited(1, _core(_KV_CACHE), False, FailureCause.KV_CACHE_TOO_SMALL, ("1024 tokens", "0.5 GiB", "0.0 GiB")),
        Exited(1, _core("ValueError: No available memory for the cache blocks. Try increasing"), False,
               FailureCause.KV_CACHE_TOO_SMALL),
        Exited(1, _core("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB."), False,
               FailureCause.GPU_OUT_OF_MEMORY_LOADING),
        Exited(1, "Model loading took 14 GiB memory and 3 seconds\n"
               + _core("torch.OutOfMemoryError: CUDA out of memory."), False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING),
        Exited(1, _core("ValueError: Failed to load model - not enough GPU memory."), False,
               FailureCause.GPU_OUT_OF_MEMORY_LOADING),
        Exited(1, _core("RuntimeError: CUDA out of memory occurred when warming up sampler with 1024 dummy requests. "
                        "Please"), False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("1024",)),
        Exited(1, _core(_FREE.format("3.1")), False, FailureCause.GPU_UNAVAILABLE, ("3.1 of 79.1 GiB",)),
        # The GPU is idle: only the flag asks for too much.
        Exited(1, _core(_FREE.format("78.6")), False,
               FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("gpu-memory-utilization", "99%")),
        Exited(1, _core("ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0."),
               False, FailureCause.UNSUPPORTED_GPU, ("at least 8.0",)),
        Exited(1, _core("ValueError: FP8 KV cache is not supported by the Triton attention backend on NVIDIA A100 "
                        "(compute"), False, FailureCause.UNSUPPORTED_GPU, ("FP8",)),
        Exited(1, _core("ValueError: Selected backend FLASHMLA is not valid for this configuration. Reason: "
                        "['head_size not supported']"), False,
               FailureCause.UNSUPPORTED_COMBINATION, ("FLASHMLA", "head_size not supported")),
        Exited(1, _core("ValueError: No valid attention backend found for cuda with AttentionSelectorConfig"), False,
               FailureCause.UNSUPPORTED_COMBINATION, ("cuda",)),
        Exited(1, _invalid("VllmConfig", "World size (8) is larger than the number of available GPUs (4) in this "
                           "node."), False, FailureCause.GPU_UNAVAILABLE, ("8 GPUs", "4")),
        Exited(1, _invalid("VllmConfig",
                           "Total number of attention heads (8) must be divisible by tensor parallel size (3)"), False,
               FailureCause.UNSUPPORTED_COMBINATION, ("8 attention heads", "3 GPUs")),
        Exited(1, _core("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)"),
               False, FailureCause.NCCL, ("unhandled system error",)),
        Exited(1, _core("x", exit_code=-9), False, FailureCause.ENVIRONMENT, ("a process of the server", "SIGKILL")),
        Exited(1, _core("x", exit_code=-7), False, FailureCause.ENVIRONMENT, ("/dev/shm",)),  # noqa: S108
        Exited(1, "OSError: [Errno 98] Address already in use\n", False, FailureCause.PORT_UNAVAILABLE),
        Exited(1, _core("TypeError: something new"), False, FailureCause.CRASH_LOADING, ("TypeError: something new",)),
        Exited(-9, "", True, FailureCause.ENVIRONMENT, ("SIGKILL", "under load")),
        Exited(0, _DIED + "(exit code: None), shutting down executor.\n"
               "(EngineCore pid=2) ERROR 11-25 02:07:13 [core.py:1512] RuntimeError: Executor failed.\n", True,
               FailureCause.CRASH_UNDER_LOAD, ("Worker proc VllmWorker-0 died",)),
        Exited(1, _DIED + "(exit code: -9), shutting down executor.\n", True,
               FailureCause.ENVIRONMENT, ("a process of the server", "SIGKILL")),
        Exited(1, "(EngineCore pid=1) ERROR 11-25 01:50:46 [core.py:9] torch.OutOfMemoryError: CUDA out of memory.\n",
               True, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("under load",)),
    ),
    gpus=(
        ({}, 1),
        ({"tensor_parallel_size": 4, "pp": 2}, 8),
        ({"tp": 2, "dp": 4, "ep": True}, 8),
        ({"tp": 4, "dcp": 2}, 4),
        ({"tp": 2, "pcp": 2}, 4),
    ),
    secrets=("api-key", "hf_token"),
    misspelled=("max-num-seq", "max-num-seqs"),
)  # fmt: skip
