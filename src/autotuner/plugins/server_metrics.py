"""Names of the Prometheus metrics that are read from an engine: one table per engine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Figure(StrEnum):
    """A figure that is read from a server."""

    RUNNING = "running"
    WAITING = "waiting"
    KV_USAGE = "kv_usage"
    """0 to 1."""
    KV_USED = "kv_used"
    """With :attr:`KV_TOTAL`, in any unit, for engines without :attr:`KV_USAGE`."""
    KV_TOTAL = "kv_total"
    PREEMPTIONS = "preemptions"
    PROMPT_TOKENS = "prompt_tokens"
    """Cached ones included."""
    COMPUTED_TOKENS = "computed_tokens"
    """Prompt tokens that were not cached, for engines that count these."""
    CACHED_TOKENS = "cached_tokens"
    GENERATED_TOKENS = "generated_tokens"
    DRAFT_TOKENS = "draft_tokens"
    ACCEPTED_TOKENS = "accepted_tokens"
    HIT_RATE = "hit_rate"
    """A gauge of 0 to 1; used only where the counters are missing."""
    ACCEPTANCE_RATE = "acceptance_rate"
    """The same for speculative decoding."""


COUNTERS = frozenset(
    {
        Figure.PREEMPTIONS,
        Figure.PROMPT_TOKENS,
        Figure.COMPUTED_TOKENS,
        Figure.CACHED_TOKENS,
        Figure.GENERATED_TOKENS,
        Figure.DRAFT_TOKENS,
        Figure.ACCEPTED_TOKENS,
    }
)
"""Figures that only grow while a server lives; all others are gauges."""

TOTALS = frozenset({Figure.RUNNING, Figure.WAITING, Figure.KV_USED, Figure.KV_TOTAL, *COUNTERS})
"""Figures that are summed over replicas. Of the others, usage takes the largest value and rates the mean."""


@dataclass(frozen=True)
class MetricsSource:
    """How one engine names its metrics."""

    engine: str
    path: str
    """Of the Prometheus text, below the server's base URL."""
    names: Mapping[Figure, Sequence[str]]
    """Sample names as in the text, counters with their ``_total``; the current name first, then earlier ones. The
    first that the server has is used."""
    running_limit_flag: str = ""
    """The option that bounds running requests."""
    reserves_kv_cache: bool = False
    """Whether a request is admitted only if the KV cache has room for its whole answer: requests then wait long before
    the cache is full."""
    duplicates: frozenset[str] = field(default_factory=frozenset)
    """Labels whose values tell apart processes that report the same requests, as tensor-parallel ranks do."""
    born_late: frozenset[Figure] = field(default_factory=frozenset)
    """Counters that a server of any version has, but only after their first event; missing ones are 0."""

    @property
    def all_names(self) -> tuple[str, ...]:
        """Every sample name."""
        return tuple(dict.fromkeys(name for names in self.names.values() for name in names))


def wanted_names(sources: Iterable[MetricsSource]) -> tuple[str, ...]:
    """The sample names of several engines, for a server of unknown kind."""
    return tuple(dict.fromkeys(name for source in sources for name in source.all_names))
