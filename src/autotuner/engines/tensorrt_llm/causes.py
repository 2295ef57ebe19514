"""Failure causes of trtllm-serve.

Source of the log lines: repository NVIDIA/TensorRT-LLM, ``tensorrt_llm/commands/serve.py``, ``llmapi/llm.py`` and
``_torch/pyexecutor/py_executor_creator.py``.
"""

from autotuner.engines.shared.causes import Line, line
from autotuner.engines.shared.gpu_causes import MemoryRemedies
from autotuner.study.failure import FailureCause

MEMORY_REMEDIES = MemoryRemedies(
    kind="tensorrt_llm",
    loading="use more GPUs (tp-size, pp-size), lower max-num-tokens, or serve a quantized checkpoint",
    running="lower kv-cache-free-gpu-memory-fraction, max-num-tokens or max-batch-size",
    loaded=r"for max tokens in paged KV cache|Model init total",
)
_NOT_CREATED = r"due to insufficient GPU memory\.\s+The following component could not be created: "

LINES: tuple[Line, ...] = (
    line(_NOT_CREATED + r"(Model|Draft model[^\n]*)$", FailureCause.GPU_OUT_OF_MEMORY_LOADING,
         "GPU memory ran out while the weights were loaded ({1})", MEMORY_REMEDIES.loading),
    line(_NOT_CREATED + r"([^\n]+)", FailureCause.GPU_OUT_OF_MEMORY_RUNNING,
         "GPU memory ran out after the weights were loaded ({1})", MEMORY_REMEDIES.running),
    line(r"attention window is too large to fit even a single sequence", FailureCause.KV_CACHE_TOO_SMALL,
         "one request does not fit in the KV cache", "lower max-seq-len, or raise kv-cache-free-gpu-memory-fraction"),
    line(r"(\w+) is not a known backend", FailureCause.INVALID_VALUE,
         "unknown backend {1}", "set backend to pytorch"),
    line(r"Executor creation failed with NCCL error: ([^\n]+)", FailureCause.NCCL,
         "communication between GPUs failed: {1}", "set NCCL_DEBUG=INFO in engine.env and read the log"),
    line(r"Configuration path '(\S+)' is not (?:a supported LlmArgs field|supported)", FailureCause.INVALID_FLAG,
         "unknown server option {1}", "check its spelling with: autotuner params tensorrt_llm"),
)  # fmt: skip
