"""Levels of a search against the simulated servers of queue_models.py, tested request by request."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Protocol

import numpy as np

from autotuner.capacity.backlog import Backlog
from autotuner.capacity.level import Bound, LevelTest, Outcome
from autotuner.capacity.level_result import LevelResult
from autotuner.capacity.search import CapacitySearch, Plan
from autotuner.capacity.twin.control import Control
from autotuner.capacity.twin.fit import LevelInput
from autotuner.capacity.twin.model import Latency
from autotuner.capacity.twin.prediction import Prediction
from queue_models import ALLOWED, Floats, Taken, run_twin

WARM_UP_S = 2.0
"""The default of a study."""
CHUNK = 512


class Takes(Protocol):
    """One run of a server."""

    def take_all(self, requests: int) -> Taken:
        """The next requests; fewer from a saturated server."""


class Runs(Protocol):
    """A server whose latency has a bound."""

    @property
    def limit(self) -> float:
        """Latency in seconds above which a request misses its bound."""

    @property
    def latency(self) -> Latency:
        """What the bound is on."""

    def run(self, rate: float, seed: int, served: int = 0) -> Takes:
        """Starts it, empty, at a rate of arrivals."""

    def lengths(self, random: np.random.RandomState, count: int) -> tuple[Floats, Floats]:
        """Input and output lengths of as many requests."""


def finish(search: CapacitySearch, server: Runs, alpha: float, random: Random, *, predict: bool = True) -> None:
    """Measures levels until a search has its answer.

    Args:
        search: The search, at its beginning.
        server: The server.
        alpha: Error rate of the answer.
        random: Gives each level its seed.
        predict: Whether misses are predicted from arrivals and lengths once the levels show how.
    """
    prediction = Prediction([Bound("p99", server.limit, ALLOWED)], [server.latency], server.lengths, run_twin)
    known: list[LevelInput] = []
    while True:
        if predict:
            prediction.prepare(search, known)
        plan = search.next_level()
        if plan is None:
            return
        control = prediction.controls(plan.load)[0] if plan.patience.likely is None else None
        result, level = measured(server, plan, alpha, random, search.spent, control)
        search.add(result)
        known.append(level)


def measured(
    server: Runs, plan: Plan, alpha: float, random: Random, served: int, control: Control | None
) -> tuple[LevelResult, LevelInput]:
    """Runs one level until it is decided or not worth more requests.

    Args:
        server: The server.
        plan: How the level is tested.
        alpha: Error rate of the whole answer.
        random: Gives the run its seed.
        served: Requests that the server has had before.
        control: The prediction of its misses.

    Returns:
        The result, and what the level shows of the server.
    """
    run = server.run(plan.load, random.getrandbits(63), served)
    parts = [run.take_all(round(WARM_UP_S * plan.load))]
    warm = len(parts[0].latencies)
    result = decided(predicted_requests(server, run, parts, control), server.limit, plan, alpha, warm, control)
    columns = [
        np.concatenate(column)[: result.requests] for column in zip(*(vars(one).values() for one in parts), strict=True)
    ]
    latencies, _, arrivals, inputs, outputs, ends = columns
    e2e = server.latency is Latency.E2E
    whole = np.where(ends <= arrivals[-1], latencies if e2e else ends - arrivals, np.nan)
    after_first = latencies * (outputs - 1)
    firsts = {Latency.E2E: whole, Latency.TTFT: latencies, Latency.TPOT: whole - after_first}[server.latency]
    return result, LevelInput(arrivals, inputs, outputs, whole, firsts)


def predicted_requests(
    server: Runs, run: Takes, parts: list[Taken], control: Control | None
) -> Iterator[tuple[float, int, float]]:
    """The requests after the warm-up with their predicted values; adds to the parts of the run."""
    parts.append(run.take_all(CHUNK))
    while True:
        done = sum(len(one.latencies) for one in parts[:-1])
        parts.append(run.take_all(CHUNK))  # requests end only after later ones have arrived
        now = parts[-2]
        predicted = np.zeros(len(now.latencies))
        if control is not None:
            arrivals = np.concatenate([one.arrivals for one in parts])
            inputs = np.concatenate([one.inputs for one in parts])
            outputs = np.concatenate([one.outputs for one in parts])
            found = run_twin(control.model, control.latency, arrivals, inputs, outputs)
            predicted = np.minimum(found[done : done + len(predicted)], control.longest(server.limit))
        yield from zip(now.latencies.tolist(), now.in_flight.tolist(), predicted.tolist(), strict=True)
        if len(now.latencies) < CHUNK:
            return


def decided(
    requests: Iterable[tuple[float, int, float]],
    limit: float,
    plan: Plan,
    alpha: float,
    warm: int,
    control: Control | None,
) -> LevelResult:
    """Tests a level by its requests: value, requests in flight, and predicted value of each."""
    bound = Bound("p99", limit, ALLOWED)
    test = LevelTest([bound], alpha * plan.certify, alpha * plan.refute, plan.dispersions, [control])
    backlog = Backlog()
    count = 0
    for value, in_flight, predicted in requests:
        if backlog.arrive(in_flight):
            test.saturate()
        test.add(Outcome((value,), in_flight, (predicted,)))
        count += 1
        if test.over(plan.patience):
            break
    else:
        test.saturate()
    below = test.log_evidence_below
    above = test.log_evidence_above
    observations = test.observations(plan.load)
    return LevelResult(plan.load, test.state, warm + count, observations, below - above, below, above)
