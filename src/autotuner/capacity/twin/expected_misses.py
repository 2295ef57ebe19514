"""Misses that a server's twin expects of a load, by simulation under Poisson arrivals; and the load it can take."""

from collections.abc import Callable
from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from autotuner.capacity.twin.control import SCALE, STEEPEST, Control
from autotuner.capacity.twin.fit import Simulate, simulate
from autotuner.capacity.twin.model import Latency

Floats = NDArray[np.float64]
Lengths = Callable[[np.random.RandomState, int], tuple[Floats, Floats]]
"""Draws the input and output lengths of as many requests."""

_RUNS = 120
"""Simulated levels of which the expected share of misses is the mean."""
_ROUGH_RUNS = 12
_LENGTH = 2_000
"""Requests of each that count."""
_SETTLES = 2.0
_TYPICAL_LENGTHS = 1_000
"""Lengths of which the mean is that of an answer."""
_DRIFTS = 3.0
"""Standard errors by which the second half of a level may differ from the first ..."""
_UNSETTLED = 0.1
"""... beyond this part of the allowed share."""
_USELESS = 0.5
"""Expected share of misses from which a prediction adds nothing: such a level is bad beyond doubt."""
_CLOSE = 1.015
"""Ratio of two rates between which the capacity is known well enough by few runs."""
_BESIDE = 1.03
"""Factor between the capacity by few runs and the rates at which more of them correct it. A percent decides: on a steep
curve, a level two percent too close to the capacity takes three times the requests."""
_FINER_RUNS = 60
_CORRECTION = 1.1
"""Most by which they do."""
_FEWEST_MISSES = 1e-6
_SEED = 13


def expected_share(
    control: Control, limit: float, allowed: float, rate: float, lengths: Lengths, run: Simulate = simulate
) -> Control | None:
    """The control with the share of misses that it expects under Poisson arrivals, by simulation of the twin.

    Args:
        control: The prediction.
        limit: Of the bound, in seconds.
        allowed: Share of requests that may miss.
        rate: Requests per second.
        lengths: Draws the lengths.
        run: The simulation.

    Returns:
        None if the twin cannot take this rate.
    """
    halves = _shares(control, limit, rate, lengths, _RUNS, run)
    shares = halves.mean(axis=1)
    drift = halves[:, 1] - halves[:, 0]
    if shares.mean() > _USELESS or abs(drift.mean()) > _DRIFTS * drift.std(ddof=1) / sqrt(_RUNS) + _UNSETTLED * allowed:
        return None
    return replace(
        control,
        expected=float(shares.mean()),
        error=float(shares.std(ddof=1) / sqrt(_RUNS)),
        settles=_settles(control, limit, rate, lengths),
    )


def capacity_of(
    control: Control,
    limit: float,
    allowed: float,
    between: tuple[float, float],
    lengths: Lengths,
    run: Simulate = simulate,
) -> float:
    """The rate at which a twin has the allowed share of misses, by bisection and by the slope where that ends.

    Args:
        control: The prediction.
        limit: Of the bound, in seconds.
        allowed: Share of requests that may miss.
        between: The rates between which it is looked for.
        lengths: Draws the lengths.
        run: The simulation.
    """
    low, high = between
    while high > low * _CLOSE:
        middle = sqrt(low * high)
        good = _shares(control, limit, middle, lengths, _ROUGH_RUNS, run).mean() <= allowed
        low, high = (middle, high) if good else (low, middle)
    rough = sqrt(low * high)

    def log_share(rate: float) -> float:
        return log(max(_shares(control, limit, rate, lengths, _FINER_RUNS, run).mean(), _FEWEST_MISSES))

    below = log_share(rough / _BESIDE)
    above = log_share(rough * _BESIDE)
    slope = (above - below) / (2 * log(_BESIDE))
    if slope <= 0:
        return rough
    change = (log(allowed) - (below + above) / 2) / slope
    return rough * exp(max(-log(_CORRECTION), min(change, log(_CORRECTION))))


def _settles(control: Control, limit: float, rate: float, lengths: Lengths) -> int:
    """Requests until the queue is that of a lasting load: those of two answers that just hold the limit."""
    answer_s = limit
    if control.latency is Latency.TPOT:
        _, outputs = lengths(np.random.RandomState(_SEED), _TYPICAL_LENGTHS)
        answer_s *= float(outputs.mean())
    return round(_SETTLES * answer_s * rate)


def _shares(control: Control, limit: float, rate: float, lengths: Lengths, runs: int, run: Simulate) -> Floats:
    """Shares of predicted misses in both halves of each run, once the queue has settled; all from an empty server."""
    settles = _settles(control, limit, rate, lengths)
    random = np.random.RandomState(_SEED)  # whose numbers, unlike those of newer generators, never change
    found = []
    for _ in range(runs):
        arrivals = np.cumsum(random.exponential(1 / rate, settles + _LENGTH))
        inputs, outputs = lengths(random, len(arrivals))
        latencies = run(control.model, control.latency, arrivals, inputs, outputs)[settles:]
        found.append(_chances(control, latencies, limit).reshape(2, -1).mean(axis=1))
    return np.stack(found)


def _chances(control: Control, predicted: Floats, limit: float) -> Floats:
    """As :meth:`Control.chance`."""
    beyond = SCALE * (np.minimum(predicted, control.longest(limit)) - limit) / control.spread
    return np.asarray(1 / (1 + np.exp(-np.clip(beyond, -STEEPEST, STEEPEST))))
