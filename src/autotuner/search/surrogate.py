"""A small Gaussian process on ranks: which of these candidates is most likely to become the new best?

It is told an *order* of trials, not their figures: ranks become normal scores. So a failed or infeasible trial needs no
number, an outlier bends nothing, and units do not matter. Kernel: Matern 5/2, one length scale, noise; all chosen by
marginal likelihood on a small grid, so that the same data always give the same answer. Acquisition: expected
improvement.
Optuna's own GP sampler needs PyTorch, which is a hundred times the size of everything else here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LENGTHS = (0.15, 0.3, 0.6, 1.2, 2.4)
_USUAL_LENGTH = 0.6
"""Parameters span 0 to 1; the likelihood of few data is flat, and a log-normal prior keeps it from the extremes."""
_NOISES = (1e-3, 1e-2, 1e-1)


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
    """A fitted process; rows are points, columns features of about unit range."""

    points: Array
    mean: float
    weights: Array
    root: Array
    """Cholesky factor of the kernel matrix."""
    length: float
    amplitude: float
    noise: float

    def predict(self, candidates: Array) -> tuple[Array, Array]:
        """Mean and standard deviation at each candidate."""
        cross = _kernel(candidates, self.points, self.length)
        spread = np.linalg.solve(self.root, cross.T)
        variance = self.amplitude * np.maximum(1 - (spread**2).sum(axis=0), 1e-12)
        return self.mean + cross @ self.weights, np.sqrt(variance)

    def believing(self, running: Array, values: Array) -> "Surrogate":
        """The process as if running points had come out as expected: their surroundings are no news any more."""
        expected, _ = self.predict(running)
        points = np.vstack([self.points, running])
        return _fitted(points, np.concatenate([values, expected]), self.length, self.noise, self.amplitude)


def fit(points: Array, values: Array) -> Surrogate:
    """The most likely process; at least one point."""
    options = [_fitted(points, values, length, noise) for length in _LENGTHS for noise in _NOISES]
    return max(options, key=_log_likelihood)


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """By how much each candidate is expected to exceed ``best``."""
    z = (mean - best) / deviation
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.array([NormalDist().cdf(v) for v in z])
    improvement: Array = deviation * (z * below + density)
    return improvement


def _fitted(points: Array, values: Array, length: float, noise: float, amplitude: float | None = None) -> Surrogate:
    mean = float(values.mean())
    root: Array = np.linalg.cholesky(_kernel(points, points, length) + noise * np.eye(len(points))).astype(np.float64)
    weights: Array = np.linalg.solve(root.T, np.linalg.solve(root, values - mean)).astype(np.float64)
    likely = max(float((values - mean) @ weights) / len(values), 1e-9)
    return Surrogate(points, mean, weights, root, length, amplitude or likely, noise)


def _log_likelihood(model: Surrogate) -> float:
    n = len(model.points)
    prior = math.log(model.length / _USUAL_LENGTH) ** 2 / 2
    return -n / 2 * math.log(model.amplitude) - float(np.log(np.diag(model.root)).sum()) - prior


def _kernel(a: Array, b: Array, length: float) -> Array:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T
    scaled = np.sqrt(5 * np.maximum(squares, 0)) / length
    matern: Array = (1 + scaled + scaled**2 / 3) * np.exp(-scaled)
    return matern
