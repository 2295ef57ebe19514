"""The configuration that an engine decides on at startup, for its scheduler and HTTP server."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autotuner.predict.roofline import GIB, Replica

Log = Callable[[str], None]
"""Writes one message, which may have several lines, with the prefix of the flavor."""


class EngineExitError(Exception):
    """The engine exits: the last lines of its log, and its exit code (negative for a signal that it sends itself)."""

    def __init__(self, lines: str, exit_code: int) -> None:
        self.lines = lines
        self.exit_code = exit_code
        super().__init__(lines.strip().rsplit("\n", 1)[-1])


@dataclass(frozen=True)
class EngineConfig:
    """Configuration of one server."""

    model_path: str
    served_name: str
    host: str
    port: int
    replica: Replica
    replicas: int
    """Data-parallel replicas; requests are distributed round-robin."""
    context: int
    """Maximum tokens of one request."""
    kv_tokens: int
    """KV cache size in tokens, per replica."""
    page: int
    """Tokens per KV cache page."""
    max_running: int
    """Maximum running requests, per replica."""
    max_prefill: int
    """Maximum prompt tokens per step."""
    chunk: int | None
    """Largest prompt chunk in tokens; None disables chunking."""
    prefix_cache: bool
    decode_graph_max: int
    """Largest decode batch with a CUDA graph; 0 for none."""
    prefill_graph_max: int
    """Largest prefill step in tokens with a CUDA graph; 0 for none."""
    overlap: bool
    """Whether scheduling overlaps with GPU computation."""
    micro_batch: int | None = None
    """Maximum running requests per pipeline stage; None: ``max_running`` divided among the stages."""
    policy: str = "fcfs"
    mixed: bool = False
    conservativeness: float = 1.0
    decode_interval: int = 0
    """Decode steps between two prefill steps."""
    room_bytes: float | None = None
    """Memory left for activations; None if it was measured at startup, so that it cannot run out."""
    api_key: str | None = None
    metrics: bool = True
    decode_log_interval: int = 40
    resolved: Mapping[str, Any] = field(default_factory=dict)
    """The resolved flags, for the information endpoint."""


def cuda_out_of_memory(requested_bytes: float, total_gb: float, free_bytes: float) -> str:
    """The message of ``torch.OutOfMemoryError``."""
    free = max(0.0, free_bytes)
    used = total_gb * GIB - max(0.0, free_bytes)
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {_size(requested_bytes)}. GPU 0 has a total "
        f"capacity of {total_gb:.2f} GiB of which {_size(free)} is free. Including non-PyTorch memory, this process "
        f"has {_size(used)} memory in use. Of the allocated memory {_size(used - 0.5 * GIB)} is allocated by PyTorch, "
        f"and {_size(96 << 20)} is reserved by PyTorch but unallocated. If reserved but unallocated memory is large "
        "try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid fragmentation.  See documentation for "
        "Memory Management  (https://pytorch.org/docs/stable/notes/cuda.html#environment-variables)"
    )


def _size(count: float) -> str:
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / (1 << 20):.2f} MiB"
