"""Metrics: names as in genai-bench and vLLM, units, and which direction is better.

Times are in seconds and rates per second; only displayed times are in milliseconds. ``docs/reference/metrics.md`` has
the definitions.
"""

import math
from decimal import Decimal
from enum import StrEnum

from autotuner.study.base import FrozenModel
from autotuner.study.workload import LoadUnit


class Direction(StrEnum):
    """Whether smaller or larger values are better."""

    MIN = "min"
    MAX = "max"


class Unit(StrEnum):
    """Unit of a metric's stored values."""

    SECONDS = "s"
    TOKENS_PER_SECOND = "tokens/s"
    REQUESTS_PER_SECOND = "requests/s"
    DOCUMENTS_PER_SECOND = "documents/s"
    RATIO = "ratio"
    IN_FLIGHT = "in flight"
    SPEED = "x speed"
    JOULES_PER_TOKEN = "J/token"  # noqa: S105 - not a secret
    USD_PER_MILLION_TOKENS = "USD/1M tokens"
    USD_PER_REQUEST = "USD/request"


class Metric(FrozenModel):
    """A measured quantity."""

    name: str
    unit: Unit
    better: Direction
    distribution: bool
    """Whether there is one value per request, so that a statistic is needed (``p99 ttft``), or one per window."""
    meaning: str


STATISTICS = ("mean", "std", "min", "p50", "p75", "p90", "p95", "p99", "p99.9", "max")


def fewest_samples(statistic: str) -> int:
    """The smallest sample size for a percentile: 1 / (1 - q), so 100 for p99; 1 for other statistics.

    In a smaller sample the percentile equals the largest value and says nothing about the tail. This is a lower limit:
    to bound a percentile with confidence takes several times as many values.
    """
    if not statistic.startswith("p"):
        return 1
    beyond = 1 - Decimal(statistic[1:]) / 100
    return math.ceil(1 / beyond)


def _times(name: str, meaning: str) -> Metric:
    return Metric(name=name, unit=Unit.SECONDS, better=Direction.MIN, distribution=True, meaning=meaning)


def _rate(name: str, unit: Unit, meaning: str) -> Metric:
    return Metric(name=name, unit=unit, better=Direction.MAX, distribution=False, meaning=meaning)


def _cost(name: str, unit: Unit, meaning: str) -> Metric:
    return Metric(name=name, unit=unit, better=Direction.MIN, distribution=False, meaning=meaning)


CAPACITY_METRICS = {
    LoadUnit.RATE: "capacity",
    LoadUnit.CONCURRENCY: "capacity_in_flight",
    LoadUnit.SPEED: "capacity_speed",
}
"""The metric of a capacity by what it counts. In a study file, ``capacity`` stands for any of them."""
PER_GPU = "_per_gpu"
OF_CAPACITY = frozenset(
    f"{name}{end}" for name in (*CAPACITY_METRICS.values(), "capacity_tokens") for end in ("", PER_GPU)
)
"""Metrics that only a capacity search measures."""
GPU_METRICS = frozenset(
    {"output_throughput_per_gpu", "energy_per_token", *(name for name in OF_CAPACITY if name.endswith(PER_GPU))}
)
"""Metrics that are only measured if the trial's GPUs are known."""
COST_METRICS = frozenset({"cost_per_million_output_tokens", "cost_per_request"})
"""Metrics that are computed from prices."""
METRICS = {
    m.name: m
    for m in (
        _times("ttft", "time from just before the request's bytes are written to the first chunk with content"),
        _times("tpot", "(e2e_latency - ttft) / (output tokens - 1), per request"),
        _times("itl", "gaps between chunks that carry tokens"),
        _times(
            "itl_token", "gaps between chunks, each counted once per token in the later chunk and divided among them"
        ),
        _times("e2e_latency", "time from just before the request's bytes are written to the last chunk with a token"),
        _times("ttft_scheduled", "as ttft, but from the scheduled arrival (open loop): waiting is not hidden"),
        _times("e2e_latency_scheduled", "as e2e_latency, but from the scheduled arrival (open loop)"),
        _times("ttft_first_turn", "as ttft, of the first turns of conversations only"),
        _times("ttft_later_turns", "as ttft, of all turns of conversations but the first"),
        _rate("output_throughput", Unit.TOKENS_PER_SECOND, "output tokens inside the window / window"),
        _rate(
            "input_throughput",
            Unit.TOKENS_PER_SECOND,
            "prompt tokens of requests whose first token (without a stream: answer) fell inside the window / window",
        ),
        _rate("total_throughput", Unit.TOKENS_PER_SECOND, "input_throughput + output_throughput"),
        _rate("request_throughput", Unit.REQUESTS_PER_SECOND, "requests that completed inside the window / window"),
        _rate(
            "document_throughput",
            Unit.DOCUMENTS_PER_SECOND,
            "documents of embeddings and rerank requests that completed inside the window / window",
        ),
        _rate(
            "goodput",
            Unit.REQUESTS_PER_SECOND,
            "requests that completed inside the window and met every per-request SLO / window",
        ),
        _rate(
            "output_throughput_per_gpu",
            Unit.TOKENS_PER_SECOND,
            "output_throughput / GPUs of the trial; not measured without GPUs",
        ),
        _rate("capacity", Unit.REQUESTS_PER_SECOND, "highest certified load of a capacity search: all hard SLOs hold"),
        _rate("capacity_in_flight", Unit.IN_FLIGHT, "capacity of a search with unit: concurrency"),
        _rate("capacity_speed", Unit.SPEED, "capacity of a search on a trace: times the recorded speed"),
        _rate("capacity_tokens", Unit.TOKENS_PER_SECOND, "output_throughput at the certified load"),
        _rate("capacity_per_gpu", Unit.REQUESTS_PER_SECOND, "capacity / GPUs of the trial"),
        _rate("capacity_in_flight_per_gpu", Unit.IN_FLIGHT, "capacity_in_flight / GPUs of the trial"),
        _rate("capacity_speed_per_gpu", Unit.SPEED, "capacity_speed / GPUs of the trial"),
        _rate("capacity_tokens_per_gpu", Unit.TOKENS_PER_SECOND, "capacity_tokens / GPUs of the trial"),
        _rate("success_rate", Unit.RATIO, "requests that succeeded / requests of the window whose outcome is known"),
        _cost(
            "energy_per_token",
            Unit.JOULES_PER_TOKEN,
            "energy of the trial's GPUs inside the window / output tokens inside the window",
        ),
        _cost(
            "cost_per_million_output_tokens",
            Unit.USD_PER_MILLION_TOKENS,
            "price of the trial's GPUs (without GPUs: of the host) / output_throughput, for a million tokens",
        ),
        _cost(
            "cost_per_request",
            Unit.USD_PER_REQUEST,
            "price of the trial's GPUs (without GPUs: of the host) / request_throughput",
        ),
    )
}
