"""How SGLang divides the memory of a GPU.

Defaults and formulas follow ``srt/arg_groups/memory_hook.py``, ``srt/mem_cache/kv_cache_configurator.py`` and the graph
runners of SGLang 0.5.23.
"""

from math import ceil
from typing import ClassVar

from autotuner.predict.gpus import GpuModel
from autotuner.predict.memory import MemoryRules, MemoryUse, Shortage, gib
from autotuner.predict.models import ModelShape
from autotuner.predict.roofline import GIB, Replica
from autotuner.study.search.serving import Serving

ATTENTION_BYTES = 0.5 * GIB
"""Workspace and metadata of the attention backend, for which the engine reserves 512 MB."""
MAX_PREFILL = 16384
"""Default of ``max-prefill-tokens``."""
_GRAPH_MB = 2.0
_PREFILL_GRAPH_MB = 8.0
"""Memory that the engine reserves per captured batch size and per captured prompt length."""
_MB = 1 << 20


class SglangMemory(MemoryRules):
    """The rules of SGLang: weights and KV cache share a fraction of what is free before loading."""

    engine: ClassVar[str] = "sglang"
    fraction_flag: ClassVar[str] = "mem-fraction-static"

    def settled(self, serving: Serving, shape: ModelShape | None, gpu: GpuModel) -> Serving:
        """See :meth:`MemoryRules.settled`."""
        memory = gpu.memory_gb
        chunk = serving.chunk
        if chunk is None:
            chunk = 2048 if memory < 20 else 4096 if memory < 60 else 8192 if memory < 160 else 16384
        batched = serving.max_batched_tokens or MAX_PREFILL
        decode = _largest_batch(serving, memory) if serving.graphs else 0
        prefill = serving.graph_max_prefill
        if prefill is None:
            prefill = chunk or 8192
        fraction = serving.memory_fraction
        if fraction is None:
            tokens = max(chunk or batched, 2048)
            fraction = _fraction(serving, memory, tokens, decode, prefill, latent=bool(shape and shape.kv_rank))
        return serving.model_copy(
            update={
                "chunk": chunk,
                "max_batched_tokens": batched,
                "graph_max": decode,
                "graph_max_prefill": prefill,
                "memory_fraction": fraction,
                "context": serving.context or (shape.context if shape else None),
            }
        )

    def use(self, replica: Replica, serving: Serving, *, estimates: bool = True) -> MemoryUse:
        """See :meth:`MemoryRules.use`."""
        total = replica.gpu.memory_gb * GIB
        fixed = replica.fixed_bytes if estimates else 0.0
        weights = replica.weight_bytes
        fraction = 1.0 if serving.memory_fraction is None else serving.memory_fraction
        before = total - fixed
        budget = before - weights - before * (1 - fraction)
        tokens = int(budget // replica.kv_bytes_per_token)
        tokens = max(0, min(tokens, serving.max_tokens or tokens) // serving.page * serving.page)
        kv = tokens * replica.kv_bytes_per_token
        free = before - weights - kv
        captured = prefill_graph_bytes(serving.graph_max_prefill or 0), decode_graph_bytes(serving.graph_max or 0)
        graphs = sum(captured) if estimates else 0.0
        reserve = ATTENTION_BYTES if estimates and graphs else 0.0
        shortage, why = self._shortage(serving, before, weights, budget, tokens, fraction)
        if shortage is None and graphs + reserve > free:
            shortage = Shortage.GRAPHS
            why = f"CUDA graphs and attention take {gib(graphs + reserve)} per GPU, and {gib(free)} are left for them"
        parts = {"weights": weights, "kv": kv, "activations": reserve, "graphs": graphs, "fixed": fixed}
        return MemoryUse(parts, budget, free - graphs, tokens, shortage, why)

    def sequences(self, serving: Serving, kv_tokens: int) -> int:
        """See :meth:`MemoryRules.sequences`."""
        most = max(1, kv_tokens // 2)
        if serving.max_sequences is not None:
            return min(serving.max_sequences, most)
        return min(max(min(int(kv_tokens / (serving.context or 1) * 512), 4096), 2048), most)

    def _shortage(
        self, serving: Serving, before: float, weights: float, budget: float, tokens: int, fraction: float
    ) -> tuple[Shortage | None, str]:
        if weights > before:
            return Shortage.WEIGHTS, f"the weights take {gib(weights)} per GPU, which has {gib(before)}"
        if budget <= 0:
            least = ceil(weights / before * 1000) / 1000
            why = (
                f"the weights take {gib(weights)} per GPU, and mem-fraction-static {fraction:g} allows "
                f"{gib(fraction * before)} for weights and KV cache; the least is {least:g}"
            )
            return Shortage.CACHE, why
        if tokens <= 0:
            why = f"{gib(budget)} per GPU are left for the KV cache, too few for one page of {serving.page} tokens"
            return Shortage.CACHE, why
        return None, ""


def _largest_batch(serving: Serving, memory_gb: float) -> int:
    """Largest captured decoding batch."""
    if serving.graph_max is not None:
        return serving.graph_max
    few = serving.tp < 4
    steps = ((20, 8), (35, 48 if few else 160), (60, 32 if few else 160), (160, 256 if few else 512))
    largest = next((size for below, size in steps if memory_gb < below), 512)
    return min(largest, serving.max_sequences or largest)


def _fraction(serving: Serving, memory_gb: float, tokens: int, decode: int, prefill: int, *, latent: bool) -> float:
    """Default of ``mem-fraction-static``: all but a reserve."""
    total = memory_gb * 1024
    reserve = 512 + tokens * 1.5 + serving.tp * serving.pp / 8 * 1024 + decode_graph_bytes(decode) / _MB
    if prefill:
        reserve += 1536 if latent else prefill_graph_bytes(prefill) / _MB
    if memory_gb > 60:
        reserve = max(reserve, 10 * 1024)
    return round((total - reserve) / total, 3)


def decode_graph_bytes(largest: int) -> float:
    """Memory of the decoding graphs up to a batch size."""
    return largest * _GRAPH_MB * _MB


def prefill_graph_bytes(longest: int) -> float:
    """Memory of the prefill graphs up to a number of tokens."""
    return _prefill_sizes(longest) * _PREFILL_GRAPH_MB * _MB


def _prefill_sizes(limit: int) -> int:
    """Number of prompt lengths that are captured up to a limit."""
    ranges = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256), (4608, limit + 1, 512))
    return sum(1 for r in ranges for size in range(*r) if size <= limit)
