"""How vLLM divides the memory of a GPU.

Defaults and formulas follow ``engine/arg_utils.py``, ``v1/worker/gpu_worker.py`` and ``v1/core/kv_cache_utils.py`` of
vLLM 0.32.0.
"""

from typing import ClassVar

from autotuner.predict.gpus import GpuModel
from autotuner.predict.memory import MemoryRules, MemoryUse, Shortage, gib
from autotuner.predict.models import ModelShape
from autotuner.predict.roofline import GIB, Replica
from autotuner.study.search.serving import Serving

UTILIZATION = 0.92
"""Default of ``gpu-memory-utilization``."""
PAGE = 16
"""Default of ``block-size``."""
_CAPTURE_BYTES = 6.0 * (1 << 20)
"""Memory per captured batch size. Assumed value."""


class VllmMemory(MemoryRules):
    """The rules of vLLM: weights, peak activations, CUDA graphs and KV cache share a fraction of all memory."""

    engine: ClassVar[str] = "vllm"
    fraction_flag: ClassVar[str] = "gpu-memory-utilization"

    def settled(self, serving: Serving, shape: ModelShape | None, gpu: GpuModel) -> Serving:
        """See :meth:`MemoryRules.settled`."""
        large = gpu.memory_gb >= 70 and "a100" not in gpu.device.lower()
        seqs, batched = (1024, 16384) if gpu.memory_gb >= 160 else (1024, 8192) if large else (256, 2048)
        batched = serving.max_batched_tokens or batched
        seqs = serving.max_sequences or min(seqs, batched)
        graphs = serving.graph_max
        if graphs is None:
            graphs = min(seqs * 2, 1024 if gpu.capability // 10 == 10 else 512)
        graphs = min(batched, graphs) if serving.graphs else 0
        chunk = batched if serving.chunk is None else serving.chunk
        return serving.model_copy(
            update={
                "max_batched_tokens": batched,
                "max_sequences": seqs,
                "chunk": chunk,
                "graph_max": graphs,
                "graph_max_prefill": graphs,
                "memory_fraction": UTILIZATION if serving.memory_fraction is None else serving.memory_fraction,
                "context": serving.context or (shape.context if shape else None),
            }
        )

    def use(self, replica: Replica, serving: Serving, *, estimates: bool = True) -> MemoryUse:
        """See :meth:`MemoryRules.use`."""
        total = replica.gpu.memory_gb * GIB
        weights = replica.weight_bytes
        fraction = UTILIZATION if serving.memory_fraction is None else serving.memory_fraction
        wanted = fraction * total
        seqs = serving.max_sequences or 1
        batched = serving.max_batched_tokens or 1
        fixed = replica.fixed_bytes if estimates else 0.0
        peak = replica.activation_bytes(batched, min(seqs, batched)) if estimates else 0.0
        graphs = _captured(serving.graph_max or 0) if estimates else 0.0
        budget = wanted - weights - fixed - peak - graphs
        if serving.static_gb is not None:
            budget = serving.static_gb * GIB
        one = (serving.context or 1) * replica.kv_bytes_per_token
        shortage: Shortage | None = None
        why = ""
        if total - fixed < wanted:
            shortage = Shortage.UTILIZATION
            why = f"gpu-memory-utilization asks for {gib(wanted)} per GPU, and {gib(total - fixed)} are free at start"
        elif weights > total - fixed:
            shortage = Shortage.WEIGHTS
            why = f"the weights take {gib(weights)} per GPU, which has {gib(total - fixed)}"
        elif budget <= 0:
            shortage = Shortage.CACHE
            beside = f" and activations and graphs {gib(peak + graphs + fixed)}" if estimates else ""
            why = (
                f"the weights take {gib(weights)} per GPU{beside}, and gpu-memory-utilization "
                f"{fraction:g} allows {gib(wanted)} in all"
            )
        elif one > budget:
            shortage = Shortage.CONTEXT
            why = (
                f"the KV cache of one request of {serving.context} tokens takes {gib(one)} per GPU, and {gib(budget)} "
                "are left for it; lower max-model-len"
            )
        elif estimates and 8.0 * seqs * replica.model.vocab > total - wanted:
            shortage = Shortage.SAMPLER
            why = f"the logits of {seqs} sequences take more than the {gib(total - wanted)} that are left per GPU"
        tokens = max(0, int(budget // (replica.kv_bytes_per_token * serving.page)) * serving.page)
        kv = tokens * replica.kv_bytes_per_token
        parts = {"weights": weights, "kv": kv, "activations": peak, "graphs": graphs, "fixed": fixed}
        return MemoryUse(parts, budget, total - wanted, tokens, shortage, why)

    def sequences(self, serving: Serving, kv_tokens: int) -> int:
        """See :meth:`MemoryRules.sequences`."""
        return serving.max_sequences or 1


def _captured(graphs: int) -> float:
    """Bytes of all captured batch sizes up to a limit."""
    if not graphs:
        return 0.0
    return _CAPTURE_BYTES * (3 + graphs // 8 if graphs < 256 else 35 + (graphs - 256) // 16)
