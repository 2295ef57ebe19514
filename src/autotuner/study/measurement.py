"""What was measured at one scenario and one load level."""

from collections.abc import Mapping

from pydantic import Field

from autotuner.study.metric import METRICS
from autotuner.study.noun import Noun
from autotuner.study.workload import LoadLevel


class Distribution(Noun):
    """Statistics over the pooled values of all counted requests; seconds."""

    count: int
    mean: float
    std: float
    min: float
    p50: float
    p75: float
    p90: float
    p95: float
    p99: float
    p99_9: float
    max: float

    def value(self, statistic: str) -> float:
        """The statistic by its text name (``p99.9``)."""
        return float(getattr(self, statistic.replace(".", "_")))


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
    utilisation: float | None = None
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
    """Requests that ended inside the window."""
    failed: int
    """Of these, the ones that failed."""
    distributions: Mapping[str, Distribution] = Field(default_factory=dict)
    scalars: Mapping[str, float] = Field(default_factory=dict)
    errors: Mapping[str, int] = Field(default_factory=dict)
    """Failed requests by kind: ``http_500``, ``stream_error``, ``cut_stream``, ``timeout``, ``empty``, ``connect``."""
    token_source: str = "usage"  # noqa: S105 - not a secret: where the token counts come from
    """``usage`` (the server's), ``tokenizer`` (counted by us) or ``chunks`` (neither was available)."""
    self_check: SelfCheck = SelfCheck()
    gpu_use: GpuUse | None = None
    steady: bool = True
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
