"""What an engine has decided at start: everything that the scheduler and the HTTP side need to know."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autotuner.predict.roofline import GIB, Replica

Log = Callable[[str], None]
"""Takes one message, which may have several lines; the flavor's prefix is added by whoever writes it."""


class EngineExitError(Exception):
    """The engine ends: what it writes last, and its exit code (negative: the signal that it sends itself)."""

    def __init__(self, lines: str, exit_code: int) -> None:
        self.lines = lines
        self.exit_code = exit_code
        super().__init__(lines.strip().rsplit("\n", 1)[-1])


@dataclass(frozen=True)
class EngineConfig:
    """One server."""

    model_path: str
    served_name: str
    host: str
    port: int
    replica: Replica
    replicas: int
    """Data parallel copies; requests go to them in turn."""
    context: int
    kv_tokens: int
    """Of each replica."""
    page: int
    max_running: int
    """Of each replica."""
    max_prefill: int
    """Prompt tokens of one step, at most."""
    chunk: int | None
    """Prompts are cut into pieces of at most this; None: never cut."""
    prefix_cache: bool
    decode_graph_max: int
    """Largest batch of decoding requests that has a CUDA graph; 0: none has."""
    prefill_graph_max: int
    """Most tokens of a step with prompts that has one."""
    overlap: bool
    """The scheduler works while the GPU computes."""
    policy: str = "fcfs"
    mixed: bool = False
    conservativeness: float = 1.0
    decode_interval: int = 0
    """Decode steps before prompts are admitted again."""
    room_bytes: float | None = None
    """Left for temporary memory at run time; None: was measured at start, so that it cannot run out."""
    api_key: str | None = None
    metrics: bool = True
    decode_log_interval: int = 40
    resolved: Mapping[str, Any] = field(default_factory=dict)
    """The decided flags, for the information endpoint."""


def cuda_out_of_memory(asked_bytes: float, total_gb: float, free_bytes: float) -> str:
    """The text of ``torch.OutOfMemoryError``."""
    free = max(0.0, free_bytes)
    used = total_gb * GIB - max(0.0, free_bytes)
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {_size(asked_bytes)}. GPU 0 has a total "
        f"capacity of {total_gb:.2f} GiB of which {_size(free)} is free. Including non-PyTorch memory, this process "
        f"has {_size(used)} memory in use. Of the allocated memory {_size(used - 0.5 * GIB)} is allocated by PyTorch, "
        f"and {_size(96 << 20)} is reserved by PyTorch but unallocated. If reserved but unallocated memory is large "
        "try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for "
        "Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
    )


def _size(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / (1 << 20):.2f} MiB"
