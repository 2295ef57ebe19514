"""Measurements of one scenario at one load level."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from autotuner.study.base import FrozenModel
from autotuner.study.capacity.level_test import LevelDecision
from autotuner.study.metric import METRICS, fewest_samples
from autotuner.study.server_metrics import ServerMetrics
from autotuner.study.workload import LoadLevel


class Distribution(FrozenModel):
    """Statistics over the values of all counted requests, in seconds.

    A censored request was still unfinished when the measurement ended: its value is only known to exceed the time it
    was observed. It ranks above every known value, so a percentile that falls among the censored requests is unknown
    (None), and so are mean, std and max.
    """

    count: int
    """Number of values, including censored ones."""
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
    """Requests whose value is unknown because the measurement ended before they did."""
    too_few: tuple[str, ...] = ()
    """Statistics that ``count`` values are too few for, e.g. ``p99`` of fewer than 100."""

    def value(self, statistic: str) -> float | None:
        """A statistic by its name (``p99.9``); None if it is unknown."""
        found = getattr(self, statistic.replace(".", "_"))
        return None if found is None else float(found)

    def carries(self, statistic: str) -> bool:
        """Whether there are enough values for this statistic."""
        return self.count >= fewest_samples(statistic)


class SelfCheck(FrozenModel):
    """Whether the load generator kept up. Times in seconds, CPU in cores."""

    loop_lag_p99_s: float = 0.0
    send_lag_p99_s: float = 0.0
    asked_rate: float | None = None
    achieved_rate: float | None = None
    client_cpu_cores: float = 0.0
    foreign_cpu_cores: float | None = None
    """CPU used during the window by processes other than the server and the client; None if unknown."""
    client_limited: bool = False
    reasons: tuple[str, ...] = ()
    lagged: bool | None = None
    """Whether lags are all that limited the load generator. They may be those of one moment, so that another window
    shows none. None in measurements of earlier versions."""
    tpot_lag_s: float | None = None
    """The most by which its lag moves a TPOT: ``loop_lag_p99_s`` over the gaps of the shortest answer; None if that is
    unknown."""


class SetAside(FrozenModel):
    """A window that does not count, because its level was measured again. No figure of it is used anywhere."""

    why: str
    """What was wrong with it, other than what it showed of the server."""
    window_s: float
    requests: int
    self_check: SelfCheck
    records: str | None = None
    """Name of the Parquet file with its request records in the trial's folder."""
    started_at: float = 0.0
    """Seconds since the epoch."""


class GpuUse(FrozenModel):
    """Use of the trial's GPUs during one window; None where they report no value."""

    samples: int
    """Number of samples of each GPU."""
    utilization: float | None = None
    """Mean over GPUs and time, from 0 to 1."""
    memory_gb: float | None = None
    """Peak of the fullest GPU, in GiB."""
    power_w: float | None = None
    """Sum over GPUs, mean over time."""
    temperature_c: float | None = None
    """Peak of the hottest GPU."""
    clock_mhz: float | None = None
    """Mean over GPUs and time."""
    energy_j: float | None = None
    """Sum over GPUs, within the window."""


NOT_STEADY = "not steady"
"""Start of every warning about a rate or latency that changed within the window."""
OVERLOADED = "overloaded"
"""Start of every warning about a server that could not keep up with the arrivals."""
OF_SLICES = frozenset(
    {
        "output_throughput", "input_throughput", "total_throughput", "request_throughput", "goodput", "success_rate"
    }
)  # fmt: skip
"""Metrics with one value per window that slices have too."""


class Slice(FrozenModel):
    """Results of some of the requests of a window."""

    kind: Literal["part", "stage", "turn"] = "part"
    """What they have in common: the part of a mix, the stage of a load or the place in a conversation."""
    name: str = ""
    """``part 1`` or its own name, ``stage 2``, ``first turns`` or ``later turns``; empty in measurements of earlier
    versions."""
    label: str
    """``0.7 D(128,48)``."""
    requests: int
    """Counted requests with a known outcome."""
    failed: int
    distributions: Mapping[str, Distribution] = Field(default_factory=dict)
    scalars: Mapping[str, float] = Field(default_factory=dict)
    """Metrics with one value. Rates are per second of the window; those of a stage are per second of the stage, and
    count whatever the server did in that time."""


class Measurement(FrozenModel):
    """Results of one window of load, computed from its request records."""

    scenario: str
    level: LoadLevel
    window_s: float
    requests: int
    """Counted requests with a known outcome."""
    failed: int
    """Those of ``requests`` that failed."""
    arrived: int = 0
    """Requests scheduled (open loop) or sent (closed loop) during the window."""
    distributions: Mapping[str, Distribution] = Field(default_factory=dict)
    scalars: Mapping[str, float] = Field(default_factory=dict)
    errors: Mapping[str, int] = Field(default_factory=dict)
    """Number of failed requests by kind of error (``http_500``, ``timeout``); the metrics page lists the kinds."""
    error_messages: Mapping[str, str] = Field(default_factory=dict)
    """The server's first message for each kind of error: one line, without secrets."""
    answer_s: float | None = None
    """Estimated seconds per response, if none ended in the window; None if unknown."""
    token_source: str = "usage"  # noqa: S105 - not a secret: where the token counts come from
    """``usage`` (reported by the server), ``tokenizer`` (counted here) or ``chunks`` (neither is available)."""
    self_check: SelfCheck = SelfCheck()
    set_aside: tuple[SetAside, ...] = ()
    """Windows of this level that were measured too and do not count, in order."""
    gpu_use: GpuUse | None = None
    server: ServerMetrics | None = None
    """Metrics that the server reported; None if they were not sampled."""
    steady: bool = True
    overloaded: bool = False
    """Whether the backlog grew throughout the window, because requests arrived faster than the server answered."""
    thin: tuple[str, ...] = ()
    """Why the window holds too little data for the study's statistics; empty if it holds enough."""
    uncertainty: Mapping[str, float] = Field(default_factory=dict)
    """Half-width of the 95% interval relative to the value, by statistic and metric (``p99 ttft``)."""
    warnings: tuple[str, ...] = ()
    slices: tuple[Slice, ...] = ()
    """The parts of a mix, the stages of a load, and first and later turns, each by itself; empty for other windows."""
    bounds: Mapping[str, float] = Field(default_factory=dict)
    """Upper bounds of metrics that were not measured: the refuted load of a capacity search without a certificate."""
    cut: bool = False
    """Whether a capacity search ended early, not shown to hold more than the best configuration."""
    undecided: str = ""
    """Why a capacity search found no certified load; the values at it are then unknown, not bad."""
    decision: LevelDecision | None = None
    """How the test of the level came out, if the window ended with one."""
    records: str | None = None
    """Name of the Parquet file with the request records in the trial's folder."""
    started_at: float = 0.0
    """Seconds since the epoch."""

    def value(self, metric: str, statistic: str | None) -> float | None:
        """The metric's value; None if it was not measured, such as ``tpot`` of one-token responses."""
        if METRICS[metric].distribution:
            found = self.distributions.get(metric)
            return found.value(statistic) if found and statistic else None
        return self.scalars.get(metric)

    def of(self, name: str | None) -> "Measurement":
        """The results of a part of the load by the name of its slice, without any if there is none; None: all
        requests."""
        if name is None:
            return self
        nothing = Slice(label=name, requests=0, failed=0)
        part = next((found for found in self.slices if found.name == name), nothing)
        figures = ("requests", "failed", "distributions", "scalars")
        own = {figure: getattr(part, figure) for figure in figures}
        return self.model_copy(update={**own, "uncertainty": {}, "bounds": {}})

    def carries(self, metric: str, statistic: str | None) -> bool:
        """Whether the sample is large enough for this statistic. Always true for metrics with one value per window."""
        found = self.distributions.get(metric)
        return found is None or statistic is None or found.carries(statistic)
