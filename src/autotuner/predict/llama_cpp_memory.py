"""How llama.cpp divides the memory of the host.

Weights are mapped from their file and may be evicted, and the host may swap, so that no size is refused; what matters
for the speed is how many requests the KV cache holds.
"""

from typing import ClassVar

from autotuner.predict.gpus import GpuModel
from autotuner.predict.memory import MemoryRules, MemoryUse
from autotuner.predict.models import ModelShape
from autotuner.predict.roofline import GIB, Replica
from autotuner.study.search.serving import Serving

SLOTS = 4
"""Default of ``parallel``."""
PASS = 512
"""Default of ``ubatch-size``."""
_ANY = 10**9


class LlamaCppMemory(MemoryRules):
    """The rules of llama.cpp: all slots share a KV cache of ``ctx-size`` tokens."""

    engine: ClassVar[str] = "llama_cpp"

    def settled(self, serving: Serving, shape: ModelShape | None, gpu: GpuModel) -> Serving:
        """See :meth:`MemoryRules.settled`."""
        slots = serving.slots or SLOTS
        return serving.model_copy(
            update={
                "slots": slots,
                "max_sequences": slots,
                "max_batched_tokens": serving.max_batched_tokens or PASS,
                "context": serving.context or (shape.context if shape else None),
                # A CPU has no launches that graphs could save.
                "graph_max": _ANY,
                "graph_max_prefill": _ANY,
            }
        )

    def use(self, replica: Replica, serving: Serving, *, estimates: bool = True) -> MemoryUse:
        """See :meth:`MemoryRules.use`."""
        tokens = serving.context or 0
        weights = replica.weight_bytes
        kv = tokens * replica.kv_bytes_per_token
        left = replica.gpu.memory_gb * GIB - weights
        parts = {"weights": weights, "kv": kv, "activations": 0.0, "graphs": 0.0, "fixed": 0.0}
        return MemoryUse(parts, left, left - kv, tokens)

    def sequences(self, serving: Serving, kv_tokens: int) -> int:
        """See :meth:`MemoryRules.sequences`."""
        return serving.slots or SLOTS
