"""How much better than the best trial untried configurations can be, from joint draws of the results of all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from autotuner.plugins.search import SearchContext
from autotuner.search.model.encoding import Array, Encoder
from autotuner.search.model.launching import Launching
from autotuner.search.model.model import Model
from autotuner.search.model.noise import launch_noise
from autotuner.search.model.worth import achieved, worth
from autotuner.search.proposals import spelled_out
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.trial import Trial, TrialRole, TrialState

_DRAWS = 1000
_FEWEST_DRAWS = 200
_VALUES = 4_000_000
"""Draws times configurations times levels of one quantity; with more of these, fewer draws are made."""


@dataclass(frozen=True)
class Excess:
    """By how much the best untried configuration exceeds the best trial, in draws."""

    trial: int
    """Number of the best trial by the model."""
    logs: Array
    """Logarithm of the ratio by draw; 0 where nothing is better."""

    def bound(self, confidence: float, direction: Direction) -> float:
        """Relative gain that is not exceeded with this probability."""
        at = min(math.ceil(confidence * (len(self.logs) + 1)), len(self.logs)) - 1
        most = float(np.sort(self.logs)[at])
        return math.expm1(most) if direction is Direction.MAX else -math.expm1(-most)


def excess(
    context: SearchContext,
    encoder: Encoder,
    model: Model,
    finished: Sequence[Trial],
    untried: Sequence[Configuration],
    random: np.random.Generator,
) -> Excess | None:
    """The draws; None without a feasible trial. The best trial is the one with the highest mean in the draws, because
    the highest measurement is often a lucky one.

    A default or baseline whose parameters are not all known lies nowhere in the space, so the model says little about
    it; what its launches measured says how good it is.

    Residuals of trials that were predicted without their own measurements widen the draws, if they are larger than the
    model expects.
    """
    own = [t for t in finished if t.role is not TrialRole.CONFIRM]
    refuted = {t.repeat_of for t in finished if t.role is TrialRole.CONFIRM and _refutes(t)}
    feasible = [t for t in own if t.number not in refuted and achieved(context, t) is not None]
    if not feasible:
        return None
    measured = [spelled_out(context, t) for t in feasible]
    units = encoder.units([*measured, *untried])
    count = max(_FEWEST_DRAWS, min(_DRAWS, _VALUES // max(units.loads.size, 1)))
    found = worth(context, units, model.draw(units, random, count, widened=True))
    starts = Launching(context, encoder, own).draw(units, random, count)
    value = np.where(found.feasible & starts, found.objectives[:, :, 0], -np.inf)[:, len(measured) :]
    known = found.objectives[:, : len(measured), 0].copy()
    for index in np.flatnonzero(units.unknown[: len(measured)]):
        known[:, index] = _by_itself(context, feasible[index], finished, random.standard_normal(count))
    best = int(known.mean(axis=0).argmax())
    top = value.max(axis=1)
    some = np.isfinite(top)
    over: Array = np.zeros(count)
    over[some] = np.maximum(top[some] - known[some, best], 0.0)
    return Excess(feasible[best].number, over)


def _by_itself(context: SearchContext, trial: Trial, finished: Sequence[Trial], normal: Array) -> Array:
    """Draws of the logarithm of a trial's objective from the noise between launches and its own launches alone."""
    launches = [trial, *(t for t in finished if t.repeat_of == trial.number)]
    values = [found[0] for t in launches if (found := achieved(context, t)) is not None]
    return fmean(values) + launch_noise(context, finished) / math.sqrt(len(values)) * normal


def _refutes(repeat: Trial) -> bool:
    """Whether a repeat died or missed a bound. One that was only measured too badly to be ranked says nothing."""
    verdict = repeat.verdict
    return repeat.state is not TrialState.DONE or verdict is None or not (verdict.feasible or verdict.doubtful)
