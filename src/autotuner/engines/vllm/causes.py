"""Failure causes of vLLM.

Source of the log lines: vLLM 0.32.0, mostly ``vllm/config``, ``vllm/v1/core/kv_cache_utils.py`` and ``vllm/v1/worker``.
"""

import re

from autotuner.engines.shared import gpu_causes
from autotuner.engines.shared.causes import Line, line
from autotuner.engines.shared.gpu_causes import MemoryRemedies
from autotuner.study.failure import Failure, FailureCause

MEMORY_REMEDIES = MemoryRemedies(
    kind="vllm",
    loading="use more GPUs (tensor-parallel-size), quantize the model, or raise cpu-offload-gb",
    running="lower gpu-memory-utilization, max-num-batched-tokens, max-num-seqs or max-cudagraph-capture-size",
    loaded=r"Model loading took",
)

_IDLE_SHARE = 0.9
"""An idle GPU has at least this share of its memory free; the driver holds the rest."""
_FREE = re.compile(r"Free memory on device \S+ \(([\d.]+)/([\d.]+) GiB\) on startup is less than", re.IGNORECASE)


def explain(exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
    """Why the server exited; see :func:`autotuner.engines.shared.gpu_causes.explain`.

    If an idle GPU lacks memory, the flag asks for too much; no other process is to blame.
    """
    found = gpu_causes.explain(LINES, MEMORY_REMEDIES, exit_code, log_tail, ready=ready)
    free = _FREE.search(log_tail)
    if found and free and found.cause is FailureCause.GPU_UNAVAILABLE:
        share = float(free[1]) / max(float(free[2]), 1e-9)
        if share >= _IDLE_SHARE:
            message = f"gpu-memory-utilization asks for more than an idle GPU has free ({share:.0%} of its memory)"
            remedy = "lower gpu-memory-utilization"
            return found.model_copy(
                update={"cause": FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "message": message, "remedy": remedy}
            )
    return found


LINES: tuple[Line, ...] = (
    line(r"max seq len \((\d+)\), \(([\d.]+) GiB KV cache is needed, which is larger than the available KV cache "
         r"memory \(([\d.]+) GiB\)", FailureCause.KV_CACHE_TOO_SMALL,
         "one request of {1} tokens needs {2} GiB of KV cache; {3} GiB are available",
         "lower max-model-len, raise gpu-memory-utilization, or use more GPUs"),
    line(r"No available memory for the cache blocks", FailureCause.KV_CACHE_TOO_SMALL,
         "weights and activations leave no memory for the KV cache",
         "raise gpu-memory-utilization, lower max-num-batched-tokens, or use more GPUs"),
    line(r"not enough GPU memory available to serve even a single token", FailureCause.KV_CACHE_TOO_SMALL,
         "weights and activations leave no memory for the KV cache", "raise gpu-memory-utilization, or use more GPUs"),
    line(r"Failed to load model - not enough GPU memory", FailureCause.GPU_OUT_OF_MEMORY_LOADING,
         "GPU memory ran out while the weights were loaded", MEMORY_REMEDIES.loading),
    line(r"CUDA out of memory occurred when warming up \w+ with (\d+) dummy requests",
         FailureCause.GPU_OUT_OF_MEMORY_RUNNING,
         "GPU memory ran out while warming up the sampler with {1} requests",
         "lower max-num-seqs or gpu-memory-utilization"),
    line(r"Free memory on device \S+ \(([\d.]+)/([\d.]+) GiB\) on startup is less than", FailureCause.GPU_UNAVAILABLE,
         "only {1} of {2} GiB of GPU memory are free, less than gpu-memory-utilization asks for",
         "end other processes on the GPU, or lower gpu-memory-utilization"),
    line(r"max_num_batched_tokens \((\d+)\) is smaller than max_model_len \((\d+)\)",
         FailureCause.UNSUPPORTED_COMBINATION,
         "max-num-batched-tokens ({1}) is smaller than max-model-len ({2}), without chunked prefill",
         "raise max-num-batched-tokens to {2}, or set enable-chunked-prefill"),
    line(r"max_num_batched_tokens \((\d+)\) must be greater than or equal to max_num_seqs \((\d+)\)",
         FailureCause.UNSUPPORTED_COMBINATION,
         "max-num-batched-tokens ({1}) is smaller than max-num-seqs ({2})",
         "raise max-num-batched-tokens to {2}, or lower max-num-seqs"),
    line(r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \(\w+=(\d+)",
         FailureCause.INVALID_VALUE, "the model does not support requests of {1} tokens", "lower max-model-len to {2}"),
    line(r"Total number of attention heads \((\d+)\) must be divisible by tensor parallel size \((\d+)\)",
         FailureCause.UNSUPPORTED_COMBINATION,
         "the model's {1} attention heads cannot be divided among {2} GPUs",
         "set tensor-parallel-size to a divisor of {1}"),
    line(r"Selected backend (\S+) is not valid for this configuration\. Reason: ([^\n]+)",
         FailureCause.UNSUPPORTED_COMBINATION,
         "attention-backend {1} cannot be used here: {2}",
         "choose another attention-backend, or let the server choose"),
    line(r"No valid attention backend found for ([^\n]+?) with", FailureCause.UNSUPPORTED_COMBINATION,
         "no attention backend supports these values on {1}", "choose another kv-cache-dtype or block-size"),
    line(r"FP8 KV cache is not supported by the Triton attention backend", FailureCause.UNSUPPORTED_GPU,
         "the GPU does not support an FP8 KV cache", "set kv-cache-dtype to auto"),
)  # fmt: skip
