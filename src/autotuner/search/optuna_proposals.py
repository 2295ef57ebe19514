"""Where Optuna's tree-structured Parzen estimator would look next: candidates in spaces too large to list.

No Optuna study outlives a question; nothing is stored twice. Optuna sees positions, never values, because ``1``,
``True`` and ``1.0`` are equal to it. Infeasible and failed trials are told as *pruned* with their constraint violated:
Optuna orders these by violation below everything feasible, and they need no objective value, so none is invented.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from warnings import catch_warnings, simplefilter

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from autotuner.search.points import Axis
from autotuner.study.metric import Direction
from autotuner.study.parameters.parameter import FloatRange

_VIOLATION = "total_violation"

Position = Mapping[str, int | float]
"""By parameter: the position on its grid, or the value of a continuous range."""


def distributions(axes: Sequence[Axis]) -> dict[str, BaseDistribution]:
    """What Optuna knows of the parameters; those without a choice are left out."""
    return {axis.name: _distribution(axis) for axis in axes if axis.values is None or len(axis.values) > 1}


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.values is None:
        assert isinstance(axis.domain, FloatRange)  # noqa: S101 - only these have no positions
        return FloatDistribution(axis.domain.low, axis.domain.high, log=axis.domain.log)
    if axis.ordered:
        return IntDistribution(0, len(axis.values) - 1)
    return CategoricalDistribution(tuple(range(len(axis.values))))


def feasible(position: Position, space: dict[str, BaseDistribution], values: Sequence[float]) -> FrozenTrial:
    """A trial that met all bounds."""
    own = {k: v for k, v in position.items() if k in space}
    return create_trial(values=list(values), params=own, distributions=space, constraints={_VIOLATION: 0.0})


def infeasible(position: Position, space: dict[str, BaseDistribution], violation: float) -> FrozenTrial:
    """A trial that missed a bound, or failed; ``violation`` > 0 is only an order."""
    own = {k: v for k, v in position.items() if k in space}
    return create_trial(state=TrialState.PRUNED, params=own, distributions=space, constraints={_VIOLATION: violation})


def running(position: Position, space: dict[str, BaseDistribution]) -> FrozenTrial:
    """A trial without an answer yet; Optuna's constant liar keeps away from it."""
    own = {k: v for k, v in position.items() if k in space}
    return create_trial(state=TrialState.RUNNING, params=own, distributions=space)


def propose(
    space: dict[str, BaseDistribution],
    trials: Sequence[FrozenTrial],
    directions: Sequence[Direction],
    *,
    count: int,
    seed: int,
) -> list[dict[str, Any]]:
    """``count`` positions that the estimator finds most promising, the same for the same arguments."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with catch_warnings():
        simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True)
        study = optuna.create_study(
            directions=["minimize" if d is Direction.MIN else "maximize" for d in directions], sampler=sampler
        )
    study.add_trials(trials)
    return [study.ask(space).params for _ in range(count)]
