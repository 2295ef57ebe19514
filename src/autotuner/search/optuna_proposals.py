"""Proposals of Optuna's tree-structured Parzen estimator, as candidates in spaces too large to list.

Every call builds a new in-memory Optuna study, so trials have a single source. Optuna gets positions instead of values,
because it treats ``1``, ``True`` and ``1.0`` as equal. Infeasible and failed trials are added as *pruned* with a
violated constraint: Optuna ranks these by violation below all feasible ones, and they need no objective value.
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
"""Position of a configuration by parameter: an index into its values, or the value in a continuous range."""


def distributions(axes: Sequence[Axis]) -> dict[str, BaseDistribution]:
    """Optuna's distributions by parameter; parameters with a single value are left out."""
    return {axis.name: _distribution(axis) for axis in axes if axis.values is None or len(axis.values) > 1}


def _distribution(axis: Axis) -> BaseDistribution:
    if axis.values is None:
        assert isinstance(axis.domain, FloatRange)  # noqa: S101 - only these have no positions
        return FloatDistribution(axis.domain.low, axis.domain.high, log=axis.domain.log)
    if axis.ordered:
        return IntDistribution(0, len(axis.values) - 1)
    return CategoricalDistribution(tuple(range(len(axis.values))))


def feasible(position: Position, space: dict[str, BaseDistribution], values: Sequence[float]) -> FrozenTrial:
    """A feasible trial."""
    own = {k: v for k, v in position.items() if k in space}
    return create_trial(values=list(values), params=own, distributions=space, constraints={_VIOLATION: 0.0})


def infeasible(position: Position, space: dict[str, BaseDistribution], violation: float) -> FrozenTrial:
    """A trial that missed a bound or failed; only the order of ``violation`` (> 0) matters."""
    own = {k: v for k, v in position.items() if k in space}
    return create_trial(state=TrialState.PRUNED, params=own, distributions=space, constraints={_VIOLATION: violation})


def running(position: Position, space: dict[str, BaseDistribution]) -> FrozenTrial:
    """A running trial; Optuna's constant liar avoids its neighborhood."""
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
    """``count`` proposals of the estimator; equal arguments give equal proposals."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with catch_warnings():
        simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = TPESampler(seed=seed, n_startup_trials=1, multivariate=True, constant_liar=True)
        study = optuna.create_study(
            directions=["minimize" if d is Direction.MIN else "maximize" for d in directions], sampler=sampler
        )
    study.add_trials(trials)
    return [study.ask(space).params for _ in range(count)]
