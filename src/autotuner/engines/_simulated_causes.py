"""Why a simulated engine ended: it writes the real engines' lines, and these patterns read them as one would there."""

import re
from signal import Signals

from autotuner.study.failure import Failure, FailureCause

_LOWER = "lower {fraction}: nothing is left for activations and CUDA graphs"
_RAISE = "raise {fraction}, use more GPUs, or store weights or KV cache smaller"

_STARTING: tuple[tuple[str, FailureCause, str, str], ...] = (
    (r"error: unrecognized arguments: (.*)", FailureCause.INVALID_FLAG,
     "the server does not know {1}", "remove it, or check its spelling"),
    (r"error: (ambiguous option: .*)", FailureCause.INVALID_FLAG, "{1}", "write the flag out"),
    (r"error: argument (\S+): (.*)", FailureCause.INVALID_VALUE, "the server refuses {1}: {2}",
     "give it one of its values"),
    (r"^simulator: (.*)", FailureCause.INVALID_VALUE, "{1}", "correct the engine's settings"),
    (r"simulated: (.* is not simulated)", FailureCause.UNSUPPORTED_COMBINATION, "{1}", "leave it out"),
    (r"simulated: (.*is no known model shape.*)", FailureCause.MODEL_MISSING, "{1}", "set engine.model to a known one"),
    (r"invalid device ordinal|World size \(\d+\) is larger than the number of available GPUs",
     FailureCause.UNSUPPORTED_COMBINATION, "more GPUs are asked for than there are",
     "lower the parallel sizes, or raise engine.gpu_count"),
    (r"(not supported for the current GPU.*|not supported in this architecture.*)", FailureCause.UNSUPPORTED_GPU,
     "the GPU cannot run this: {1}", "use another data type, or a newer GPU"),
    (r"(.*must be divisible.*|assert self\.total_num_heads.*)", FailureCause.UNSUPPORTED_COMBINATION,
     "refused: {1}", "choose sizes that divide"),
    (r"(max_num_batched_tokens \(\d+\) (?:is smaller than|must be greater).*)", FailureCause.UNSUPPORTED_COMBINATION,
     "refused: {1}", "raise max-num-batched-tokens"),
    (r"(?:Warning: )?User-specified (\w+) \((\d+)\) is greater than the derived", FailureCause.INVALID_VALUE,
     "{1} {2} is more than the model's", "lower it"),
    (r"Capture cuda graph failed: .*out of memory", FailureCause.GPU_OUT_OF_MEMORY_RUNNING,
     "no memory was left to capture CUDA graphs", _LOWER),
    (r"out of memory occurred when warming up sampler", FailureCause.GPU_OUT_OF_MEMORY_RUNNING,
     "no memory was left for the sampler", _LOWER),
    (r"Free memory on device .* is less than desired GPU memory utilization", FailureCause.GPU_OUT_OF_MEMORY_RUNNING,
     "more memory is asked for than is free", _LOWER),
    (r"Loaded weights leave no GPU memory for the KV cache|Not enough memory\. Please try to increase",
     FailureCause.GPU_OUT_OF_MEMORY_LOADING, "the weights leave no room for a KV cache", _RAISE),
    (r"No available memory for the cache blocks", FailureCause.GPU_OUT_OF_MEMORY_LOADING,
     "the weights leave no room for a KV cache", _RAISE),
    (r"To serve at least one request with the model's max seq len \((\d+)\)", FailureCause.KV_CACHE_TOO_SMALL,
     "the KV cache cannot hold one request of {1} tokens", "lower max-model-len, or: " + _RAISE),
    (r"CUDA out of memory", FailureCause.GPU_OUT_OF_MEMORY_LOADING, "the weights do not fit", _RAISE),
    (r"error while attempting to bind on address \((.*?)\)", FailureCause.PORT_UNAVAILABLE,
     "the address {1} is in use", "stop what listens there, or give another port range"),
)  # fmt: skip


def explain(exit_code: int | None, log_tail: str, *, ready: bool, fraction: str) -> Failure | None:
    """The cause of an end; None where nothing is recognised. ``fraction`` is the engine's flag for its memory share."""

    def failure(cause: FailureCause, message: str, remedy: str) -> Failure:
        text = remedy.replace("{fraction}", fraction)
        return Failure(cause=cause, message=message, remedy=text, exit_code=exit_code, log_tail=log_tail)

    if ready and "CUDA out of memory" in log_tail:
        return failure(FailureCause.GPU_OUT_OF_MEMORY_RUNNING, "the GPU's memory ran out under load", _LOWER)
    for pattern, cause, message, remedy in () if ready else _STARTING:
        match = re.search(pattern, log_tail, re.MULTILINE)
        if match:
            return failure(cause, message.format("", *map(str.strip, match.groups())), remedy)
    if exit_code is not None and exit_code < 0 and -exit_code in set(Signals):
        cause = FailureCause.CRASH_UNDER_LOAD if ready else FailureCause.CRASH_LOADING
        return failure(cause, f"ended by {Signals(-exit_code).name}", "see the log's last lines")
    return None
