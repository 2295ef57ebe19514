"""What SGLang's flags say about a server before it is launched."""

from collections.abc import Callable, Mapping

from autotuner.engines.shared.serving import fraction, is_open, largest, positive
from autotuner.study.base import Value
from autotuner.study.search.serving import Serving

_OPEN = frozenset(
    {"attn-cp-size", "dcp-size", "moe-dense-tp-size", "cuda-graph-config", "disaggregation-mode", "torchao-config"}
)
"""Flags whose effect on memory is not modeled unless they are at their default."""


def serving(
    values: Mapping[str, Value], defaults: Mapping[str, Value], size: Callable[[str], int | None], groups: int
) -> Serving | None:
    """The server that these flags start; None if the effect of a flag is not modeled.

    Args:
        values: Given flags by canonical name.
        defaults: Default by canonical name.
        size: A whole number among the values or defaults, with suffixes resolved.
        groups: Groups of data-parallel attention.
    """
    if is_open(values, defaults, _OPEN) or str(values.get("device") or "cuda") != "cuda":
        return None

    def known(name: str) -> int | None:
        return positive(size(name))

    chunk = size("chunked-prefill-size") or None
    speculative = values.get("speculative-algorithm")
    return Serving(
        engine="sglang",
        tp=known("tp-size") or 1,
        pp=known("pp-size") or 1,
        dp=1 if groups > 1 else known("dp-size") or 1,
        ep=known("ep-size") or 1,
        attention_dp=max(1, groups),
        weights=str(values.get("quantization") or ""),
        kv=str(values.get("kv-cache-dtype") or "auto"),
        memory_fraction=fraction(values.get("mem-fraction-static")),
        max_tokens=known("max-total-tokens"),
        max_sequences=known("max-running-requests"),
        max_batched_tokens=known("max-prefill-tokens"),
        chunk=None if chunk is None else max(0, chunk),
        context=known("context-length"),
        page=known("page-size") or 1,
        graphs=not _off(values, "decode"),
        graph_max=largest(values.get("cuda-graph-bs-decode")) or known("cuda-graph-max-bs-decode"),
        graph_max_prefill=0 if _off(values, "prefill") else known("cuda-graph-max-bs-prefill"),
        prefix_cache=not values.get("disable-radix-cache"),
        speculative=None if speculative is None else str(speculative),
        flags=dict(values),
    )


def _off(values: Mapping[str, Value], phase: str) -> bool:
    """Whether the phase (``decode`` or ``prefill``) runs without CUDA graphs."""
    switches = ("disable-cuda-graph", f"disable-{phase}-cuda-graph")
    return any(values.get(s) for s in switches) or values.get(f"cuda-graph-backend-{phase}") == "disabled"
