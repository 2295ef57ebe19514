"""Prometheus metrics that an inference server reported during one window."""

from autotuner.study.base import FrozenModel

FULL = 0.95
"""Share of KV blocks in use from which the cache counts as full. Engines stop admitting requests or preempt some
shortly before the last block is taken, and a sample rarely coincides with that."""


class GaugeStats(FrozenModel):
    """A gauge over the window. Each sample counts for the time until the next one."""

    mean: float
    min: float
    max: float


class ServerMetrics(FrozenModel):
    """One window. None where the engine does not report the figure.

    Gauges are summed over data-parallel replicas; KV cache use is that of the fullest one. Counters are differences
    over the window.
    """

    engine: str = ""
    """Engine whose metric names were found; empty where none were."""
    samples: int = 0
    """Number of samples inside the window."""
    coverage: float = 0.0
    """Share of the window that the samples represent."""
    running: GaugeStats | None = None
    """Requests in the running batch."""
    waiting: GaugeStats | None = None
    """Requests in the server's queue."""
    kv_usage: GaugeStats | None = None
    """KV cache in use, 0 to 1; cached prefixes that nothing uses are free."""
    kv_full_share: float | None = None
    """Share of the covered time in which ``kv_usage`` was at least :data:`FULL`."""
    kv_full_running: float | None = None
    """The fewest running requests that filled the KV cache; None where it never was full."""
    saturated_share: float | None = None
    """Of the time with a queue, the share in which the number of running requests was at its maximum."""
    queue_growth: float | None = None
    """Growth of the queue in requests per second, from the first third of the window to the last."""
    replicas: int = 1
    """Data-parallel replicas that report."""
    running_limit_flag: str = ""
    """The engine's option that bounds running requests."""
    running_limit: int | None = None
    """Its value for one replica; None where it is not known."""
    reserves_kv_cache: bool = False
    """Whether the engine admits a request only if the KV cache has room for its whole answer."""
    preemptions: int | None = None
    """How often a running request was sent back to the queue because the KV cache was full."""
    prompt_tokens: int | None = None
    """Tokens of all prompts, those found in the prefix cache included."""
    cached_tokens: int | None = None
    """Prompt tokens found in the prefix cache."""
    generated_tokens: int | None = None
    prefix_hit_rate: float | None = None
    """``cached_tokens / prompt_tokens``, 0 to 1."""
    draft_tokens: int | None = None
    accepted_tokens: int | None = None
    """Draft tokens that the model accepted."""
    acceptance_rate: float | None = None
    """``accepted_tokens / draft_tokens``, 0 to 1; None without speculative decoding."""
    notes: tuple[str, ...] = ()
    """Problems with these figures, or why there are none; one line each."""
    file: str | None = None
    """Name of the samples' Parquet file, in the trial's folder."""
