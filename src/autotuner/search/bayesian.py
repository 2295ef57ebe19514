"""Bayesian search: Optuna's estimator and a seeded shuffle propose candidates, two Gaussian processes choose.

One process models the logarithm of the objective from every trial that has one, feasible or not; of a trial that was
cut, it knows an upper bound. The other one models feasibility from all other trials; it only uses the order of their
violations. The search proposes the candidate with the largest expected improvement times its probability of being
feasible.

In a small space every configuration is a candidate. In a large one the candidates are a seeded sample and the proposals
of Optuna's tree-structured Parzen estimator. Configurations that were tried, violate a constraint or are known to be
invalid are removed first, so none is proposed twice and the search notices when the space is exhausted.

A proposal depends only on the seed, the trials that the search was given (in the order of their numbers) and the
history: a search that is rebuilt after a crash continues as if it had never stopped. See ``docs/adr/0003-search.md``.
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
from autotuner.search.proposals import LISTED, allowed, shuffled, spelled_out, used
from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.parameters.parameter import FloatRange
from autotuner.study.trial import Trial, TrialRole, TrialState

_PROPOSED = 16
"""Proposals of Optuna's estimator that are added to the sample."""
_TINY = 1e-300
"""Keeps logarithms finite."""
_SPAN = math.log(1000)
"""Objectives are clipped to a factor of 1000 around the best feasible one, so that an outlier does not flatten the
rest."""
_WORST_OF_FEASIBLE = 1e-9
"""Violation that Optuna is given where only a bound is known: worse than feasible, better than infeasible."""
_FEASIBLE = (0.0, 0.0)
"""Violation of a feasible trial; see :func:`_violation`."""
_HALF_WIDTH_SDS = 1.96
"""Standard deviations in half of a 95% interval."""


class BayesianSettings(FrozenModel):
    """Settings of the Bayesian search."""

    startup: int = Field(default=4, ge=1)
    """Random configurations before the model is used, besides the default."""


class BayesianSearch(Search):
    """Learns from every trial: feasible, infeasible and failed ones."""

    kind: ClassVar[str] = "bayesian"
    Settings: ClassVar[type[BaseModel]] = BayesianSettings

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        super().__init__(settings, context)
        assert isinstance(settings, BayesianSettings)  # noqa: S101 - checked by whoever loads plugins
        self._startup = settings.startup
        self._axes = Points(context.space).axes
        self._conditional = frozenset(p.name for p in context.space.tree.conditional)
        self._proposals = shuffled(context)
        self._finished: dict[int, Trial] = {}

    def tell(self, trial: Trial) -> None:
        """Takes a finished trial; the models are fitted in :meth:`ask`."""
        self._finished[trial.number] = trial

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """A random configuration for the first ``startup`` trials, then the one that the models rate best."""
        taken = used(self.context, history)
        at_random = self._proposals.first_unused(taken)
        made = [t for t in history if t.state is not TrialState.VOID]
        if isinstance(at_random, Stop) or sum(t.role is TrialRole.SEARCH for t in made) < self._startup:
            return at_random
        learned = sorted((t for t in self._finished.values() if _is_informative(t)), key=lambda t: t.number)
        learned = [t for t in learned if self._position(spelled_out(self.context, t)) is not None]
        if not learned:
            return at_random
        waiting = [t for t in sorted(made, key=lambda t: t.number) if t.number not in self._finished]
        return self._best(learned, waiting, taken, Random(f"ask {self.context.seed} {len(made)}"))  # noqa: S311

    def _best(
        self, learned: Sequence[Trial], waiting: Sequence[Trial], taken: frozenset[str], random: Random
    ) -> Configuration:
        candidates = list(islice(self._proposals.unused(taken), LISTED))
        if len(candidates) == LISTED:
            candidates += self._proposed(learned, waiting, taken, random.getrandbits(32))
        # Weights of the objectives, uniform over all that sum to 1; see _cost.
        drawn = [random.expovariate(1.0) for _ in self.context.directions]
        shares = [share / math.fsum(drawn) for share in drawn]
        features = np.array([self._feature(c) for c in candidates])
        score = self._log_feasibility(learned, features)
        if any(_violation(t) == _FEASIBLE for t in learned):  # before that, there is nothing to improve on
            score = score + self._log_improvement(learned, waiting, features, shares)
        return candidates[int(np.argmax(score))]

    def _log_feasibility(self, learned: Sequence[Trial], features: surrogate.Array) -> surrogate.Array:
        """Logarithm of the probability that each candidate is feasible."""
        learned = [t for t in learned if not _half_known(t)]
        groups = _grouped(learned, _violation)
        if len(groups) == 1 and _violation(learned[0]) == _FEASIBLE:
            return np.zeros(len(features))
        order = surrogate.scores(groups)
        levels = sorted({order[g[0]] for g in groups}, reverse=True)
        any_feasible = any(_violation(t) == _FEASIBLE for t in learned)
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
        """Logarithm of the expected improvement of each candidate over the best feasible trial."""
        directions = self.context.directions
        bounded = [t for t in learned if _bounded(t)]
        valued = [t for t in learned if len(_values(t, directions)) == len(directions) and t not in bounded]
        figures = np.array([-_cost(t, directions, shares) for t in valued])
        best = max(v for t, v in zip(valued, figures, strict=True) if t.verdict and t.verdict.feasible)
        values = np.clip(figures, best - _SPAN, best + _SPAN)
        variances = np.array([_variance(t, shares) for t in valued])
        model = self._fitted(valued, values, variances, bounded)
        running = [t for t in waiting if self._position(spelled_out(self.context, t)) is not None]
        if running:
            model = model.believing(self._features(running), values)
        return np.log(surrogate.expected_improvement(*model.predict(features), best) + _TINY)

    def _fit(
        self, trials: Sequence[Trial], values: surrogate.Array, variances: surrogate.Array | None = None
    ) -> surrogate.Surrogate:
        return surrogate.fit(self._features(trials), values, self._columns(), variances)

    def _fitted(
        self, valued: Sequence[Trial], values: surrogate.Array, variances: surrogate.Array, bounded: Sequence[Trial]
    ) -> surrogate.Surrogate:
        """The process of the objective; some trials may only be known not to exceed their bounds (one objective)."""
        if not bounded:
            return self._fit(valued, values, variances)
        bounds = [-_cost_of(_bounds(t), self.context.directions, [1.0]) for t in bounded]
        lowest = float(values.max()) - 2 * _SPAN
        return surrogate.fit_bounded(
            self._features([*valued, *bounded]),
            np.concatenate([values, np.maximum(bounds, lowest)]),
            self._columns(),
            np.concatenate([variances, np.zeros(len(bounded))]),
            np.array([False] * len(valued) + [True] * len(bounded)),
        )

    def _proposed(
        self, learned: Sequence[Trial], waiting: Sequence[Trial], taken: frozenset[str], seed: int
    ) -> list[Configuration]:
        """Configurations that Optuna proposes, without those that may not be tried."""
        space = optuna_proposals.distributions(self._axes)
        worst = max((t.verdict.total_violation for t in learned if t.verdict), default=0.0)
        trials = []
        for trial in learned:
            position = self._full_position(spelled_out(self.context, trial))
            if position is None:
                continue
            if _bounded(trial):
                trials.append(optuna_proposals.infeasible(position, space, _WORST_OF_FEASIBLE))
            elif trial.state is TrialState.DONE and trial.verdict and trial.verdict.feasible:
                trials.append(optuna_proposals.feasible(position, space, _values(trial, self.context.directions)))
            else:
                violation = trial.verdict.total_violation if trial.verdict else worst + 1.0
                trials.append(optuna_proposals.infeasible(position, space, violation))
        for trial in waiting:
            position = self._full_position(spelled_out(self.context, trial))
            if position is not None:
                trials.append(optuna_proposals.running(position, space))
        found = optuna_proposals.propose(space, trials, self.context.directions, count=_PROPOSED, seed=seed)
        configurations = {c.key: c for c in map(self._configuration, found)}
        allowed_ones = [c for c in configurations.values() if allowed(self.context, c)]
        identified = {self.context.identity(c): c for c in allowed_ones}
        return [c for identity, c in identified.items() if identity not in taken]

    def _position(self, configuration: Configuration) -> Position | None:
        """Position of a configuration; None if it is outside of the space, as a default that is not listed may be."""
        position: dict[str, int | float] = {}
        active = self.context.space.tree.active(configuration.values)
        for axis in (a for a in self._axes if a.name in active):
            value = configuration.values.get(axis.name)
            at = axis.position(value) if axis.name in configuration.values else None
            if at is not None:
                position[axis.name] = at
            elif axis.values is None and isinstance(value, int | float) and axis.domain.contains(value):
                position[axis.name] = float(value)
            else:
                return None
        return position

    def _full_position(self, configuration: Configuration) -> Position | None:
        """A position on every axis: Optuna's estimator needs one, so an inactive parameter has its first value."""
        position = self._position(configuration)
        if position is None or not self._conditional:
            return position
        return {
            a.name: a.domain.low if isinstance(a.domain, FloatRange) and a.values is None else 0 for a in self._axes
        } | dict(position)

    def _configuration(self, position: dict[str, Any]) -> Configuration:
        values: dict[str, Value] = {}
        for axis in self._axes:
            if axis.values is None:
                values[axis.name] = float(position[axis.name])
            else:
                values[axis.name] = axis.values[int(position.get(axis.name, 0))]
        return self.context.space.pruned(values)

    def _features(self, trials: Sequence[Trial]) -> surrogate.Array:
        return np.array([self._feature(spelled_out(self.context, t)) for t in trials])

    def _feature(self, configuration: Configuration) -> list[float]:
        position = self._position(configuration) or {}
        return [number for axis in self._axes for number in self._numbers(axis, position.get(axis.name))]

    def _numbers(self, axis: Axis, at: float | None) -> Iterator[float]:
        """Features of one axis. For a conditional parameter, being inactive is a value of its own."""
        if axis.name in self._conditional:
            yield 0.0 if at is not None else 1.0
        if at is not None:
            yield from _features_of(axis, at)
        else:
            ordered = axis.values is None or axis.ordered
            yield from [0.5] if ordered else [0.0] * _width(axis)

    def _columns(self) -> list[int]:
        """The axis of each feature."""
        return [i for i, a in enumerate(self._axes) for _ in range(_width(a) + (a.name in self._conditional))]


def _features_of(axis: Axis, at: float) -> Iterator[float]:
    """Features of one position: one number from 0 to 1 for ordered values; for unordered ones, a scaled one-hot code in
    which all values have distance 1 from one another."""
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


def _is_informative(trial: Trial) -> bool:
    """Whether a finished trial says something about its configuration; it does not if the load generator was the
    limit."""
    verdict = trial.verdict
    if trial.state is TrialState.FAILED or verdict is None:
        return trial.state is TrialState.FAILED
    measured = None not in verdict.objectives and (verdict.rankable or verdict.cut)
    return measured or not verdict.feasible or _bounded(trial)


def _half_known(trial: Trial) -> bool:
    """Whether a trial ended before it was known to be feasible."""
    return trial.verdict is not None and trial.verdict.feasible and (trial.verdict.cut or _bounded(trial))


def _bounded(trial: Trial) -> bool:
    """Whether the only objective of a feasible trial was not measured, but is known not to exceed a bound. Of one that
    misses SLOs, more than that is known."""
    return trial.verdict is not None and trial.verdict.feasible and len(_bounds(trial)) == 1


def _bounds(trial: Trial) -> list[float]:
    return [b for b in trial.verdict.bounds if b is not None] if trial.verdict else []


def _violation(trial: Trial) -> tuple[float, ...]:
    """Sort key: feasible trials, then infeasible ones by their violation, then failed ones."""
    verdict = trial.verdict
    if trial.state is TrialState.FAILED or verdict is None:
        return (2.0, 0.0)
    return _FEASIBLE if verdict.feasible else (1.0, verdict.total_violation)


def _values(trial: Trial, directions: Sequence[Direction]) -> list[float]:
    """The objective values, worsened by the penalty for missed soft SLOs; unmeasured ones are left out."""
    verdict = trial.verdict
    if verdict is None or not verdict.objectives:
        return []
    found = zip(verdict.objectives, directions, strict=True)
    return [worsened(v, d, verdict.penalty) for v, d in found if v is not None and math.isfinite(v)]


def _cost(trial: Trial, directions: Sequence[Direction], shares: Sequence[float]) -> float:
    """Logarithm of the objective, to be minimized.

    Several objectives are combined with new random weights (``shares``) for each proposal, so that the whole Pareto
    front is searched (ParEGO, Knowles 2006).
    """
    return _cost_of(_values(trial, directions), directions, shares)


def _cost_of(values: Sequence[float], directions: Sequence[Direction], shares: Sequence[float]) -> float:
    costs = (
        math.log(max(v, _TINY)) * (1 if d is Direction.MIN else -1) for v, d in zip(values, directions, strict=True)
    )
    return math.fsum(s * c for s, c in zip(shares, costs, strict=True))


def _variance(trial: Trial, shares: Sequence[float]) -> float:
    """Variance of :func:`_cost` according to the trial's own windows; 0 if it is unknown."""
    found = trial.verdict.uncertainty if trial.verdict else ()
    halves = ((share, half) for share, half in zip(shares, found, strict=False) if half is not None)
    return math.fsum((share * math.log1p(half) / _HALF_WIDTH_SDS) ** 2 for share, half in halves)


def _grouped(trials: Sequence[Trial], key: Callable[[Trial], tuple[float, ...]]) -> list[list[int]]:
    """Numbers of the trials, best first, in groups of equal keys."""
    return [[t.number for t in equal] for _, equal in groupby(sorted(trials, key=key), key=key)]
