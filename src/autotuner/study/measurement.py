"""What was measured at one scenario and one load level."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.study.base import Noun
from autotuner.study.metric import METRICS, fewest_samples
from autotuner.study.workload import LoadLevel


class Distribution(Noun):
    """Statistics over the pooled values of all counted requests, in seconds.

    A censored request is known to take longer than it was watched, but not how long. It ranks above every known value,
    so a percentile that falls among the censored requests is unknown (None), and so are mean, std and max.
    """

    count: int
    """Values the statistics rest on, censored ones included."""
    mean: float | None
    std: float | None
    min: float | None
    p50: float | None
    p75: float | None
    p90: float | None
    p95: float | None
    p99: float | None
    p99_9: float | None
    max: float | None
    censored: int = 0
    """Requests whose value is not known because the measurement ended first."""
    too_few: tuple[str, ...] = ()
    """Statistics that lie beyond what ``count`` values can show, e.g. ``p99`` of fewer than 100."""

    def value(self, statistic: str) -> float | None:
        """The statistic by its text name (``p99.9``); None where it is unknown."""
        found = getattr(self, statistic.replace(".", "_"))
        return None if found is None else float(found)

    def carries(self, statistic: str) -> bool:
        """Whether there are enough values for this statistic to lie among them."""
        return self.count >= fewest_samples(statistic)


class SelfCheck(Noun):
    """Whether the load generator kept up. Times in seconds, CPU in cores."""

    loop_lag_p99_s: float = 0.0
    send_lag_p99_s: float = 0.0
    asked_rate: float | None = None
    achieved_rate: float | None = None
    client_cpu_cores: float = 0.0
    foreign_cpu_cores: float | None = None
    """CPU used in the window by processes that are neither the server nor the client; None where unknown."""
    client_limited: bool = False
    reasons: tuple[str, ...] = ()


class GpuUse(Noun):
    """The trial's GPUs during one window; None where they do not tell."""

    samples: int
    """Of each GPU."""
    utilization: float | None = None
    """0 to 1, mean over GPUs and time."""
    memory_gb: float | None = None
    """GiB on the fullest GPU, at most."""
    power_w: float | None = None
    """All GPUs together, mean over time."""
    temperature_c: float | None = None
    """Of the hottest GPU, at most."""
    clock_mhz: float | None = None
    """Mean over GPUs and time."""
    energy_j: float | None = None
    """All GPUs together, inside the window."""


class Measurement(Noun):
    """One window of load, summed up from its request records."""

    scenario: str
    level: LoadLevel
    window_s: float
    requests: int
    """Requests that count and whose outcome is known."""
    failed: int
    """Of these, the ones that failed."""
    arrived: int = 0
    """Requests that arrived in the window: scheduled in it (open loop) or sent in it (closed loop)."""
    distributions: Mapping[str, Distribution] = Field(default_factory=dict)
    scalars: Mapping[str, float] = Field(default_factory=dict)
    errors: Mapping[str, int] = Field(default_factory=dict)
    """Failed requests by kind: ``http_500``, ``tls``, ``stream_error``, ``cut_stream``, ``timeout`` and others; the
    metrics page lists them."""
    error_messages: Mapping[str, str] = Field(default_factory=dict)
    """The server's first message of each kind of error: one line, without secrets."""
    answer_s: float | None = None
    """About how long one answer takes, in seconds, where none ended in the window; None where that is not known."""
    token_source: str = "usage"  # noqa: S105 - not a secret: where the token counts come from
    """``usage`` (the server's), ``tokenizer`` (counted by us) or ``chunks`` (neither was available)."""
    self_check: SelfCheck = SelfCheck()
    gpu_use: GpuUse | None = None
    steady: bool = True
    overloaded: bool = False
    """Requests arrived faster than the server answered them: the backlog grew through the window."""
    thin: tuple[str, ...] = ()
    """Why this window cannot carry what is asked of it; empty where it can."""
    uncertainty: Mapping[str, float] = Field(default_factory=dict)
    """Half-width of the 95% interval relative to the value, by metric and statistic (``p99 ttft``)."""
    warnings: tuple[str, ...] = ()
    records: str | None = None
    """Name of the request records' Parquet file, in the trial's folder."""
    started_at: float = 0.0
    """Seconds since the epoch."""

    def value(self, metric: str, statistic: str | None) -> float | None:
        """The metric's value, None where it was not measured (e.g. ``tpot`` of one-token answers)."""
        if METRICS[metric].distribution:
            found = self.distributions.get(metric)
            return found.value(statistic) if found and statistic else None
        return self.scalars.get(metric)

    def carries(self, metric: str, statistic: str | None) -> bool:
        """Whether the sample is large enough for this statistic; True for metrics with one value per window."""
        found = self.distributions.get(metric)
        return found is None or statistic is None or found.carries(statistic)
