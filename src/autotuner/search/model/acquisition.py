"""Which candidate to launch next, from joint draws of the results of all candidates."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autotuner.search.model.encoding import Array
from autotuner.search.model.worth import Worth

NEAR = math.log(0.95)
"""The goal: a launch within 5% of the best configuration."""
LEAST_GAIN = math.log(1.02)
"""Smaller improvements are not worth a launch."""
LITTLE = 1e-3
"""Weight of the probability of being feasible: it decides where nothing else does."""
GAIN = 1.0
"""Weight of the expected improvement: it decides among candidates that are hardly ever near the best one."""


@dataclass(frozen=True)
class Scores:
    """What the draws say about each candidate."""

    score: Array
    improves: Array
    """Probability that a candidate is feasible and better than the best trial so far."""
    feasible: Array
    """Probability that a candidate meets all hard SLOs."""


def shares(random: np.random.Generator, count: int, objectives: int) -> Array:
    """Weights of the objectives, new ones for every draw, so that the whole Pareto front is searched (ParEGO, Knowles
    2006)."""
    drawn: Array = random.dirichlet(np.ones(objectives), count) if objectives > 1 else np.ones((count, 1))
    return drawn


def scores(worth: Worth, achieved: Array, weights: Array, starts: NDArray[np.bool_], running: int) -> Scores:
    """Rates the candidates.

    A candidate's score is the probability that it starts, meets every SLO and is both within 5% of the best of all and
    better than every trial so far: expected improvement with the threshold at the goal. Where no candidate is feasible
    in a draw, the one that misses least counts as the best.

    Args:
        worth: Scores of the candidates, followed by those of the configurations that are running now.
        achieved: Logarithms of the objectives of the feasible trials, one row each; larger is better.
        weights: Weights of the objectives, by draw.
        starts: Whether each configuration of ``worth`` starts, by draw.
        running: Number of running configurations at the end of ``worth``.
    """
    value = np.einsum("duk,dk->du", worth.objectives, weights)
    feasible = worth.feasible & starts
    reached = (weights @ achieved.T).max(axis=1) if len(achieved) else np.full(len(weights), -np.inf)
    # Without a feasible candidate or trial, what misses least is nearest to one that is.
    none = ~feasible.any(axis=1) & np.isneginf(reached)
    value = np.where(none[:, None], np.where(starts, -worth.missed, -np.inf), np.where(feasible, value, -np.inf))
    top = np.maximum(value.max(axis=1), reached)
    near = (value >= top[:, None] + NEAR) & (value > reached[:, None] + LEAST_GAIN)
    candidates = value.shape[1] - running
    if running:  # a draw whose best one is running already has nothing more to find
        near &= ~near[:, candidates:].any(axis=1)[:, None]
    near &= np.isfinite(value)
    floor = np.where(np.isneginf(reached), np.where(np.isfinite(top), top - 1.0, 0.0), reached)
    gain = np.maximum(np.where(np.isfinite(value), value - floor[:, None], 0.0), 0.0).mean(axis=0)
    better = feasible & (value > reached[:, None])
    score = near.mean(axis=0) + GAIN * gain + LITTLE * feasible.mean(axis=0)
    return Scores(score[:candidates], better.mean(axis=0)[:candidates], worth.feasible.mean(axis=0)[:candidates])


def best(score: Array) -> int:
    """The candidate with the highest score; of equal ones, the first."""
    return int(np.argmax(score >= score.max() - 1e-12))
