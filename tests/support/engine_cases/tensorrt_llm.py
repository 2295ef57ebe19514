"""Cases of trtllm-serve. The logs are composed of lines from its source."""

from autotuner.engines.tensorrt_llm.engine import TensorrtLlm, TensorrtLlmSettings
from autotuner.study.failure import FailureCause
from support.engine_cases import EngineCases, Exited, Refused, Unsupported


def _no_memory(component: str) -> str:
    return (
        "RuntimeError: Executor creation failed due to insufficient GPU memory.\n\n"
        f"The following component could not be created: {component}\nTotal GPU memory (GiB): 79.11\n"
    )


_USAGE = "Usage: trtllm-serve serve [OPTIONS] MODEL\nTry 'trtllm-serve serve --help' for help.\n\nError: "

TENSORRT_LLM = EngineCases(
    engine=TensorrtLlm(TensorrtLlmSettings(set_flag=True)),
    refused=(
        Refused({"tp-size": 4, "ep-size": 3}, "ep-size", ("tp-size (4)",)),
        Refused({"max-num-tokens": 64, "max-batch-size": 128}, "max-num-tokens", ("max-batch-size (128)",)),
        Refused({"max-num-tokens": 1024, "max-seq-len": 4096}, "max-num-tokens",
                ("max-seq-len (4096)", "enable-chunked-prefill")),
        Refused({"backend": "tensorrt", "kv-cache-config.dtype": "fp8"}, "backend", ("pytorch",)),
        Refused({"kv-cache-free-gpu-memory-fraction": 2}, "kv-cache-free-gpu-memory-fraction",
                ("at least 0, at most 1",)),
        Refused({"kv-cache-config.enable-block-reuse": "maybe"}, "kv-cache-config.enable-block-reuse",
                ("true, false",)),
        Refused({"port": 1}, "port"),
        Refused({"served_model_name": "x"}, "served-model-name", ("model.name",)),
        Refused({"set": "a=1"}, "set", ("kv_cache_config.dtype: fp8",)),
        Refused({"trust_remote_code": True}, "trust-remote-code", ("allow_remote_code: true",)),
    ),
    accepted=({"kv-cache-config.dtype": "fp8"}, {"tp-size": 4, "ep-size": 2}),
    unsupported=(Unsupported("NVIDIA A100-SXM4-80GB", {"kv-cache-config.dtype": "fp8"}, "kv-cache-config.dtype",
                             "8.9"),),
    exited=(
        Exited(2, _USAGE + "No such option '--kv_cache_dtype'.\n", False,
               FailureCause.INVALID_FLAG, ("--kv_cache_dtype",)),
        Exited(2, _USAGE + "No such option: --set\n", False, FailureCause.INVALID_FLAG, ("--set",)),
        Exited(2, _USAGE + "Invalid value for '--tensor_parallel_size' / '--tp_size': 'x' is not a valid integer.\n",
               False, FailureCause.INVALID_VALUE, ("--tensor_parallel_size", "'x' is not a valid integer")),
        Exited(2, _USAGE + "Invalid value for '--backend': 'zz' is not one of 'pytorch', 'tensorrt'.\n", False,
               FailureCause.INVALID_VALUE, ("--backend", "'zz' is not one of")),
        Exited(2, _USAGE + "Option '--tp_size' requires an argument.\n", False,
               FailureCause.INVALID_VALUE, ("--tp_size",)),
        Exited(1, _no_memory("Model"), False, FailureCause.GPU_OUT_OF_MEMORY_LOADING, ("Model",)),
        Exited(1, _no_memory("Draft model for speculative decoding"), False,
               FailureCause.GPU_OUT_OF_MEMORY_LOADING, ("Draft model",)),
        Exited(1, _no_memory("KV cache"), False, FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("KV cache",)),
        Exited(1, _no_memory("Model resources created during usage"), False,
               FailureCause.GPU_OUT_OF_MEMORY_RUNNING, ("Model resources created during usage",)),
        Exited(1, "RuntimeError: attention window is too large to fit even a single sequence in the KV cache\n", False,
               FailureCause.KV_CACHE_TOO_SMALL),
        Exited(1, "ValueError: zz is not a known backend\n", False, FailureCause.INVALID_VALUE, ("zz",)),
        Exited(1, "ValueError: Configuration path 'a.b' is not a supported LlmArgs field\n", False,
               FailureCause.INVALID_FLAG, ("a.b",)),
        Exited(1, "RuntimeError: Only 2 GPUs are available, but 4 are required.\n", False,
               FailureCause.GPU_UNAVAILABLE, ("4 GPUs", "2")),
        Exited(1, "ValueError: No GPU devices found on the node\n", False, FailureCause.GPU_UNAVAILABLE),
        Exited(1, "RuntimeError: Failed to bind socket to 0.0.0.0:8000: [Errno 98] Address already in use\n", False,
               FailureCause.PORT_UNAVAILABLE, ("8000", "0.0.0.0")),
        Exited(1, "RuntimeError: Executor creation failed with NCCL error: Failed, NCCL error x.cpp:1 'unhandled'\n",
               False, FailureCause.NCCL, ("'unhandled'",)),
        Exited(1, "pydantic_core._pydantic_core.ValidationError: 1 validation error for TorchLlmArgs\n"
                  "  Value error, max_tokens must be positive [type=value_error, input_value=0]\n", False,
               FailureCause.UNSUPPORTED_COMBINATION, ("max_tokens must be positive",)),
        Exited(137, "", False, FailureCause.ENVIRONMENT, ("SIGKILL",)),
    ),
    gpus=(({}, 1), ({"tp_size": 4, "pp_size": 2}, 8), ({"tp": 2, "context-parallel-size": 2, "ep": 2}, 4)),
    misspelled=("max-batch-sise", "max-batch-size"),
)  # fmt: skip
