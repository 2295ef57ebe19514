"""What the flags of SGLang and vLLM have in common before a launch."""

from collections.abc import Collection, Mapping

from autotuner.study.base import Value, parts_of

_LOADED_AS_IS = frozenset({"auto", "pt", "safetensors", "npcache", "dummy", "fastsafetensors", "runai_streamer"})
"""Load formats that do not change the weights."""
_TELLING = ("offload", "override", "skip-layers")
"""Parts of the names of flags that move memory elsewhere or change the model; not all of these are in a catalog."""


def is_open(values: Mapping[str, Value], defaults: Mapping[str, Value], names: Collection[str]) -> bool:
    """Whether any flag affects a GPU's memory in a way that is not modeled.

    Args:
        values: Given flags by canonical name; ``name.key`` sets a key of a JSON flag.
        defaults: Default by canonical name.
        names: Flags to look for, in addition to those with a telling name.
    """
    if str(values.get("load-format") or "auto") not in _LOADED_AS_IS:
        return True
    given = {n for n, v in values.items() if v not in (None, False, defaults.get(n))}
    return any(n.partition(".")[0] in names or any(part in n for part in _TELLING) for n in given)


def positive(size: int | None) -> int | None:
    """A size above 0; None for others, which leave the choice to the engine or are refused by it."""
    return size if size is not None and size > 0 else None


def fraction(value: Value) -> float | None:
    """A value as a number from 0 on; None if it is not one."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else None


def largest(value: Value) -> int | None:
    """The largest of several sizes; None if none are given."""
    sizes = [int(part) for part in parts_of(value) if str(part).isdecimal()]
    return max(sizes, default=None)
