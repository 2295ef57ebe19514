"""Figures of a window that are amounts per second, and the share of successes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.benchmarks.measuring.population import NS, Floats, Population, Request
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Requirements
from autotuner.study.metric import METRICS
from autotuner.study.objective import Comparison


@dataclass(frozen=True)
class Output:
    """What the server put out during the window."""

    chunks: Sequence[tuple[Floats, float]]
    """For each request, the times of its chunks inside the window (seconds) and the amount per chunk."""
    unit: str
    """Unit of the amount, per second."""

    @property
    def tokens(self) -> bool:
        """Whether the amount is a number of tokens."""
        return self.unit == "tokens/s"


Span = tuple[float, float]
"""Begin and end of a part of a window, in seconds."""


def output_of(population: Population, info: RunInfo, span: Span | None = None) -> Output:
    """The output of a window, or of a part of it: in tokens, or where these do not exist or are not known, in
    answers."""
    begin, end = span or (0.0, info.window_ns * NS)
    answered = [r for r in population.requests if r.row["error"] is None and r.row["first_ns"] is not None]
    unknown = any(r.ok and r.row["token_source"] == "unknown" for r in answered)  # noqa: S105 - not a secret
    tokens = info.answers != "documents" and not unknown
    chunks: list[tuple[Floats, float]] = []
    for request in answered:
        times = request.row["first_ns"] * NS + np.concatenate(([0.0], np.cumsum(request.gaps)))
        inside = times[(times >= begin) & (times < end)]
        chunks.append((inside, request.tokens_per_chunk if tokens else 1.0))
    return Output(chunks, "tokens/s" if tokens else "answers/s")


def rates_of(
    population: Population, output: Output, requirements: Requirements, info: RunInfo, span: Span | None = None
) -> dict[str, float]:
    """The metrics with one value of a window, or of a part of it. What its requests cannot have is left out."""
    begin, end = span or (0.0, info.window_ns * NS)
    window_s = end - begin
    counted = population.counted
    ended = [r for r in population.requests if r.ended and begin <= r.row["end_ns"] * NS < end]
    prompt_tokens = 0
    for request in population.requests:
        row = request.row
        if row["error"] is None and row["first_ns"] is not None and begin <= row["first_ns"] * NS < end:
            prompt_tokens += row["asked_input"] if row["input_tokens"] is None else row["input_tokens"]
    found = {}
    if output.tokens:
        tokens = sum(len(times) * each for times, each in output.chunks)
        found["output_throughput"] = tokens / window_s
    found["input_throughput"] = prompt_tokens / window_s
    if output.tokens:
        found["total_throughput"] = (tokens + prompt_tokens) / window_s
    found["request_throughput"] = len(ended) / window_s
    if info.answers == "documents":
        found["document_throughput"] = sum(r.row["documents"] or 0 for r in ended) / window_s
    found["goodput"] = sum(map(_slo_test(requirements), ended)) / window_s
    if counted:
        found["success_rate"] = sum(r.ok for r in counted) / len(counted)
    return found


def _slo_test(requirements: Requirements) -> Callable[[Request], bool]:
    """A test whether a request meets every per-request SLO of the window. An SLO on a metric that the request does not
    have (``tpot`` of a one-token answer) is met."""
    bounds = [
        slo
        for slo in requirements.slos
        if slo.statistic is None
        and METRICS[slo.metric].distribution
        and slo.at in (None, requirements.level.text)
        and slo.scenario in (None, requirements.scenario)
    ]

    def meets(request: Request) -> bool:
        for slo in bounds:
            value = request.values.get(slo.metric, request.values.get(slo.metric.removesuffix("_scheduled")))
            if value is None:
                continue
            if value > slo.threshold if slo.comparison is Comparison.LE else value < slo.threshold:
                return False
        return True

    return meets
