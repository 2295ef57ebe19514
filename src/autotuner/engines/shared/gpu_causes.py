"""Failure causes that all GPU engines written in Python on PyTorch share.

The log lines are those of CUDA, PyTorch, NCCL, argparse, click and huggingface_hub; an engine's own lines take
precedence.
"""

import re
from signal import Signals
from typing import NamedTuple

from autotuner.engines.shared.causes import Line, ended_by, first_match, line
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.signals import from_outside

_GPU_OOM = r"CUDA out of memory|OutOfMemoryError|cudaErrorMemoryAllocation|CUDA error: out of memory"
_CHILD_KILLED = r"exit ?code:? -9\b|\{[^}\n]*: -9\b"
_CHILD_BUS = r"exit ?code:? -7\b|\{[^}\n]*: -7\b|Bus error|SIGBUS"
_ERROR = re.compile(r"(?:^|[\]):] )((?:\w+\.)*\w*(?:Error|Exception)): (\S.*)$", re.MULTILINE)
_EXPLANATION = re.compile(
    r"^(?:\([^)]*\) )?(?:ERROR \S+ \S+ \[[^\]]*\] )? +Value error, (.+?)(?: \[type=.*)?$", re.MULTILINE
)
_WRAPPERS = re.compile(
    r"Engine core initialization failed|died during initialization|Subprocess .* crashed|exit code|Executor failed|"
    r"EngineCore encountered an issue"
)
_DIED = re.compile(r"(?:Worker proc|Subprocess) \S+ (?:died unexpectedly|\(pid=\d+\) crashed)")


class MemoryRemedies(NamedTuple):
    """An engine's remedies for running out of GPU memory. Loading and running need opposite ones."""

    kind: str
    """The engine's kind, for the command that lists its parameters."""
    loading: str
    """If weights and KV cache did not fit."""
    running: str
    """If no memory was left for activations and CUDA graphs."""
    loaded: str
    """Pattern of a log line that appears only after the weights are loaded."""


def _argument_lines(kind: str) -> tuple[Line, ...]:
    listing = f"autotuner params {kind}"
    return (
        line(
            r"error: unrecognized arguments: (.+)",
            FailureCause.INVALID_FLAG,
            "the server does not know {1}",
            f"remove it, or check its spelling with: {listing}",
        ),
        line(
            r"error: ambiguous option: (\S+) could match (.+)",
            FailureCause.INVALID_FLAG,
            "{1} is ambiguous; it matches {2}",
            f"write the flag in full: {listing}",
        ),
        line(
            r"error: argument ([^:\n]+): (.+)",
            FailureCause.INVALID_VALUE,
            "the server refuses {1}: {2}",
            f"choose a valid value: {listing}",
        ),
        line(
            r"No such option:? '?(--?[\w-]+)",
            FailureCause.INVALID_FLAG,
            "the server does not know {1}",
            f"remove it, or check its spelling with: {listing}",
        ),
        line(
            r"Error: Invalid value for '([^'\n]+)'(?: / '[^'\n]+')*: (.+)",
            FailureCause.INVALID_VALUE,
            "the server refuses {1}: {2}",
            f"choose a valid value: {listing}",
        ),
        line(
            r"Error: Option '([^'\n]+)' requires an argument",
            FailureCause.INVALID_VALUE,
            "{1} needs a value",
            f"choose a valid value: {listing}",
        ),
    )


_MODEL_LINES = (
    line(r"GatedRepoError|gated repo|is gated|Access to model \S+ is restricted|awaiting a review",
         FailureCause.MODEL_GATED,
         "the model is gated: its license has not been accepted",
         "accept the license on the model's page, then export the HF_TOKEN of that account"),
    line(r"RepositoryNotFoundError|Repository Not Found for url|is not a valid model identifier",
         FailureCause.MODEL_MISSING,
         "the model does not exist on the hub, or it is private",
         "correct model.path; for a private model, export HF_TOKEN"),
    line(r"\b(401|403) Client Error", FailureCause.MODEL_GATED,
         "the hub refused the download (HTTP {1})",
         "export the HF_TOKEN of an account with access to this model"),
    line(r"LocalEntryNotFoundError|Cannot find an appropriate cached snapshot|offline mode is enabled|"
         r"couldn't connect to 'https://huggingface\.co'|We couldn't connect to", FailureCause.MODEL_MISSING,
         "the model is not in the hub cache, and the hub cannot be reached",
         "download the model before the run, or give the machine access to the hub"),
    line(r"requires you to execute the \w+ file|(?:option|setting) `trust_remote_code=True`",
         FailureCause.MODEL_MISSING,
         "the model contains custom code, which runs only if you allow it",
         "if you trust it, set allow_remote_code: true in the engine section and trust-remote-code: true in its args"),
    line(r"does not appear to have a file named ([\w./-]*\w)", FailureCause.MODEL_MISSING,
         "the model folder has no {1}", "set model.path to a complete folder in Hugging Face format"),
    line(r"Could not detect config format|Invalid repository ID or local directory|Repo id must be in the form",
         FailureCause.MODEL_MISSING,
         "the model folder is incomplete or not in Hugging Face format",
         "set model.path to a complete folder in Hugging Face format"),
    line(r"Cannot find any model weights|Error while deserializing header|SafetensorError", FailureCause.MODEL_MISSING,
         "the model weights are missing or damaged", "download the model again"),
    line(r"Model architectures (\[.*?\]).*(?:not supported|failed to be inspected)",
         FailureCause.UNSUPPORTED_COMBINATION,
         "the server does not support the model architecture {1}", "use a newer image, or another engine"),
    line(r"(?:Can't load|Failed to load the|Error loading) tokenizer(.*)|Couldn't instantiate the backend tokenizer",
         FailureCause.MODEL_MISSING, "cannot load the tokenizer",
         "add tokenizer.json to the model folder, or name another tokenizer"),
    line(r"chat template .*(?:failed to be opened|not found|does not exist)", FailureCause.INVALID_VALUE,
         "cannot open the chat template", "correct chat-template"),
)  # fmt: skip

_MACHINE_LINES = (
    line(r"(\w+) at (\d+) is not available in", FailureCause.PORT_UNAVAILABLE,
         "port {2} ({1}) is in use", "stop the process that listens there, or set another port range"),
    line(r"Failed to bind socket to (\S+):(\d+)", FailureCause.PORT_UNAVAILABLE,
         "port {2} of {1} is in use", "stop the process that listens there, or set another port range"),
    line(r"address already in use", FailureCause.PORT_UNAVAILABLE,
         "the port is in use", "stop the process that listens there, or set another port range"),
    line(r"NVIDIA driver on your system is too old|driver version is insufficient|cudaErrorInsufficientDriver|"
         r"unsatisfied condition: cuda", FailureCause.DRIVER_MISMATCH,
         "the NVIDIA driver is too old for this server",
         "update the driver, or use an image built for an older CUDA version"),
    line(r"World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)", FailureCause.GPU_UNAVAILABLE,
         "the server needs {1} GPUs and sees {2}", "lower the parallel sizes, or give it more GPUs"),
    line(r"Only (\d+) GPUs are available, but (\d+) are required", FailureCause.GPU_UNAVAILABLE,
         "the server needs {2} GPUs and sees {1}", "lower the parallel sizes, or give it more GPUs"),
    line(r"invalid device ordinal", FailureCause.GPU_UNAVAILABLE,
         "the server needs more GPUs than it sees", "lower the parallel sizes, or give it more GPUs"),
    line(r"No CUDA GPUs are available|Found no NVIDIA driver|no CUDA-capable device|CUDA driver initialization failed|"
         r"Failed to infer device type|No GPU devices found", FailureCause.GPU_UNAVAILABLE,
         "the server sees no GPU", "check the driver (nvidia-smi) and whether the container can access the GPUs"),
    line(rf"No space left on device.*/dev/shm|/dev/shm.*(?:No space left|too small|failed)|"
         rf"unable to (?:open|allocate|create|mmap) shared memory|while creating shared memory segment|{_CHILD_BUS}",
         FailureCause.ENVIRONMENT, "shared memory (/dev/shm) is too small",
         "give the container more of it (--shm-size 16g or --ipc host)", late=True),
    line(r"No space left on device|Disk quota exceeded", FailureCause.DISK_FULL,
         "the disk is full", "free up disk space", late=True),
)  # fmt: skip

_GPU_LINES = (
    line(r"no kernel image is available for execution", FailureCause.UNSUPPORTED_GPU,
         "the server has no kernels for this GPU", "use an image built for this GPU, or another backend"),
    line(r"(quantization method \S+) is not supported for the current GPU\. "
         r"(Minimum capability: \d+\. Current capability: \d+)",
         FailureCause.UNSUPPORTED_GPU, "the GPU does not support {1} ({2})", "choose another quantization"),
    line(r"(Bfloat16 is only supported on GPUs with compute capability of at least [\d.]+)",
         FailureCause.UNSUPPORTED_GPU, "{1}", "set dtype to half"),
    line(r"([^\n]{0,80}requires (?:SM\W?\d|compute capability)[^\n]{0,60})",
         FailureCause.UNSUPPORTED_GPU, "the GPU does not support this: {1}",
         "choose another backend, or let the server choose"),
    line(r"fp8e4nv not supported", FailureCause.UNSUPPORTED_GPU,
         "the GPU does not support FP8", "choose another kv-cache-dtype or quantization"),
    line(r"NCCL error[^\n]*|DistBackendError[^\n]*|nccl(?:UnhandledCuda|System|Internal|Remote)Error",
         FailureCause.NCCL, "communication between GPUs failed: {0}",
         "set NCCL_DEBUG=INFO in engine.env and read the log; check /dev/shm and the GPU interconnect", late=True),
)  # fmt: skip


def explain(
    own: tuple[Line, ...], remedies: MemoryRemedies, exit_code: int | None, log_tail: str, *, ready: bool
) -> Failure | None:
    """Why a server exited.

    Args:
        own: The engine's own log lines, checked first.
        remedies: The engine's remedies for running out of GPU memory.
        exit_code: Exit code of the server; negative for a signal.
        log_tail: The last lines of its log.
        ready: Whether the server was ready before it exited.

    Returns:
        The failure with its cause, or None if nothing is recognized.
    """
    table = (*own, *_argument_lines(remedies.kind), *_MODEL_LINES, *_MACHINE_LINES)
    # Specific lines first: an out-of-memory error, an unsupported GPU and a crash may all appear in one log.
    return (
        first_match(table, exit_code, log_tail, ready=ready)
        or _out_of_gpu_memory(remedies, exit_code, log_tail, ready)
        or first_match(_GPU_LINES, exit_code, log_tail, ready=ready)
        or _ended_from_outside(exit_code, log_tail, ready)
        or _crash(exit_code, log_tail, ready)
    )


def _out_of_gpu_memory(remedies: MemoryRemedies, exit_code: int | None, log_tail: str, ready: bool) -> Failure | None:
    if not re.search(_GPU_OOM, log_tail):
        return None
    loading = not ready and not re.search(remedies.loaded, log_tail)
    cause = FailureCause.GPU_OUT_OF_MEMORY_LOADING if loading else FailureCause.GPU_OUT_OF_MEMORY_RUNNING
    when = "while the weights were loaded" if loading else "under load" if ready else "after the weights were loaded"
    return Failure(
        cause=cause,
        message=f"GPU memory ran out {when}",
        remedy=remedies.loading if loading else remedies.running,
        exit_code=exit_code,
        log_tail=log_tail,
    )


def _ended_from_outside(exit_code: int | None, log_tail: str, ready: bool) -> Failure | None:
    """The failure if another program ended the server.

    SGLang sends itself SIGKILL and SIGQUIT after an error of its own; its log then names the error or the signal.
    """
    if re.search(_CHILD_KILLED, log_tail):
        found = from_outside(-Signals.SIGKILL, log_tail, ready=ready, who="a process of the server was")
        return found.model_copy(update={"exit_code": exit_code}) if found else None
    if _first_error(log_tail) or "SIGQUIT" in log_tail:
        return None
    return from_outside(exit_code, log_tail, ready=ready)


def _crash(exit_code: int | None, log_tail: str, ready: bool) -> Failure | None:
    cause = FailureCause.CRASH_UNDER_LOAD if ready else FailureCause.CRASH_LOADING
    error = _first_error(log_tail)
    signal = ended_by(exit_code)
    died = _DIED.search(log_tail)
    if error and not ready and re.match(r"(ValueError|AssertionError|NotImplementedError)", error):
        # Before it is ready, a server raises these for arguments that do not fit together.
        cause = FailureCause.UNSUPPORTED_COMBINATION
        message = f"the server refuses this configuration: {error}"
        remedy = "leave this combination out"
    elif error:
        message = f"exited {'under load' if ready else 'while loading'}: {error}"
        remedy = "see the last lines of the log"
    elif signal or died:
        message = f"terminated by {signal}" if signal else f"a process of the server exited: {died[0] if died else ''}"
        remedy = "see the last lines of the log; dmesg shows whether the kernel ran out of memory"
    else:
        return None
    return Failure(cause=cause, message=message, remedy=remedy, exit_code=exit_code, log_tail=log_tail)


def _first_error(log_tail: str) -> str | None:
    """The first exception with a message in the log, except for those that only point to another process."""
    for match in _ERROR.finditer(log_tail):
        name = match[1].rpartition(".")[2]
        text = match[2]
        inner = _EXPLANATION.search(log_tail, match.end())
        if name == "ValidationError" and inner:
            name = "ValueError"
            text = inner[1]
        if not _WRAPPERS.search(text):
            return " ".join(f"{name}: {text}".split())[:300]
    return None
