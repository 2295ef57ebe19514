"""Failure causes of llama.cpp's server, from its exit code and its last log lines.

The log lines are those of llama.cpp as of October 2026, each taken from a real run; the tests against the real server
fail when one of them changes.
"""

import re
from collections.abc import Callable
from signal import Signals

from autotuner.engines.shared.causes import ended_by, first_match, line
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.signals import from_outside

_ALLOCATION = (
    r"failed to allocate|unable to allocate|cannot allocate memory|std::bad_alloc|out of memory|alloc_buffer.*failed"
)

_LINES = (
    line(r"error: invalid argument: (\S+)", FailureCause.INVALID_FLAG,
         "the server does not know {1}", "remove it, or check its spelling with: autotuner params llama_cpp"),
    line(r'error while handling argument "([^"]+)": (.*)', FailureCause.INVALID_VALUE,
         "the server refuses {1}: {2}", "choose a value in its range: autotuner params llama_cpp"),
    line(r"error: (unknown value for .*|invalid value .*)", FailureCause.INVALID_VALUE,
         "{1}", "choose one of its values: autotuner params llama_cpp"),
    line(r"quantized V cache requires flash_attn", FailureCause.INVALID_VALUE,
         "a quantized V cache needs flash attention", "set flash-attn to on, or cache-type-v to f16"),
    line(r"n_seq_max must be <= (\d+)", FailureCause.INVALID_VALUE,
         "the server supports at most {1} slots", "set parallel to {1} or less"),
    line(r"couldn't bind HTTP server socket, hostname: (\S+), port: (\d+)", FailureCause.PORT_UNAVAILABLE,
         "port {2} of {1} is in use", "stop the process that listens there, or set another port range"),
    line(r"failed to open GGUF file '([^']*)' \(([^)]*)\)", FailureCause.MODEL_MISSING,
         "cannot open the model {1}: {2}", "correct model.path"),
    line(r"invalid magic characters|bad GGUF magic", FailureCause.MODEL_MISSING,
         "the model file is not in GGUF format", "set model.path to a GGUF file"),
    line(r"model is corrupted or incomplete|failed to read .*tensor|unexpectedly reached end of file",
         FailureCause.MODEL_MISSING,
         "the model file is damaged or incomplete", "download or convert the model again"),
    line(r"the xllamacpp wheel cannot be loaded: (.*)", FailureCause.NO_BINARY,
         "cannot load the llama.cpp wheel: {1}", "pip install 'llm-inference-autotuner[llama-cpp]'"),
    line(r"No space left on device", FailureCause.DISK_FULL, "the disk is full", "free up disk space"),
)  # fmt: skip

_USE_LESS = "lower ctx-size, parallel or batch-size, or quantize the cache (cache-type-k, cache-type-v)"


def explain(exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
    """Why the server exited; None if nothing is recognized. ``exit_code`` is negative for a signal."""

    def failure(cause: FailureCause, message: str, remedy: str) -> Failure:
        return Failure(cause=cause, message=message, remedy=remedy, exit_code=exit_code, log_tail=log_tail)

    return (
        first_match(_LINES, exit_code, log_tail, ready=ready)
        or _by_memory(log_tail, ready, failure)
        or from_outside(exit_code, log_tail, ready=ready)
        or _by_exit(exit_code, log_tail, ready, failure)
    )


_Make = Callable[[FailureCause, str, str], Failure]


def _by_memory(log_tail: str, ready: bool, failure: _Make) -> Failure | None:
    when = "under load" if ready else "while loading"
    if re.search(_ALLOCATION, log_tail, re.IGNORECASE):
        return failure(FailureCause.OUT_OF_MEMORY, f"memory allocation failed {when}", _USE_LESS)
    return None


def _by_exit(exit_code: int | None, log_tail: str, ready: bool, failure: _Make) -> Failure | None:
    if exit_code in {-Signals.SIGILL, 128 + Signals.SIGILL}:
        remedy = "use a llama-server built for this CPU (the wheel needs AVX2)"
        return failure(
            FailureCause.ENVIRONMENT, "the server uses an instruction that this CPU does not support", remedy
        )
    crash = FailureCause.CRASH_UNDER_LOAD if ready else FailureCause.CRASH_LOADING
    assertion = re.search(r"GGML_ASSERT\(.*\) failed", log_tail)
    if name := ended_by(exit_code):
        why = f": {assertion[0]}" if assertion else ""
        return failure(crash, f"terminated by {name}{why}", "leave this combination out, and report it to llama.cpp")
    errors = re.findall(r"^[\d.]+ E (.*)$", log_tail, re.MULTILINE)
    if errors and not ready:
        return failure(crash, f"could not start: {errors[0]}", "see the last lines of the log")
    return None
