"""The trace that a search over speeds replays: what it consists of, whether the budgets allow it, and the check of a
level's requests against it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autotuner.benchmarks.measuring.traces.trace_part import Part, read_part
from autotuner.errors import Problem, UsageError
from autotuner.study.base import number_text
from autotuner.study.capacity.result import ReplayedTrace
from autotuner.study.capacity.units import LOAD_KINDS
from autotuner.study.workload import CapacityLoad, LoadUnit, TracePart

Row = Mapping[str, Any]
Arrival = tuple[float, int, int]
"""Time in seconds of the trace, input tokens, output tokens."""

_CLOCK_NS = 2.0
"""Rounding of a scheduled time."""
_ROUNDING = 1e-9
_OTHER_TRACE = "the trace file, or its description in the certificate, does not match what was replayed"


def replayed_trace(part: TracePart) -> ReplayedTrace:
    """What one level replays. Raises ``UsageError`` if the trace cannot be used."""
    found = read_part(part)
    return ReplayedTrace(part=part, requests=found.requests, span_s=found.span_s, sha256=_digest(found))


def first_speed(load: CapacityLoad, start: float | None = None) -> float:
    """Where a search begins: at ``start``, else at the recorded speed, or as close to it as is allowed."""
    return min(max(start or LOAD_KINDS[LoadUnit.SPEED].first, load.low or 0.0), load.high or float("inf"))


def budget_problems(part: TracePart, load: CapacityLoad, where: str, start: float | None = None) -> Iterator[Problem]:
    """Budgets that do not even allow one replay.

    Args:
        part: What is replayed.
        load: The search.
        where: Place of the budgets in the user's input.
        start: The first speed, if the user gave one.

    Raises:
        UsageError: If the trace cannot be used.
    """
    found = read_part(part)
    if found.requests > load.max_requests:
        why = f"one replay of the trace has {found.requests} requests"
        remedy = "raise it, or replay a shorter range or a sample of the trace"
        yield Problem(where=f"{where}.max_requests", value=str(load.max_requests), why=why, remedy=remedy)
    speed = first_speed(load, start)
    if found.span_s / speed > load.max_duration_s:
        why = f"one replay at {number_text(speed)}x takes {found.span_s / speed:.0f} s"
        setting = "low" if start is None else "start"
        remedy = f"raise it, replay a shorter range of the trace, or raise {setting} to begin at a higher speed"
        value = f"{number_text(load.max_duration_s)}s"
        yield Problem(where=f"{where}.max_duration", value=value, why=why, remedy=remedy)


class ReplayCheck:
    """Whether the levels of a search replayed the trace that it names.

    If the trace itself is not where it was measured, or is another one now, the levels are compared with the longest
    of them.

    Args:
        trace: What was replayed.
        longest: Records of the longest level, in the order of arrival.
        speed: Of that level.
    """

    def __init__(self, trace: ReplayedTrace, longest: Sequence[Row], speed: float) -> None:
        self._trace = trace
        self.problem: str | None = None
        """Why the trace does not belong to this result."""
        try:
            self.state = "unchanged" if replayed_trace(trace.part) == trace else "changed"
        except UsageError as error:
            self.state = f"{error.problems[0].why}; levels compared with one another"
        if self.state == "changed":
            self.problem = _OTHER_TRACE
        exact = self.state == "unchanged"
        self._requests = _of_trace(trace.part) if exact else _of_level(longest, speed)
        self._tolerance_ns = _CLOCK_NS if exact else _CLOCK_NS * (1 + speed)

    def level_problem(self, rows: Sequence[Row], speed: float, *, whole: bool) -> str | None:
        """Why the requests of a level are not those of the trace, or None if they are.

        Args:
            rows: Records of the level, in the order of arrival.
            speed: Of the level.
            whole: Whether the level must hold all of them.
        """
        requests = self._trace.requests
        if len(rows) > requests or (whole and len(rows) < requests):
            return f"{len(rows)} requests are not a replay of {requests}"
        if len(rows) > len(self._requests):
            return "its requests cannot be compared: those of the longest level cannot be read"
        for number, (row, expected) in enumerate(zip(rows, self._requests, strict=False)):
            at_s, *lengths = expected
            due_ns = at_s / speed * 1e9
            if abs(row["scheduled_ns"] - due_ns) > self._tolerance_ns * (1 + 1 / speed) + _ROUNDING * due_ns:
                return f"request {number} was due at another time than in the trace"
            if [row["asked_input"], row["asked_output"]] != lengths:
                return f"request {number} has other lengths than in the trace"
        return None


def _of_trace(part: TracePart) -> Sequence[Arrival]:
    found = read_part(part)
    trace = found.trace
    columns = (trace.at_s[found.inside], trace.inputs[found.inside], trace.outputs[found.inside])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _of_level(rows: Sequence[Row], speed: float) -> Sequence[Arrival]:
    return [(row["scheduled_ns"] * speed / 1e9, row["asked_input"], row["asked_output"]) for row in rows]


def _digest(part: Part) -> str:
    """SHA-256 of times, lengths and prefix blocks. Blocks are numbered by their first use, since their own names differ
    between two readings of a file."""
    trace = part.trace
    digest = hashlib.sha256()
    for column, kind in ((trace.at_s, "<f8"), (trace.inputs, "<i8"), (trace.outputs, "<i8")):
        digest.update(np.ascontiguousarray(column[part.inside], dtype=kind).tobytes())
    numbers: dict[int, int] = {}
    for index in range(*part.inside.indices(len(trace))):
        blocks = [numbers.setdefault(block, len(numbers)) for block in trace.blocks[index]]
        digest.update(f"{blocks}{trace.texts.get(index)}".encode())
    return digest.hexdigest()
