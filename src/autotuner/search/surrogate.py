"""Gaussian process for a handful of trials: expected value and uncertainty of candidates.

The kernel is a Matern 5/2 with one length scale per parameter, plus noise. All of these are chosen by marginal
likelihood on a small grid, so that equal data give equal results. The amplitude is estimated, so units do not matter.
Violations enter as ranks turned into normal scores, so that a failed trial needs no number.
Optuna's own GP sampler needs PyTorch, which is a hundred times the size of all other dependencies.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LENGTHS = (0.15, 0.3, 0.6, 1.2, 2.4, 5.0)
_USUAL_LENGTH = 0.6
"""Median of a log-normal prior, for parameters that span 0 to 1. The likelihood of few trials is flat; the prior keeps
length scales from the extremes."""
_NOISES = (1e-3, 1e-2, 1e-1)
_SWEEPS = 2
"""Passes over all parameters' length scales."""
_FAR_BELOW = -6.0
"""Standard deviations between a bound and the mean from which on the tail is approximated."""
_LEAST_SPREAD = 1e-9
"""Variance that is assumed for values that do not differ."""


def scores(groups: Sequence[Sequence[int]]) -> dict[int, float]:
    """Normal scores of items given best first, tied items together; higher is better."""
    total = sum(len(g) for g in groups)
    found: dict[int, float] = {}
    for group in groups:
        middle = len(found) + len(group) / 2
        found.update(dict.fromkeys(group, NormalDist().inv_cdf(1 - middle / total)))
    return found


@dataclass(frozen=True)
class Surrogate:
    """A fitted process. Rows are points, columns are features of about unit range."""

    points: Array
    mean: float
    weights: Array
    root: Array
    """Cholesky factor of the kernel matrix."""
    lengths: Array
    """Length scale of each column."""
    amplitude: float
    noise: float
    own_noise: Array
    """Added noise of each point from its own uncertainty. Both kinds of noise are relative to the amplitude."""

    def predict(self, candidates: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of each candidate (one per row)."""
        cross = _kernel(candidates, self.points, self.lengths)
        spread = np.linalg.solve(self.root, cross.T)
        variance = self.amplitude * np.maximum(1 - (spread**2).sum(axis=0), 1e-12)
        return self.mean + cross @ self.weights, np.sqrt(variance)

    def believing(self, running: Array, values: Array) -> "Surrogate":
        """The process as if the running points had given their expected values, which lowers the interest in their
        surroundings; ``values`` are those it was fitted to."""
        expected, _ = self.predict(running)
        points = np.vstack([self.points, running])
        values = np.concatenate([values, expected])
        own_noise = np.concatenate([self.own_noise, np.zeros(len(running))])
        return _fitted(points, values, self.lengths, self.noise, own_noise, self.amplitude)


def fit(points: Array, values: Array, columns: Sequence[int], variances: Array | None = None) -> Surrogate:
    """The most likely process.

    First the best common length scale and noise, then the length scale of each parameter in turn.

    Args:
        points: At least one row of features.
        values: One value per row.
        columns: The parameter, from 0, that each column belongs to.
        variances: Known variance of each value, in squares of its unit; None if unknown.
    """
    owner = np.array(columns, dtype=int)
    spread = max(float(values.var()), _LEAST_SPREAD)
    # Capped at the amplitude: a value that is this uncertain says next to nothing anyway.
    own_noise = np.zeros(len(values)) if variances is None else np.minimum(variances / spread, 1.0)
    shared = [
        _fitted(points, values, np.full(len(owner), length), noise, own_noise)
        for length in _LENGTHS
        for noise in _NOISES
    ]
    best = max(shared, key=lambda model: _log_likelihood(model, owner))
    for _ in range(_SWEEPS):
        for parameter in sorted(set(columns)):
            own = [
                _fitted(points, values, np.where(owner == parameter, length, best.lengths), best.noise, own_noise)
                for length in _LENGTHS
            ]
            best = max([best, *own], key=lambda model: _log_likelihood(model, owner))
    return best


def fit_bounded(
    points: Array, values: Array, columns: Sequence[int], variances: Array, bounded: NDArray[np.bool_]
) -> Surrogate:
    """The most likely process if some values are only known not to be exceeded.

    Each of these is replaced by what the process expects below its bound, given all other values (a normal distribution
    that is cut off at the bound), with the variance that it has there.

    Args:
        points: Rows of features.
        values: One value per row, or its upper bound.
        columns: The parameter, from 0, that each column belongs to.
        variances: Known variance of each value, in squares of its unit.
        bounded: Which values are upper bounds; at least one is not.
    """
    model = fit(points[~bounded], values[~bounded], columns, variances[~bounded])
    believed = values.copy()
    spreads = variances.copy()
    for _ in range(_SWEEPS):
        spread = max(float(believed.var()), _LEAST_SPREAD)
        for index in np.flatnonzero(bounded):
            others = np.arange(len(values)) != index
            own_noise = np.minimum(spreads[others] / spread, 1.0)
            without = _fitted(points[others], believed[others], model.lengths, model.noise, own_noise)
            mean, deviation = without.predict(points[[index]])
            believed[index], spreads[index] = _below_bound(float(mean[0]), float(deviation[0]), float(values[index]))
        model = fit(points, believed, columns, spreads)
    return model


def _below_bound(mean: float, deviation: float, bound: float) -> tuple[float, float]:
    """Mean and variance of a normal distribution that is cut off above a bound."""
    z = (bound - mean) / deviation
    if z < _FAR_BELOW:  # the share below the bound is too small to divide by
        return bound + deviation / z, (deviation / z) ** 2
    ratio = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / (math.erfc(-z / math.sqrt(2)) / 2)
    return mean - deviation * ratio, deviation**2 * max(1 - z * ratio - ratio**2, 0.0)


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """Expected amount by which each candidate exceeds ``best``."""
    z = (mean - best) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    improvement: Array = deviation * (z * _below(z) + density)
    return np.maximum(improvement, 0.0)


def chance_above(mean: Array, deviation: Array, bound: float) -> Array:
    """Probability that each candidate exceeds ``bound``."""
    return _below((mean - bound) / deviation)


def _below(z: Array) -> Array:
    return np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in z])


def _fitted(
    points: Array,
    values: Array,
    lengths: Array,
    noise: float,
    own_noise: Array,
    amplitude: float | None = None,
) -> Surrogate:
    mean = float(values.mean())
    kernel = _kernel(points, points, lengths) + np.diag(noise + own_noise)
    root: Array = np.linalg.cholesky(kernel).astype(np.float64)
    weights: Array = np.linalg.solve(root.T, np.linalg.solve(root, values - mean)).astype(np.float64)
    likely = max(float((values - mean) @ weights) / len(values), 1e-9)
    return Surrogate(points, mean, weights, root, lengths, amplitude or likely, noise, own_noise)


def _log_likelihood(model: Surrogate, owner: NDArray[np.int_]) -> float:
    n = len(model.points)
    own = np.array([model.lengths[owner == parameter][0] for parameter in np.unique(owner)])
    prior = float((np.log(own / _USUAL_LENGTH) ** 2).sum()) / 2
    return -n / 2 * math.log(model.amplitude) - float(np.log(np.diag(model.root)).sum()) - prior


def _kernel(a: Array, b: Array, lengths: Array) -> Array:
    one = a / lengths
    other = b / lengths
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    scaled = np.sqrt(5 * np.maximum(squares, 0))
    matern: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return matern
