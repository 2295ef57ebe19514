"""Failure causes of SGLang.

Source of the log lines: SGLang 0.5.23, mostly ``sglang/srt/model_executor`` and ``sglang/srt/mem_cache``. When a worker
fails, it sends the main process SIGQUIT, which then kills its own process tree: exit code -9 does not mean that memory
ran out.
"""

from autotuner.engines.shared.causes import Line, line
from autotuner.engines.shared.gpu_causes import MemoryRemedies
from autotuner.study.failure import FailureCause

MEMORY_REMEDIES = MemoryRemedies(
    kind="sglang",
    loading="raise mem-fraction-static, use more GPUs (tp-size), or quantize the model",
    running="lower mem-fraction-static, cuda-graph-max-bs-decode, chunked-prefill-size or max-running-requests",
    loaded=r"Load weight end|Memory pool end|KV cache allocated|Capture [^\n]*graph",
)

LINES: tuple[Line, ...] = (
    line(r"Not enough memory\. Please try to increase --mem-fraction-static\.? Current value: (\S+)",
         FailureCause.KV_CACHE_TOO_SMALL,
         "the weights leave no GPU memory for the KV cache with {1}", MEMORY_REMEDIES.loading),
    line(r"Not enough memory\. Please try to increase --mem-fraction-static", FailureCause.KV_CACHE_TOO_SMALL,
         "the weights leave no GPU memory for the KV cache", MEMORY_REMEDIES.loading),
    line(r"Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=(\S+?)\. "
         r"Raise --mem-fraction-static above ([\d.]*\d)", FailureCause.KV_CACHE_TOO_SMALL,
         "the weights leave no GPU memory for the KV cache with mem-fraction-static {1}",
         "raise mem-fraction-static above {2}, or use more GPUs"),
    line(r"Capture cuda graph failed: ([^\n]*out of memory[^\n]*)", FailureCause.GPU_OUT_OF_MEMORY_RUNNING,
         "GPU memory ran out during CUDA graph capture",
         "lower mem-fraction-static or cuda-graph-max-bs-decode"),
    line(r"Capture cuda graph failed: ([^\n]+)", FailureCause.CRASH_LOADING,
         "CUDA graph capture failed: {1}",
         "choose another attention-backend, or set disable-cuda-graph"),
    line(r"(?:SWA pool cap|state cache is too small)[^\n]*", FailureCause.KV_CACHE_TOO_SMALL,
         "{0}", "raise mem-fraction-static, or lower max-running-requests"),
    line(r"alloc_req_slots runs out of memory", FailureCause.KV_CACHE_TOO_SMALL,
         "more requests are running than the server has slots for", "lower max-running-requests", late=True),
    line(r"(?:Prefill|Decode) out of memory\. Try to lower your batch size", FailureCause.KV_CACHE_TOO_SMALL,
         "the KV cache is full", "lower max-running-requests, or raise mem-fraction-static", late=True),
    line(r"Out of memory even after retracting all other requests", FailureCause.KV_CACHE_TOO_SMALL,
         "one request does not fit in the KV cache", "raise mem-fraction-static, or lower context-length", late=True),
    line(r"The memory capacity is unbalanced", FailureCause.GPU_UNAVAILABLE,
         "another process uses memory on some of the GPUs", "end it, or exclude these GPUs"),
    line(r"FlashAttention v3 Backend requires SM>=80 and SM<=90", FailureCause.UNSUPPORTED_GPU,
         "the GPU does not support attention-backend fa3", "set attention-backend to flashinfer or triton"),
    line(r"(TRTLLM M[HL]A backend[^\n]*(?:SM\d+|Blackwell)[^\n]*)", FailureCause.UNSUPPORTED_GPU,
         "{1}", "choose another attention-backend"),
)  # fmt: skip
