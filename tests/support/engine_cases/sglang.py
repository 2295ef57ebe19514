"""Cases of SGLang. The logs are as SGLang 0.5.23 writes them."""

from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.study.failure import FailureCause
from support.engine_cases import EngineCases, Exited, Refused, Unsupported


def crashed(error: str) -> str:
    """The log of a server that exits because a scheduler failed."""
    return (
        "[2026-11-25 01:00:01 TP0] Load weight begin. avail mem=78.68 GB\n"
        f"[2026-11-25 01:00:09 TP0] Scheduler hit an exception: Traceback (most recent call last):\n"
        '  File "/sgl/scheduler.py", line 1, in run_scheduler_process\n'
        f"{error}\n\n"
        "[2026-11-25 01:00:09] SIGQUIT received. signum=None, frame=None. It usually means one child failed.\n"
    )


_LOADED = "[2026-11-25 01:00:05 TP0] Load weight end. elapsed=3.1 s, avail mem=60.1 GB\n"
_USAGE = "usage: sglang serve [-h] --model-path MODEL_PATH\nsglang serve: error: "
_SCHEDULER_DIED = (
    "RuntimeError: Rank 0 scheduler died during initialization (exit code: {}). If exit code is -9 (SIGKILL)"
)

SGLANG = EngineCases(
    engine=Sglang(SglangSettings()),
    refused=(
        Refused({"tp-size": 4, "dp-size": 3, "enable-dp-attention": True}, "tp-size", ("3",)),
        Refused({"tp-size": 4, "attn-dp-size": 8}, "tp-size", ("8",)),
        Refused({"tp-size": 4, "attn-dp-size": 2, "dp-size": 2}, "dp-size", ("attn-dp-size", "1")),
        Refused({"tp-size": 4, "attn-cp-size": 3}, "attn-cp-size", ("tp-size (4)",)),
        Refused({"tp-size": 2, "ep-size": 4}, "ep-size", ("tp-size (2)",)),
        Refused({"tp-size": 8, "moe-dp-size": 3}, "moe-dp-size", ("tp-size (8)", "ep-size (1)")),
        Refused({"tp-size": 8, "moe-dense-tp-size": 3}, "moe-dense-tp-size", ("tp-size (8)",)),
        Refused({"chunked-prefill-size": 1000, "page-size": 64}, "chunked-prefill-size", ("page-size (64)",)),
        Refused({"chunked-prefill-size": -1, "enable-mixed-chunk": True}, "enable-mixed-chunk",
                ("chunked-prefill-size",)),
        Refused({"cuda-graph-max-bs": 64, "disable-cuda-graph": True}, "cuda-graph-max-bs-decode",
                ("disable-cuda-graph",)),
        Refused({"cuda-graph-max-bs-prefill": 64, "cuda-graph-backend-prefill": "disabled"},
                "cuda-graph-max-bs-prefill", ("cuda-graph-backend-prefill",)),
        Refused({"torch-compile-max-bs": 8}, "torch-compile-max-bs", ("enable-torch-compile",)),
        Refused({"enable-torch-compile": True, "disable-cuda-graph-padding": True}, "disable-cuda-graph-padding",
                ("enable-torch-compile",)),
        Refused({"enable-hicache": True, "disable-radix-cache": True}, "enable-hierarchical-cache",
                ("disable-radix-cache",)),
        Refused({"enable-priority-scheduling": True, "schedule-policy": "lpm"}, "schedule-policy", ("fcfs",)),
        Refused({"retraction-policy": "priority"}, "retraction-policy", ("enable-priority-scheduling", "length")),
        Refused({"enable-two-batch-overlap": True}, "enable-two-batch-overlap", ("moe-a2a-backend", "attn-dp-size")),
        Refused({"speculative-num-steps": 3}, "speculative-num-steps", ("speculative-algorithm",)),
        Refused({"mem-fraction-static": 1.5}, "mem-fraction-static", ("at least 0, at most 1",)),
        Refused({"schedule-policy": "lifo"}, "schedule-policy", ("lpm, random, fcfs",)),
        Refused({"tp-size": 2.5}, "tp-size", ("whole number",)),
        Refused({"context-length": "32q"}, "context-length", ("whole number",)),
        Refused({"model-path": "x"}, "model-path", ("model.path",)),
        Refused({"port": 1}, "port"),
        Refused({"config": "/x.yaml"}, "config", ("engine.args",)),
        Refused({"ssl-keyfile": "/k"}, "ssl-keyfile"),
        Refused({"no-enable-fused-qk-norm-rope": True}, "no-enable-fused-qk-norm-rope",
                ("enable-fused-qk-norm-rope: false",)),
        Refused({"trust_remote_code": True}, "trust-remote-code", ("allow_remote_code: true",)),
    ),
    accepted=(
        {"tp-size": 8, "dp-size": 4, "enable-dp-attention": True, "ep-size": 8},
        {"chunked-prefill-size": 8192, "page-size": 64, "enable-mixed-chunk": True},
        {"chunked-prefill-size": -1, "page-size": 64},
        {"context-length": "32k", "max-total-tokens": "1Mi"},
        {"attention-backend": "fa3", "quantization": "w8a8_fp8", "kv-cache-dtype": "fp8_e4m3"},
        {"some-new-flag": 3},
        {"trust_remote_code": False},
    ),
    unsupported=(
        Unsupported("NVIDIA A100-SXM4-80GB", {"quantization": "w8a8_fp8"}, "quantization", "8.9"),
        Unsupported("Tesla V100-SXM2-16GB", {"quantization": "fp8"}, "quantization", "8"),
        Unsupported("Tesla T4", {"quantization": "modelopt_fp8"}, "quantization", "8.9"),
        Unsupported("NVIDIA A100-SXM4-80GB", {"fp8-gemm-backend": "deep_gemm"}, "fp8-gemm-backend", "9"),
        Unsupported("NVIDIA A100-SXM4-80GB", {"kv-cache-dtype": "fp8_e4m3", "attention-backend": "triton"},
                    "kv-cache-dtype", "8.9"),
        Unsupported("Tesla T4", {"dtype": "bfloat16"}, "dtype", "8"),
        Unsupported("Tesla T4", {"attention-backend": "fa3"}, "attention-backend", "8.0 to 9.0"),
        Unsupported("NVIDIA B200", {"decode-attention-backend": "fa3"}, "decode-attention-backend", "8.0 to 9.0"),
        Unsupported("NVIDIA H100 80GB HBM3", {"attention-backend": "trtllm_mla"}, "attention-backend", "10"),
    ),
    exited=(
        Exited(2, _USAGE + "unrecognized arguments: --no-such 3\n", False,
               FailureCause.INVALID_FLAG, ("--no-such 3",)),
        Exited(2, _USAGE + "ambiguous option: --cuda-graph-max-bs could match --cuda-graph-max-bs-decode, --x\n", False,
               FailureCause.INVALID_FLAG, ("--cuda-graph-max-bs", "--cuda-graph-max-bs-decode, --x")),
        Exited(2, _USAGE + "argument --tp-size/--tensor-parallel-size: invalid int value: 'x'\n", False,
               FailureCause.INVALID_VALUE, ("--tp-size", "invalid int value: 'x'")),
        Exited(2, _USAGE + "argument --dtype: invalid choice: 'int1' (choose from 'auto', 'half')\n", False,
               FailureCause.INVALID_VALUE, ("--dtype", "invalid choice: 'int1'")),
        Exited(-9, crashed("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."), False,
               FailureCause.GPU_OUT_OF_MEMORY_LOADING),
        Exited(-9, _LOADED + crashed("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."), False,
               FailureCause.GPU_OUT_OF_MEMORY_RUNNING),
        Exited(-9, crashed("Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 1 GiB\n"
                           "Possible"), False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("CUDA graph",)),
        Exited(-9, crashed("Exception: Capture cuda graph failed: no kernel\nPossible"), False,
               FailureCause.CRASH_LOADING, ("no kernel",)),
        Exited(-9, crashed("torch.cuda.OutOfMemoryError: CUDA out of memory."), True,
               FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("under load",)),
        Exited(-9, crashed("RuntimeError: Not enough memory. Please try to increase --mem-fraction-static. "
                           "Current value: mem_fraction_static=0.3"), False,
               FailureCause.KV_CACHE_TOO_SMALL, ("mem_fraction_static=0.3",)),
        Exited(-9, crashed("ValueError: Loaded weights leave no GPU memory for the KV cache under "
                           "--mem-fraction-static=0.2. Raise --mem-fraction-static above 0.412 (minimum viable"), False,
               FailureCause.KV_CACHE_TOO_SMALL, ("mem-fraction-static 0.2",)),
        Exited(-9, crashed("RuntimeError: Decode out of memory. Try to lower your batch size."), True,
               FailureCause.KV_CACHE_TOO_SMALL),
        Exited(-9, crashed("RuntimeError: alloc_req_slots runs out of memory."), True,
               FailureCause.KV_CACHE_TOO_SMALL),
        Exited(-9, crashed("ValueError: Out of memory even after retracting all other requests"), True,
               FailureCause.KV_CACHE_TOO_SMALL),
        Exited(-9, crashed("ValueError: SWA pool cap of 0 tokens"), False,
               FailureCause.KV_CACHE_TOO_SMALL, ("SWA pool cap of 0 tokens",)),
        Exited(-9, crashed("ValueError: The memory capacity is unbalanced."), False, FailureCause.GPU_UNAVAILABLE),
        Exited(-9, crashed("ValueError: The quantization method w8a8_fp8 is not supported for the current GPU. "
                           "Minimum capability: 89. Current capability: 80."), False,
               FailureCause.UNSUPPORTED_GPU, ("w8a8_fp8", "Minimum capability: 89")),
        Exited(-9, crashed("AssertionError: FlashAttention v3 Backend requires SM>=80 and SM<=90. Please use"), False,
               FailureCause.UNSUPPORTED_GPU, ("fa3",)),
        Exited(-9, crashed("ValueError: TRTLLM MLA backend is only supported on Blackwell GPUs (SM100)."), False,
               FailureCause.UNSUPPORTED_GPU, ("SM100",)),
        Exited(-9, crashed("torch.distributed.DistBackendError: NCCL error in: x.cpp:1, unhandled system error"), False,
               FailureCause.NCCL, ("NCCL error in: x.cpp:1",)),
        Exited(1, "AssertionError: chunked_prefill_size must be divisible by page_size\n", False,
               FailureCause.UNSUPPORTED_COMBINATION, ("chunked_prefill_size must be divisible by page_size",)),
        Exited(1, "ValueError: port_base at 30234 is not available in 30 seconds. x\n", False,
               FailureCause.PORT_UNAVAILABLE, ("30234", "port_base")),
        Exited(1, "OSError: org/x is not a local folder and is not a valid model identifier listed on the hub\n", False,
               FailureCause.MODEL_MISSING),
        Exited(1, "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url x\n",
               False, FailureCause.MODEL_GATED),
        Exited(1, "requests.exceptions.HTTPError: 403 Client Error: Forbidden for url\n", False,
               FailureCause.MODEL_GATED, ("403",)),
        Exited(1, "ValueError: The repository /m contains custom code which must be executed. Please pass the argument "
                  "set the option `trust_remote_code=True` to allow\n", False, FailureCause.MODEL_MISSING),
        Exited(1, "OSError: /m does not appear to have a file named config.json.\n", False,
               FailureCause.MODEL_MISSING, ("config.json",)),
        Exited(1, "RuntimeError: Cannot find any model weights with `/m`\n", False, FailureCause.MODEL_MISSING),
        Exited(1, "OSError: Can't load tokenizer for '/m'.\n", False, FailureCause.MODEL_MISSING),
        Exited(1, "ValueError: Model architectures ['X'] are not supported for now.\n", False,
               FailureCause.UNSUPPORTED_COMBINATION, ("['X']",)),
        Exited(1, "ValueError: The chat template path /t does not exist\n", False, FailureCause.INVALID_VALUE),
        Exited(1, "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).\n", False,
               FailureCause.DRIVER_MISMATCH),
        Exited(1, "RuntimeError: No CUDA GPUs are available\n", False, FailureCause.GPU_UNAVAILABLE),
        Exited(1, "torch.AcceleratorError: CUDA error: invalid device ordinal\n", False, FailureCause.GPU_UNAVAILABLE),
        Exited(1, "RuntimeError: CUDA error: no kernel image is available for execution on the device\n", False,
               FailureCause.UNSUPPORTED_GPU),
        Exited(1, "ValueError: type fp8e4nv not supported in this architecture.\n", False,
               FailureCause.UNSUPPORTED_GPU),
        Exited(1, "RuntimeError: Machete requires SM90\n", False, FailureCause.UNSUPPORTED_GPU, ("requires SM90",)),
        Exited(1, _SCHEDULER_DIED.format(-9), False, FailureCause.ENVIRONMENT, ("a process of the server", "SIGKILL")),
        Exited(1, _SCHEDULER_DIED.format(-7), False, FailureCause.ENVIRONMENT, ("/dev/shm",)),  # noqa: S108
        Exited(137, "all is well\n", True, FailureCause.ENVIRONMENT, ("SIGKILL", "under load")),
        Exited(-15, "all is well\n", False, FailureCause.ENVIRONMENT, ("SIGTERM",)),
        Exited(-9, crashed("RuntimeError: CUDA error: an illegal memory access was encountered"), True,
               FailureCause.CRASH_UNDER_LOAD, ("an illegal memory access was encountered",)),
        Exited(-11, "", True, FailureCause.CRASH_UNDER_LOAD, ("SIGSEGV",)),
        Exited(1, "OSError: [Errno 28] No space left on device\n", False, FailureCause.DISK_FULL),
        # A prompt that is echoed in the log must not decide the cause.
        Exited(-11, "prompt: error: unrecognized arguments: --foo\n", True,
               FailureCause.CRASH_UNDER_LOAD, ("SIGSEGV",)),
    ),
    gpus=(
        ({}, 1),
        ({"tp-size": 4, "pp-size": 2}, 8),
        ({"tp": 2, "dp": 4}, 8),
        ({"tp-size": 8, "dp-size": 4, "enable-dp-attention": True}, 8),
        ({"tp-size": 8, "attn-dp-size": 4}, 8),
        ({"tp-size": 4, "ep-size": 4, "attn-cp-size": 2}, 4),
        ({"tp-size": "2"}, 2),
        ({"tp-size": "many"}, 1),
        ({"device": "cpu", "tp-size": 2}, 0),
    ),
    secrets=("api_key", "admin-api-key", "ssl-keyfile-password"),
    misspelled=("chunked-prefil-size", "chunked-prefill-size"),
)  # fmt: skip
