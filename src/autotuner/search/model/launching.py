"""Probability that a configuration starts and can be measured, learned from failures by their cause."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from autotuner.plugins.search import SearchContext
from autotuner.search.model.encoding import Array, Encoder, Units
from autotuner.search.model.scales import Scales
from autotuner.search.proposals import spelled_out
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Blame, FailureCause
from autotuner.study.trial import Trial, TrialState

_BASE = 2.5
"""Log odds of a start before anything is known: 92%."""
_LOG_ODDS = Scales(
    offset=1.5, load=0.0, gpus=1.0, slope=3.0, value=2.0, value_load=0.0, main=1.0, smooth=0.7,
    server=0.0, level=0.0, scenario=0.0,
)  # fmt: skip
"""One failure makes its neighbors doubtful; a second one in the same direction makes them unlikely."""
_ITERATIONS = 12
_SHORTEST = 1e-3


class Hurdle(IntEnum):
    """What can go wrong, in the order in which it does. A trial that failed at one passed those before it, and says
    nothing about those after it."""

    VALID = 0
    """Values that the engine accepts."""
    LOADS = 1
    """Weights and cache fit."""
    STAYS_UP = 2
    """No crash at the start or under load, for other reasons than memory."""
    RUNS = 3
    """Memory suffices under load. The opposite of loading: more memory for the cache leaves less for activations."""
    MEASURED = 4
    """Requests succeed, and every value that counts can be measured."""


_PASSED = len(Hurdle)
_UNMODELED = frozenset({"success_rate", "quality"})
"""Bounds on what the model does not predict; their violations are learned like failures."""
_HURDLES = {
    FailureCause.INVALID_FLAG: Hurdle.VALID,
    FailureCause.INVALID_VALUE: Hurdle.VALID,
    FailureCause.UNSUPPORTED_COMBINATION: Hurdle.VALID,
    FailureCause.UNSUPPORTED_GPU: Hurdle.VALID,
    FailureCause.OUT_OF_MEMORY: Hurdle.LOADS,
    FailureCause.HOST_OUT_OF_MEMORY: Hurdle.LOADS,
    FailureCause.GPU_OUT_OF_MEMORY_LOADING: Hurdle.LOADS,
    FailureCause.KV_CACHE_TOO_SMALL: Hurdle.LOADS,
    FailureCause.GPU_OUT_OF_MEMORY_RUNNING: Hurdle.RUNS,
}


class Launching:
    """One model per hurdle at which a trial has failed."""

    def __init__(self, context: SearchContext, encoder: Encoder, trials: Sequence[Trial]) -> None:
        self._encoder = encoder
        ends = [(spelled_out(context, t), end) for t in trials if (end := _end(t)) is not None]
        ends += _earlier(context, {context.identity(c) for c, _ in ends})
        units = encoder.units([c for c, _ in ends])
        columns = self._columns(units)
        self._fitted: list[_Fitted] = []
        for hurdle in sorted({end for _, end in ends} - {_PASSED}):
            reached = np.array([i for i, (_, end) in enumerate(ends) if end >= hurdle], dtype=np.int_)
            passed = np.array([float(ends[i][1] != hurdle) for i in reached])
            self._fitted.append(_Fitted(columns[reached], *_laplace(columns[reached], passed)))

    def starts(self, units: Units) -> Array:
        """Probability that each configuration starts."""
        found: Array = np.ones(len(units))
        if not self._fitted:
            return found
        columns = self._columns(units)
        for fitted in self._fitted:
            cross = columns @ fitted.seen.T
            mean = _BASE + cross @ fitted.gradient
            variance = np.maximum((columns**2).sum(axis=1) - ((cross @ fitted.inverse) * cross).sum(axis=1), 0.0)
            found = found * _sigmoid(mean / np.sqrt(1 + math.pi * variance / 8))
        return found

    def draw(self, units: Units, random: np.random.Generator, count: int) -> NDArray[np.bool_]:
        """Joint draws of which configurations start, by draw and configuration."""
        found = np.ones((count, len(units)), bool)
        if not self._fitted:
            return found
        columns = self._columns(units)
        for fitted in self._fitted:
            seen = fitted.seen
            weights = random.standard_normal((count, columns.shape[1]))
            # Matheron's rule: a draw before the trials, corrected by what it misses of them.
            noise = random.standard_normal((count, len(seen))) @ fitted.noise.T
            missed = (weights @ seen.T + noise) @ fitted.inverse
            latent = _BASE + (weights - missed @ seen + fitted.gradient @ seen) @ columns.T
            found &= random.random((count, len(units))) < _sigmoid(latent)
        return found

    def _columns(self, units: Units) -> Array:
        """Columns of the configurations, scaled by their prior deviations."""
        rows = np.arange(len(units))
        own: Array = self._encoder.columns(units, rows, np.zeros(len(units), int))
        return own * self._encoder.deviations(_LOG_ODDS)


@dataclass(frozen=True)
class _Fitted:
    """The model of one hurdle."""

    seen: Array
    """Columns of the trials that reached it."""
    gradient: Array
    """At the most likely log odds."""
    inverse: Array
    """Turns covariances with the trials into what they explain."""

    @cached_property
    def noise(self) -> Array:
        """Square root of the noise of the trials, computed once for all draws."""
        return _root(np.linalg.pinv(self.inverse) - self.seen @ self.seen.T)


def _earlier(context: SearchContext, known: Collection[str]) -> Iterator[tuple[Configuration, int]]:
    """Where the same servers ended in earlier studies, apart from those that this study has launched itself."""
    found: dict[str, tuple[Configuration, int]] = {}
    for trial in (t for study in context.evidence.studies for t in study.trials):
        if trial.configuration is None:
            continue
        configuration = trial.configuration if trial.configuration.values else context.default
        if configuration is not None:
            end = _PASSED if trial.failed is None else _HURDLES.get(trial.failed, Hurdle.STAYS_UP)
            found.setdefault(context.identity(configuration), (configuration, end))
    return (pair for identity, pair in found.items() if identity not in known)


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    found: Array = vectors * np.sqrt(np.maximum(values, 0.0))
    return found


def _end(trial: Trial) -> int | None:
    """The hurdle at which a trial failed, ``_PASSED`` if at none; None if it says nothing about its configuration."""
    if trial.state is TrialState.FAILED:
        failure = trial.failure
        if failure is None:
            return Hurdle.STAYS_UP
        return _HURDLES.get(failure.cause, Hurdle.STAYS_UP) if failure.blame is Blame.CONFIGURATION else None
    verdict = trial.verdict
    if trial.state is not TrialState.DONE or verdict is None:
        return None
    unmeasured = any(v.hard and (v.value is None or v.slo in _UNMODELED) for v in verdict.violations)
    return Hurdle.MEASURED if unmeasured else _PASSED


def _laplace(columns: Array, passed: Array) -> tuple[Array, Array]:
    """Logistic regression with independent standard normal weights: gradient at the mode, and the matrix that turns
    covariances with the trials into what they explain."""
    kernel = columns @ columns.T
    count = len(passed)
    gradient = np.zeros(count)
    for _ in range(_ITERATIONS):
        latent = kernel @ gradient
        chance = _sigmoid(_BASE + latent)
        curvature = np.maximum(chance * (1 - chance), 1e-6)
        root = np.sqrt(curvature)
        inner = np.eye(count) + root[:, None] * kernel * root[None]
        target = curvature * latent + passed - chance
        step = target - root * np.linalg.solve(inner, root * (kernel @ target)) - gradient
        size = 1.0  # a whole step of Newton's method may overshoot
        while size > _SHORTEST and _log_posterior(kernel, gradient + size * step, passed) < _log_posterior(
            kernel, gradient, passed
        ):
            size /= 2
        gradient = gradient + size * step
    chance = _sigmoid(_BASE + kernel @ gradient)
    root = np.sqrt(np.maximum(chance * (1 - chance), 1e-6))
    inverse: Array = root[:, None] * np.linalg.inv(np.eye(count) + root[:, None] * kernel * root[None]) * root[None]
    return gradient, inverse


def _log_posterior(kernel: Array, gradient: Array, passed: Array) -> float:
    latent = kernel @ gradient
    odds = np.where(passed > 0, _BASE + latent, -_BASE - latent)
    return -float(np.logaddexp(0, -odds).sum()) - float(gradient @ latent) / 2


def _sigmoid(x: Array) -> Array:
    found: Array = 1 / (1 + np.exp(-np.clip(x, -500, 500)))
    return found
