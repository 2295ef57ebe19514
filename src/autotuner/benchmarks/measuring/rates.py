"""Figures of a window that are amounts per second, and the share of successes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from autotuner.benchmarks.measuring.population import NS, Floats, Population, Request
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Requirements
from autotuner.study.objective import Comparison

Span = tuple[float, float]
"""Begin and end of a part of a window, in seconds."""


@dataclass(frozen=True)
class Group:
    """Some of a window's requests."""

    kind: Literal["part", "stage", "turn"]
    name: str
    label: str
    belongs: Callable[[Request], bool]
    span: Span | None = None
    """The time that it takes up in the window, within which rates count all requests; None: rates are those of its own
    requests in the whole window."""


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
    population: Population, output: Output, meets: Callable[[Request], bool], info: RunInfo, span: Span | None = None
) -> dict[str, float]:
    """The metrics with one value of a window, or of a part of it. What its requests cannot have is left out.

    Args:
        population: Its requests.
        output: Their output.
        meets: Whether a request meets its SLOs; see :func:`slo_test`.
        info: Facts about the window.
        span: The part of the window; None for all of it.
    """
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
    found["goodput"] = sum(map(meets, ended)) / window_s
    if counted:
        found["success_rate"] = sum(r.ok for r in counted) / len(counted)
    return found


def slo_test(requirements: Requirements, groups: Sequence[Group]) -> Callable[[Request], bool]:
    """A test whether a request meets every per-request SLO of the window. An SLO on a metric that the request does not
    have (``tpot`` of a one-token answer) is met, and so is one of a part of the load that it does not belong to.

    Args:
        requirements: What the window was measured for.
        groups: The parts of its load.
    """
    belongs = {group.name: group.belongs for group in groups}
    bounds = [
        slo
        for slo in requirements.slos
        if slo.bounds_each_request
        and slo.at in (None, requirements.level.text)
        and slo.scenario in (None, requirements.scenario)
    ]

    def meets(request: Request) -> bool:
        for slo in bounds:
            if slo.of is not None and not (slo.of in belongs and belongs[slo.of](request)):
                continue
            value = request.values.get(slo.metric, request.values.get(slo.metric.removesuffix("_scheduled")))
            if value is None:
                continue
            if value > slo.threshold if slo.comparison is Comparison.LE else value < slo.threshold:
                return False
        return True

    return meets
