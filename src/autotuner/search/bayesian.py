"""Bayesian search: Optuna's estimator and a seeded shuffle propose, two Gaussian processes choose.

One process learns the objective's logarithm from every trial that has one, feasible or not; the other learns from all
trials which bounds hold, from the order of their violations alone. Chosen is the candidate with the largest expected
improvement times the probability that it is feasible.

Small spaces are considered whole. In large ones a seeded sample of what is allowed is joined by the proposals of
Optuna's tree-structured Parzen estimator. Whatever is used, forbidden by a constraint or known to be invalid is left
out before anything is chosen, so nothing is proposed twice and the end of the space is seen.

Every answer follows from seed, told trials (in the order of their numbers) and history alone: a search that was killed
and rebuilt answers as one that never stopped. Why so: ``docs/adr/0003-search.md``.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from random import Random
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.scoring import worsened
from autotuner.search import optuna_proposals, surrogate
from autotuner.search.optuna_proposals import Position
from autotuner.search.points import Axis, Points
from autotuner.search.proposals import allowed, shuffled, spelled_out, used
from autotuner.study.base import Noun, Value
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.parameters.parameter import FloatRange
from autotuner.study.trial import Trial, TrialRole, TrialState

_LISTED = 1000
"""Unused configurations considered in one question; a space with more is sampled."""
_PROPOSED = 16
"""Proposals of Optuna's estimator that join the sample."""
_TINY = 1e-300
_SPAN = math.log(1000)
"""Objectives beyond a thousandth or a thousandfold of the best feasible one are taken to be there."""
_NONE = (0.0, 0.0)
_HALF_WIDTH_SDS = 1.96
"""Standard deviations in half of a 95% interval."""


class BayesianSettings(Noun):
    """How much is explored before the model is believed."""

    startup: int = Field(default=4, ge=1)
    """Configurations tried at random first; the default's trial is not one of them."""


class BayesianSearch(Search):
    """Learns from every trial: the good ones, those that break a bound, and those that fail."""

    kind: ClassVar[str] = "bayesian"
    Settings: ClassVar[type[BaseModel]] = BayesianSettings

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        super().__init__(settings, context)
        assert isinstance(settings, BayesianSettings)  # noqa: S101 - checked by whoever loads plugins
        self._startup = settings.startup
        self._axes = Points(context.space).axes
        self._proposals = shuffled(context)
        self._told: dict[int, Trial] = {}

    def tell(self, trial: Trial) -> None:
        """Kept; learned from at the next question."""
        self._told[trial.number] = trial

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """At random until ``startup`` trials were made, then what the model expects the most of."""
        taken = used(self.context, history)
        at_random = self._proposals.first_unused(taken)
        made = [t for t in history if t.state is not TrialState.VOID]
        if isinstance(at_random, Stop) or sum(t.role is TrialRole.SEARCH for t in made) < self._startup:
            return at_random
        learned = sorted((t for t in self._told.values() if _says_something(t)), key=lambda t: t.number)
        learned = [t for t in learned if self._position(spelled_out(self.context, t)) is not None]
        if not learned:
            return at_random
        waiting = [t for t in sorted(made, key=lambda t: t.number) if t.number not in self._told]
        return self._best(learned, waiting, taken, Random(f"ask {self.context.seed} {len(made)}"))  # noqa: S311

    def _best(
        self, learned: Sequence[Trial], waiting: Sequence[Trial], taken: frozenset[str], random: Random
    ) -> Configuration:
        candidates = list(islice(self._proposals.unused(taken), _LISTED))
        if len(candidates) == _LISTED:
            candidates += self._proposed(learned, waiting, taken, random.getrandbits(32))
        drawn = [random.expovariate(1.0) for _ in self.context.directions]
        shares = [share / math.fsum(drawn) for share in drawn]
        features = np.array([self._feature(c) for c in candidates])
        worth = self._log_chance(learned, features)
        if any(_violation(t) == _NONE for t in learned):
            worth = worth + self._log_improvement(learned, waiting, features, shares)
        return candidates[int(np.argmax(worth))]

    def _log_chance(self, learned: Sequence[Trial], features: surrogate.Array) -> surrogate.Array:
        """The logarithm of the probability that a candidate meets every bound."""
        groups = _grouped(learned, _violation)
        if len(groups) == 1 and _violation(learned[0]) == _NONE:
            return np.zeros(len(features))
        order = surrogate.scores(groups)
        levels = sorted({order[g[0]] for g in groups}, reverse=True)
        any_feasible = any(_violation(t) == _NONE for t in learned)
        bound = (levels[0] + levels[1]) / 2 if any_feasible else levels[0] + 0.5
        model = self._fit(learned, np.array([order[t.number] for t in learned]))
        return np.log(surrogate.chance_above(*model.predict(features), bound) + _TINY)

    def _log_improvement(
        self,
        learned: Sequence[Trial],
        waiting: Sequence[Trial],
        features: surrogate.Array,
        shares: Sequence[float],
    ) -> surrogate.Array:
        """The logarithm of how much better than the best feasible trial a candidate is expected to be."""
        directions = self.context.directions
        valued = [t for t in learned if len(_values(t, directions)) == len(directions)]
        figures = np.array([-_cost(t, directions, shares) for t in valued])
        best = max(v for t, v in zip(valued, figures, strict=True) if t.verdict and t.verdict.feasible)
        values = np.clip(figures, best - _SPAN, best + _SPAN)
        model = self._fit(valued, values, np.array([_variance(t, shares) for t in valued]))
        running = [t for t in waiting if self._position(spelled_out(self.context, t)) is not None]
        if running:
            model = model.believing(self._features(running), values)
        return np.log(surrogate.expected_improvement(*model.predict(features), best) + _TINY)

    def _fit(
        self, trials: Sequence[Trial], values: surrogate.Array, variances: surrogate.Array | None = None
    ) -> surrogate.Surrogate:
        columns = [i for i, axis in enumerate(self._axes) for _ in range(_width(axis))]
        return surrogate.fit(self._features(trials), values, columns, variances)

    def _proposed(
        self, learned: Sequence[Trial], waiting: Sequence[Trial], taken: frozenset[str], seed: int
    ) -> list[Configuration]:
        """What Optuna would try, as far as it may be tried."""
        space = optuna_proposals.distributions(self._axes)
        worst = max((t.verdict.total_violation for t in learned if t.verdict), default=0.0)
        trials = []
        for trial in learned:
            position = self._position(spelled_out(self.context, trial))
            if position is None:
                continue
            if trial.state is TrialState.DONE and trial.verdict and trial.verdict.feasible:
                trials.append(optuna_proposals.feasible(position, space, _values(trial, self.context.directions)))
            else:
                violation = trial.verdict.total_violation if trial.verdict else worst + 1.0
                trials.append(optuna_proposals.infeasible(position, space, violation))
        for trial in waiting:
            position = self._position(spelled_out(self.context, trial))
            if position is not None:
                trials.append(optuna_proposals.running(position, space))
        found = optuna_proposals.propose(space, trials, self.context.directions, count=_PROPOSED, seed=seed)
        configurations = {c.key: c for c in map(self._configuration, found)}
        allowed_ones = [c for c in configurations.values() if allowed(self.context, c)]
        identified = {self.context.identity(c): c for c in allowed_ones}
        return [c for identity, c in identified.items() if identity not in taken]

    def _position(self, configuration: Configuration) -> Position | None:
        """Where it stands; None where a value lies outside of the space (a default that is no choice)."""
        position: dict[str, int | float] = {}
        for axis in self._axes:
            value = configuration.values.get(axis.name)
            at = axis.position(value) if axis.name in configuration.values else None
            if at is not None:
                position[axis.name] = at
            elif axis.values is None and isinstance(value, int | float) and axis.domain.contains(value):
                position[axis.name] = float(value)
            else:
                return None
        return position

    def _configuration(self, position: dict[str, Any]) -> Configuration:
        values: dict[str, Value] = {}
        for axis in self._axes:
            if axis.values is None:
                values[axis.name] = float(position[axis.name])
            else:
                values[axis.name] = axis.values[int(position.get(axis.name, 0))]
        return Configuration(values=values)

    def _features(self, trials: Sequence[Trial]) -> surrogate.Array:
        return np.array([self._feature(spelled_out(self.context, t)) for t in trials])

    def _feature(self, configuration: Configuration) -> list[float]:
        position = self._position(configuration) or {}
        return [number for axis in self._axes for number in _features_of(axis, position[axis.name])]


def _features_of(axis: Axis, at: float) -> Iterator[float]:
    """0 to 1 for amounts; unordered values are all at distance 1 of one another."""
    if axis.values is None:
        assert isinstance(axis.domain, FloatRange)  # noqa: S101 - only these have no positions
        low = axis.domain.low
        high = axis.domain.high
        if high == low:
            yield 0.0
        else:
            yield math.log(at / low) / math.log(high / low) if axis.domain.log else (at - low) / (high - low)
    elif axis.ordered:
        yield at / max(1, len(axis.values) - 1)
    else:
        yield from (math.sqrt(0.5) * (i == at) for i in range(len(axis.values)))


def _width(axis: Axis) -> int:
    """Number of feature columns."""
    return 1 if axis.values is None or axis.ordered else len(axis.values)


def _says_something(trial: Trial) -> bool:
    """False where a finished trial tells nothing of its configuration (the load generator was the limit)."""
    verdict = trial.verdict
    if trial.state is TrialState.FAILED or verdict is None:
        return trial.state is TrialState.FAILED
    return not verdict.feasible or (verdict.rankable and None not in verdict.objectives)


def _violation(trial: Trial) -> tuple[float, ...]:
    """How far from feasible, as an order only: nothing missed, bounds missed by this much, failed."""
    verdict = trial.verdict
    if trial.state is TrialState.FAILED or verdict is None:
        return (2.0, 0.0)
    return _NONE if verdict.feasible else (1.0, verdict.total_violation)


def _values(trial: Trial, directions: Sequence[Direction]) -> list[float]:
    """The measured objective values, worsened by missed soft bounds."""
    verdict = trial.verdict
    if verdict is None or not verdict.objectives:
        return []
    found = zip(verdict.objectives, directions, strict=True)
    return [worsened(v, d, verdict.penalty) for v, d in found if v is not None and math.isfinite(v)]


def _cost(trial: Trial, directions: Sequence[Direction], shares: Sequence[float]) -> float:
    """One number to be made small: the logarithm of the objective.

    Several objectives are weighed anew at every question (ParEGO, Knowles 2006), so that the whole front is searched.
    """
    costs = (
        math.log(max(v, _TINY)) * (1 if d is Direction.MIN else -1)
        for v, d in zip(_values(trial, directions), directions, strict=True)
    )
    return math.fsum(s * c for s, c in zip(shares, costs, strict=True))


def _variance(trial: Trial, shares: Sequence[float]) -> float:
    """What the trial's own windows say of the uncertainty of :func:`_cost`; 0 where they say nothing."""
    found = trial.verdict.uncertainty if trial.verdict else ()
    halves = ((share, half) for share, half in zip(shares, found, strict=False) if half is not None)
    return math.fsum((share * math.log1p(half) / _HALF_WIDTH_SDS) ** 2 for share, half in halves)


def _grouped(trials: Sequence[Trial], key: Callable[[Trial], tuple[float, ...]]) -> list[list[int]]:
    """Numbers of the trials, best first, equals together."""
    return [[t.number for t in equal] for _, equal in groupby(sorted(trials, key=key), key=key)]
