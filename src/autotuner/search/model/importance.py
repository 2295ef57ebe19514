"""Functional analysis of variance of the model: which parameters the objective and the feasibility depend on."""

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from statistics import fmean

import numpy as np

from autotuner.plugins.search import SearchContext
from autotuner.search.model.encoding import Array, Encoder
from autotuner.search.model.launching import Launching
from autotuner.search.model.memory import Memory
from autotuner.search.model.model import Model
from autotuner.search.model.noise import launch_noise
from autotuner.search.model.observations import Windows
from autotuner.search.model.worth import worth
from autotuner.search.points import Axis, Points
from autotuner.search.proposals import allowed, shuffled
from autotuner.search.unpredicted import unpredicted
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.search.importance import ParameterImportance, Share
from autotuner.study.trial import Trial, TrialRole, TrialState

_DRAWS = 200
_ROWS = 12_000
"""Most levels of configurations that are computed."""
_POINTS = 400
"""Most configurations of the sample; each is changed in every parameter."""
_LEAST_LOG = 0.005
"""Smallest standard deviation of the objective's logarithm that is explained; less is within noise."""
_LEAST_CHANCE = 0.02
"""Smallest standard deviation of the probability of being feasible that is explained."""
_FEWEST_PAIRS = 10
"""Fewest pairs from which a share is computed."""
_GROUPS = 6
"""The values of an ordered parameter with more of them are divided into this many groups."""
_TRIES = 8
"""Attempts to find another value that the constraints allow."""
FEWEST = 4
"""Fewest measured configurations for an analysis."""


def importance(context: SearchContext, trials: Sequence[Trial]) -> tuple[ParameterImportance, ...]:
    """Every parameter of the space, the one with the largest total share first.

    Means over the values of one parameter come from the sampled configurations with each value; its total share from
    pairs that differ in it alone, or in what it makes active.

    Args:
        context: The problem.
        trials: Its finished trials, repeats included. With fewer than :data:`FEWEST` measured configurations, nothing
            is analyzed.
    """
    done = [t for t in trials if t.state is TrialState.DONE]
    if len({context.identity(t.configuration) for t in done}) < FEWEST:
        return ()
    proposals = shuffled(context)
    typical = list(islice(proposals.unused(frozenset()), _POINTS))
    every_axis = Points(context.space).axes
    encoder = Encoder(context, typical, unpredicted(every_axis, typical, context.forecast))
    axes = [a for a in every_axis if a.values is None or len(a.values) > 1]
    levels = encoder.units(typical[:1]).loads.shape[1] if typical else 1
    sample = typical[: max(_ROWS // (levels * (len(axes) + 1)), 50)]
    random = np.random.default_rng([abs(context.seed), 23])
    changed: list[list[Configuration | None]] = []
    for configuration in sample:
        first = {a.name: a.ends[0] if a.values is None else a.values[0] for a in axes}
        full = {**first, **configuration.values}
        changed.append([_changed(context, a, full, configuration, random) for a in axes])
    every = [*sample, *(c for row in changed for c in row if c is not None)]
    objective, chance = _computed(context, encoder, trials, every, random)
    index = iter(range(len(sample), len(every)))
    pairs = [[None if c is None else next(index) for c in row] for row in changed]
    found = []
    for at, axis in enumerate(axes):
        own = [(i, row[at]) for i, row in enumerate(pairs)]
        known = [(i, j) for i, j in own if j is not None]
        values = [c.values.get(axis.name) for c in sample]
        found.append(
            ParameterImportance(
                parameter=axis.name,
                objective=_share(axis, values, objective, known),
                feasible=_share(axis, values, chance, known),
            )
        )
    return tuple(sorted(found, key=lambda p: -p.objective.total))


def _computed(
    context: SearchContext,
    encoder: Encoder,
    trials: Sequence[Trial],
    configurations: Sequence[Configuration],
    random: np.random.Generator,
) -> tuple[Array, Array]:
    """Mean of the first objective's logarithm and probability of being feasible, by configuration.

    Effects of single servers are left out, because they do not follow from the parameters.
    """
    noise = launch_noise(context, trials)
    memory = Memory(context, encoder)
    model = Model(context, encoder, trials, configurations, context.forecast, noise, memory, Windows(context))
    units = encoder.units(configurations)
    found = worth(context, units, model.draw(units, random, _DRAWS, servers=False))
    own = [t for t in trials if t.role is not TrialRole.CONFIRM]
    starts = Launching(context, encoder, own).starts(units)
    objective = np.where(np.isfinite(found.objectives[:, :, 0]), found.objectives[:, :, 0], np.nan)
    return _settled(objective, _LEAST_LOG), _settled(found.feasible * starts, _LEAST_CHANCE)


def _settled(draws: Array, least: float) -> Array:
    """The mean of the draws by configuration; the same for all if they hardly differ, or by chance only."""
    mean: Array = np.nanmean(draws, axis=0)
    around = draws - np.nanmean(draws, axis=1)[:, None]
    chance = float(np.nanvar(around, axis=0).mean()) / len(draws)
    return mean if float(mean.var()) > max(least**2, 2 * chance) else np.zeros_like(mean)


def _changed(
    context: SearchContext,
    axis: Axis,
    full: Mapping[str, Value],
    configuration: Configuration,
    random: np.random.Generator,
) -> Configuration | None:
    """The configuration with another value of one parameter; None where the space has none."""
    if axis.name not in configuration.values:
        return None
    for _ in range(_TRIES):
        if axis.values is None:
            low, high = axis.ends
            value: Value = float(random.uniform(low, high))
        else:
            value = axis.values[int(random.integers(len(axis.values)))]
        if value == configuration.values[axis.name]:
            continue
        other = context.space.pruned({**full, axis.name: value})
        if context.space.contains(other) and allowed(context, other):
            return other
    return None


def _share(axis: Axis, values: Sequence[Value], found: Array, pairs: Sequence[tuple[int, int]]) -> Share:
    """The share of one parameter in the variance over the sample."""
    sample = found[: len(values)]
    variance = float(sample.var())
    if not variance:
        return Share(alone=0.0, total=0.0)
    alone = _between(axis, values, sample) / variance
    # Pairs of different values differ by more than pairs of independent ones, of which one in k is equal.
    independent = 1.0 if axis.values is None else 1 - 1 / len(axis.values)
    differences = np.array([found[i] - found[j] for i, j in pairs])
    active = len(pairs) / len(values)
    few = len(pairs) < _FEWEST_PAIRS  # in a space of listed configurations, hardly any two differ in one parameter
    total = 0.0 if few else independent * active * float(np.mean(differences**2)) / 2 / variance
    return Share(alone=min(max(alone, 0.0), 1.0), total=min(max(total, alone, 0.0), 1.0))


def _between(axis: Axis, values: Sequence[Value], sample: Array) -> float:
    """Variance of the means by value, without what chance adds to it."""
    groups: dict[int, list[float]] = {}
    for value, y in zip(values, sample.tolist(), strict=True):
        groups.setdefault(_group(axis, value), []).append(y)
    within = math.fsum(math.fsum((y - fmean(own)) ** 2 for y in own) for own in groups.values())
    whole = float(((sample - sample.mean()) ** 2).sum())
    freedom = len(sample) - len(groups)
    chance = (len(groups) - 1) * within / freedom if freedom > 0 else whole
    return (whole - within - chance) / len(sample)


def _group(axis: Axis, value: Value) -> int:
    """Number of the value, or of the part of the range that it lies in; -1 for an inactive parameter."""
    if axis.values is None:
        low, high = axis.ends
        share = (value - low) / (high - low) if isinstance(value, int | float) else -1.0
        return math.floor(share * _GROUPS)
    at = axis.position(value)
    if at is None:
        return -1
    return at * _GROUPS // len(axis.values) if axis.ordered and len(axis.values) > _GROUPS else int(at)
