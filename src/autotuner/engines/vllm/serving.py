"""What vLLM's flags say about a server before it is launched."""

from collections.abc import Callable, Mapping

from autotuner.engines.shared.serving import fraction, is_open, largest, positive
from autotuner.predict.vllm_memory import PAGE
from autotuner.study.base import Value
from autotuner.study.search.serving import Serving

_OPEN = frozenset(
    {
        "prefill-context-parallel-size", "decode-context-parallel-size", "num-gpu-blocks-override",
        "kv-transfer-config", "quantization-config", "compilation-config", "convert", "runner", "language-model-only",
    }
)  # fmt: skip
"""Flags whose effect on memory is not modeled unless they are at their default."""


def serving(
    values: Mapping[str, Value], defaults: Mapping[str, Value], size: Callable[[str], int | None]
) -> Serving | None:
    """The server that these flags start; None if the effect of a flag is not modeled.

    Args:
        values: Given flags by canonical name.
        defaults: Default by canonical name.
        size: A whole number among the values or defaults, with suffixes resolved.
    """
    if is_open(values, defaults, _OPEN):
        return None

    def known(name: str) -> int | None:
        return positive(size(name))

    tp = known("tensor-parallel-size") or 1
    dp = known("data-parallel-size") or 1
    cache = size("kv-cache-memory-bytes")
    if values.get("kv-cache-memory-bytes") is not None and (cache is None or cache < 0):
        return None
    speculative = values.get("spec-method") or values.get("speculative-config")
    return Serving(
        engine="vllm",
        tp=tp,
        pp=known("pipeline-parallel-size") or 1,
        dp=dp,
        # The experts of all replicas form one group, whether whole or in slices.
        ep=tp * dp if dp > 1 or values.get("enable-expert-parallel") else 1,
        weights=str(values.get("quantization") or ""),
        kv=str(values.get("kv-cache-dtype") or "auto"),
        memory_fraction=fraction(values.get("gpu-memory-utilization")),
        static_gb=cache / 2**30 if cache else None,
        max_sequences=known("max-num-seqs"),
        max_batched_tokens=known("max-num-batched-tokens"),
        chunk=0 if values.get("enable-chunked-prefill") is False else known("long-prefill-token-threshold"),
        context=known("max-model-len"),
        page=known("block-size") or PAGE,
        graphs=not values.get("enforce-eager"),
        graph_max=largest(values.get("cudagraph-capture-sizes")) or known("max-cudagraph-capture-size"),
        prefix_cache=values.get("enable-prefix-caching") is not False,
        speculative=None if speculative is None else str(speculative),
        flags=dict(values),
    )
