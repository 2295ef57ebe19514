"""What a search is asked."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.errors import UsageError
from autotuner.study.capacity.level_test import CapacityBound
from autotuner.study.capacity.result import CapacityResult, ReplayedTrace
from autotuner.study.capacity.units import LOAD_KINDS
from autotuner.study.objective import SLO
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import CapacityLoad, LoadUnit, Scenario, TokenLengths


@dataclass(frozen=True)
class CapacityQuestion:
    """What is to be found. Loads in requests per second, in flight, or times the recorded speed."""

    bounds: tuple[CapacityBound, ...]
    slos: Sequence[SLO] = ()
    unit: LoadUnit = LoadUnit.RATE
    precision: float = 0.1
    confidence: float | None = 0.95
    """None for speeds."""
    start: float | None = None
    """First load; None: what a short closed loop answers, 4 in flight, or the recorded speed."""
    low: float = 0.0
    high: float = float("inf")
    max_requests: int = 20_000
    max_duration_s: float = 1_800.0
    required: float | None = None
    """Load that the server must hold. It is tested first, and the search ends if it is refuted."""
    trace: ReplayedTrace | None = None
    """What is replayed, for speeds."""
    lengths: tuple[TokenLengths, TokenLengths] | None = None
    """How input and output lengths are drawn, if each request draws its own; the twin of the server needs them."""


def question_about(
    load: CapacityLoad,
    bounds: tuple[CapacityBound, ...],
    slos: Sequence[SLO],
    start: float | None,
    *,
    required: bool = False,
) -> CapacityQuestion:
    """The question that a capacity load asks.

    Args:
        load: What is searched for.
        bounds: What must hold.
        slos: The SLOs as written; those on each request define goodput.
        start: The first load, if it is known.
        required: Whether the server must hold it.
    """
    return CapacityQuestion(
        bounds=bounds,
        slos=slos,
        unit=load.unit,
        precision=load.precision,
        confidence=None if load.unit is LoadUnit.SPEED else load.confidence,
        start=start,
        low=load.low or LOAD_KINDS[load.unit].lowest,
        high=load.high or float("inf"),
        max_requests=load.max_requests,
        max_duration_s=load.max_duration_s,
        required=start if required else None,
    )


def question_of(result: CapacityResult, bounds: tuple[CapacityBound, ...]) -> CapacityQuestion | None:
    """The question that a result answers, for given bounds; None for a result that does not say where it looked."""
    search = result.search
    if search is None:
        return None
    return CapacityQuestion(
        bounds=bounds,
        unit=result.unit,
        precision=result.precision,
        confidence=result.confidence,
        start=search.start,
        low=search.low,
        high=float("inf") if search.high is None else search.high,
        max_requests=search.max_requests,
        required=search.required,
        trace=search.trace,
        lengths=_lengths_of(result),
    )


def drawn_lengths(scenario: Scenario) -> tuple[TokenLengths, TokenLengths] | None:
    """How the lengths of a scenario's requests are drawn; None where they come from elsewhere, or are not all."""
    more = (scenario.prefixes, scenario.documents, scenario.images, scenario.conversations, scenario.dataset)
    if scenario.input is None or scenario.output is None or scenario.trace or scenario.mix or any(more):
        return None
    return scenario.input, scenario.output


def _lengths_of(result: CapacityResult) -> tuple[TokenLengths, TokenLengths] | None:
    """The same for a result's scenario; None for a text that is not one."""
    try:
        return drawn_lengths(parse_scenario(result.scenario))
    except (UsageError, ValueError):
        return None
