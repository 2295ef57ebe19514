"""What the twin of a server adds to a search: where the capacity is, and controls for the levels that decide it."""

from collections.abc import Sequence

from autotuner.capacity.level import Bound
from autotuner.capacity.level_result import promising
from autotuner.capacity.search import COLD, CapacitySearch
from autotuner.capacity.twin.control import Control
from autotuner.capacity.twin.expected_misses import Lengths, capacity_of, expected_share
from autotuner.capacity.twin.fit import CLIPPED, LevelInput, Simulate, control_of, fit_twin, simulate
from autotuner.capacity.twin.model import Latency

_FEWEST_WARM = 500
"""Requests from which those before them are left out."""


class Prediction:
    """A twin of one server, fitted anew before each level to those before it.

    Args:
        bounds: The SLOs.
        latencies: What each bound is on; None for what a twin does not have.
        lengths: Draws the lengths of requests as the load generator does.
        run: The simulation.
    """

    def __init__(
        self, bounds: Sequence[Bound], latencies: Sequence[Latency | None], lengths: Lengths, run: Simulate = simulate
    ) -> None:
        self._bounds = bounds
        self._latencies = latencies
        self._lengths = lengths
        self._run = run
        self._controls: list[Control | None] = [None] * len(bounds)

    def prepare(self, search: CapacitySearch, levels: Sequence[LevelInput]) -> None:
        """Tells a search the capacities that the twin predicts, once levels on both sides of the capacity are known.

        Args:
            search: The search, about to choose its next level.
            levels: What the levels of the search received and answered.
        """
        search.predicted = (None,) * len(self._bounds)
        self._controls = [None] * len(self._bounds)
        if len({promising(result) for result in search.results}) < 2 or search.precise:
            return
        loads = [result.load for result in search.results]
        levels = _warm(levels)
        bounds = list(zip(self._bounds, self._latencies, strict=True))
        limits = [bound.limit for bound, latency in bounds if latency is Latency.E2E]
        model = fit_twin(levels, CLIPPED * max(limits) if limits else None, self._run)
        if model is None:
            return
        self._controls = [
            None
            if latency is None or bound.allowed is None
            else control_of(model, levels, bound.limit, latency, self._run)
            for bound, latency in bounds
        ]
        search.predicted = tuple(
            None
            if control is None or bound.allowed is None
            else capacity_of(control, bound.limit, bound.allowed, (min(loads), max(loads)), self._lengths, self._run)
            for bound, control in zip(self._bounds, self._controls, strict=True)
        )

    def controls(self, load: float) -> tuple[Control | None, ...]:
        """The controls of a level, one per bound; None for a bound whose misses the twin does not predict."""
        return tuple(
            None
            if control is None or bound.allowed is None
            else expected_share(control, bound.limit, bound.allowed, load, self._lengths, self._run)
            for bound, control in zip(self._bounds, self._controls, strict=True)
        )


def _warm(levels: Sequence[LevelInput]) -> Sequence[LevelInput]:
    """The levels that began when the server had compiled its kernels and filled its caches, if these are enough."""
    served = 0
    for index, level in enumerate(levels):
        if served >= COLD:
            rest = levels[index:]
            return rest if sum(len(one.arrivals) for one in rest) >= _FEWEST_WARM else levels
        served += len(level.arrivals)
    return levels
