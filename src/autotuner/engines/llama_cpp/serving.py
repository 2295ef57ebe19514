"""What llama-server's options say about a server before it is launched."""

from collections.abc import Callable, Mapping

from autotuner.study.base import Value
from autotuner.study.search.serving import Serving


def serving(values: Mapping[str, Value], value: Callable[[str], Value], *, on_gpu: bool) -> Serving | None:
    """The server that these options start; None if it computes on a GPU, or embeds instead of generating.

    Args:
        values: Given options by canonical name.
        value: An option's value or default.
        on_gpu: Whether layers are on a GPU.
    """
    if on_gpu or value("embedding") or value("reranking"):
        return None
    keys = str(value("cache-type-k"))
    return Serving(
        engine="llama_cpp",
        kv=keys if keys == str(value("cache-type-v")) else "f16",
        max_batched_tokens=_tokens_per_pass(value("ubatch-size"), value("batch-size")),
        context=_positive(value("ctx-size")),
        prefix_cache=value("cache-prompt") is not False,
        slots=_positive(value("parallel")),
        threads=_positive(value("threads")),
        flags=dict(values),
    )


def _tokens_per_pass(ubatch: Value, batch: Value) -> int | None:
    """The server computes no more tokens in one pass than ``batch-size`` allows."""
    known = [size for size in (_positive(ubatch), _positive(batch)) if size is not None]
    return min(known, default=None)


def _positive(value: Value) -> int | None:
    """A whole number above 0; None for text, 0 and -1, which leave the choice to the server."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
