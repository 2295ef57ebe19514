"""Bayesian search on Optuna's tree-structured Parzen estimator: learns which regions are good, and which break bounds.

No Optuna study outlives a question: each ``ask`` builds one from the trials told so far, in the order of their numbers,
with a seed that follows from the study's seed and the length of the history. So a search that was killed and rebuilt
gives the same answers as one that never stopped, and nothing is stored twice.

Optuna sees positions, never values: ``1``, ``True`` and ``1.0`` are equal to it. An infeasible or failed trial is told
as a *pruned* trial with its constraint violated; it has no objective value there, so no invented number can bend the
model. Failed trials violate by more than any measured one.
"""

import math
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar
from warnings import catch_warnings, simplefilter

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, create_trial
from pydantic import BaseModel, Field

from autotuner.scoring import worsened
from autotuner.seams.search import Search, SearchContext, Stop
from autotuner.search.points import Axis, Points
from autotuner.search.proposals import allowed, shuffled, spelled_out, used
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.noun import Noun, Value
from autotuner.study.parameter import FloatRange
from autotuner.study.trial import Trial, TrialRole, TrialState

_VIOLATION = "total_violation"
_TRIES = 32
"""Proposals of the model that may be used or forbidden before the next unused configuration at random is taken."""


class BayesianSettings(Noun):
    """How much is explored before the model is believed."""

    startup: int = Field(default=6, ge=1)
    """Configurations tried at random first; the default's trial is not one of them."""


class BayesianSearch(Search):
    """Tree-structured Parzen estimator, multivariate, with constraints and running trials considered."""

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
        """Kept; learnt from at the next question."""
        self._told[trial.number] = trial

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """At random until ``startup`` trials were made, then where the model expects the most."""
        taken = used(self.context, history)
        fallback = self._proposals.first_unused(taken)
        searched = [t for t in history if t.state is not TrialState.VOID]
        if isinstance(fallback, Stop) or sum(t.role is TrialRole.SEARCH for t in searched) < self._startup:
            return fallback
        proposed = self._model_choice(searched, taken)
        return fallback if proposed is None else proposed

    def _model_choice(self, history: Sequence[Trial], taken: frozenset[str]) -> Configuration | None:
        distributions = {a.name: d for a in self._axes if (d := _distribution(a)) is not None}
        observed = self._observed(history, distributions)
        if not distributions or not any(t.state.is_finished() for t in observed):
            return None
        seeds = Random(f"ask {self.context.seed} {len(history)}")  # noqa: S311 - not for secrets
        for _ in range(_TRIES):
            study = _study(self.context.directions, observed, seeds.getrandbits(32))
            candidate = self._configuration(study.ask(distributions).params)
            if candidate.key not in taken and allowed(self.context, candidate):
                return candidate
        return None

    def _observed(self, history: Sequence[Trial], distributions: dict[str, BaseDistribution]) -> list[FrozenTrial]:
        """All trials that say something, in the order of their numbers; what is not told yet counts as running."""
        running = {t.number: t for t in history if t.number not in self._told}
        trials = sorted({**running, **self._told}.values(), key=lambda t: t.number)
        worst = max((t.verdict.total_violation for t in trials if t.verdict), default=0.0)
        found = []
        for trial in trials:
            params = self._params(spelled_out(self.context, trial))
            outcome = (
                None if params is None else _outcome(trial, self.context.directions, worst, trial.number in running)
            )
            if params is not None and outcome is not None:
                own = {k: v for k, v in params.items() if k in distributions}
                found.append(create_trial(params=own, distributions=distributions, **outcome))
        return found

    def _params(self, configuration: Configuration) -> dict[str, int | float] | None:
        """Positions by name, None where a value lies outside of the space."""
        params: dict[str, int | float] = {}
        for axis in self._axes:
            if axis.name not in configuration.values:
                return None
            value = configuration.values[axis.name]
            position = axis.position(value)
            if position is not None:
                params[axis.name] = position
            elif axis.values is None and axis.domain.contains(value) and isinstance(value, int | float):
                params[axis.name] = float(value)
            else:
                return None
        return params

    def _configuration(self, params: dict[str, Any]) -> Configuration:
        values: dict[str, Value] = {}
        for axis in self._axes:
            values[axis.name] = (
                float(params[axis.name]) if axis.values is None else axis.values[int(params.get(axis.name, 0))]
            )
        return Configuration(values=values)


def _distribution(axis: Axis) -> BaseDistribution | None:
    """What Optuna knows of a parameter; None where there is no choice."""
    if axis.values is None:
        assert isinstance(axis.domain, FloatRange)  # noqa: S101 - only these have no positions
        return FloatDistribution(axis.domain.low, axis.domain.high, log=axis.domain.log)
    if len(axis.values) == 1:
        return None
    if axis.ordered:
        return IntDistribution(0, len(axis.values) - 1)
    return CategoricalDistribution(tuple(range(len(axis.values))))


def _outcome(
    trial: Trial,
    directions: Sequence[Direction],
    worst: float,
    running: bool,
) -> dict[str, Any] | None:
    """State, values and constraint for Optuna; None where the trial says nothing about its configuration."""
    if running:
        return {"state": optuna.trial.TrialState.RUNNING}
    verdict = trial.verdict
    if trial.state is TrialState.FAILED or verdict is None:
        return {"state": optuna.trial.TrialState.PRUNED, "constraints": {_VIOLATION: worst + 1.0}}
    if not verdict.feasible:
        violation = min(verdict.total_violation, worst + 1.0)
        return {"state": optuna.trial.TrialState.PRUNED, "constraints": {_VIOLATION: violation}}
    values = [v for v in verdict.objectives if v is not None and math.isfinite(v)]
    if not verdict.rankable or len(values) < len(directions):
        return None
    worse = [worsened(v, d, verdict.penalty) for v, d in zip(values, directions, strict=True)]
    return {"state": optuna.trial.TrialState.COMPLETE, "values": worse, "constraints": {_VIOLATION: 0.0}}


def _study(directions: Sequence[Direction], trials: Sequence[FrozenTrial], seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with catch_warnings():
        simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True)
        study = optuna.create_study(
            directions=["minimize" if d is Direction.MIN else "maximize" for d in directions], sampler=sampler
        )
    study.add_trials(trials)
    return study
