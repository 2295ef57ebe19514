"""One proposal: fits the model, compares the candidates, and says why the best one was chosen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from autotuner.plugins.search import SearchContext
from autotuner.search.durations import Durations
from autotuner.search.model import acquisition
from autotuner.search.model.bounding import excess
from autotuner.search.model.candidates import Candidates
from autotuner.search.model.encoding import Array, Encoder, Units
from autotuner.search.model.launching import Launching
from autotuner.search.model.memory import Memory
from autotuner.search.model.model import Draws, Model
from autotuner.search.model.noise import launch_noise
from autotuner.search.model.observations import Windows
from autotuner.search.model.probing import new_values, with_new_values
from autotuner.search.model.quantities import named
from autotuner.search.model.worth import achieved, worth
from autotuner.search.points import Points
from autotuner.search.proposals import Proposals, spelled_out
from autotuner.search.unpredicted import unpredicted
from autotuner.study.configuration import Configuration
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.rationale import Expected, Rationale, Reuse
from autotuner.study.search.stopping import GainBound
from autotuner.study.trial import Trial, TrialRole

_DRAWS = 1000
"""With 300, candidates of small spaces are often so close that chance decides among them."""
_FEWEST_DRAWS = 200
_VALUES = 450_000
"""Draws times configurations times levels of one quantity; with more of these, fewer draws are made."""
_COMPARED = 1500
"""Most levels of configurations that all draws compare; of more candidates, those that are best by few draws."""
_SCREENING = 64
"""These few draws."""
_BOUNDED = 5000
"""Most untried configurations that a bound is computed from; of a space with more, a sample."""
_PROBED = 0.1
"""Score below which the model expects next to nothing of any candidate."""
_HOPELESS = 0.01
"""Smallest probability of an improvement for which a value is tried."""
_SURROUNDED = 5
"""Good configurations of a large space whose neighbors are compared too."""


@dataclass(frozen=True)
class Proposed:
    """A configuration, and why it was chosen."""

    configuration: Configuration
    rationale: Rationale


class Proposer:
    """Fits and compares; keeps nothing but what it has read: the space, earlier studies and the values of trials."""

    def __init__(
        self,
        context: SearchContext,
        proposals: Proposals,
        forecasts: Callable[[Configuration], Forecast | None],
    ) -> None:
        self._context = context
        self._proposals = proposals
        self._forecasts = forecasts
        # From tried and untried configurations, so that a search that is rebuilt gets the same columns.
        listed = Candidates(context, proposals, frozenset()).listed
        ignored = unpredicted(Points(context.space).axes, listed, forecasts)
        self._encoder = Encoder(context, listed, ignored)
        self._memory = Memory(context, self._encoder)
        self._windows = Windows(context)

    def propose(
        self,
        finished: Sequence[Trial],
        running: Sequence[Trial],
        taken: frozenset[str],
        made: int,
        only: Sequence[Configuration] = (),
    ) -> Proposed:
        """The best of all candidates, of which there is at least one.

        Args:
            finished: In the order of their numbers; repeats may be among them.
            running: Trials whose results are awaited.
            taken: Identities that may not be proposed.
            made: Number of trials so far; with the study's seed, it determines all draws.
            only: Candidates to choose from; empty: all of the space.
        """
        context = self._context
        candidates = Candidates(context, self._proposals, taken)
        encoder = self._encoder
        random = np.random.default_rng([abs(context.seed), made, 17])
        own = [t for t in finished if t.role is not TrialRole.CONFIRM]
        feasible = _feasible(context, own)
        listed = list(only) or candidates.listed
        model = Model(
            context,
            encoder,
            finished,
            listed,
            self._forecasts,
            launch_noise(context, finished),
            self._memory,
            self._windows,
        )
        launching = Launching(context, encoder, own)
        waiting = [spelled_out(context, t) for t in running]
        durations = Durations(context, finished, running)
        rated = _Rated(context, encoder, model, launching, durations, finished, waiting)
        if candidates.sampled and not only:
            listed = rated.screened(listed, random)
            good = [*(spelled_out(context, t) for t, _ in feasible[:_SURROUNDED]), *listed[:_SURROUNDED]]
            listed += candidates.around(good)
        rated.rate(rated.screened(listed, random), random)
        beats = feasible[0][0].number if feasible else None
        return rated.best(beats)

    def remaining_gain(self, finished: Sequence[Trial], taken: frozenset[str], confidence: float) -> GainBound | None:
        """By how much untried configurations can exceed the best trial; None without either of them.

        Args:
            finished: As for :meth:`propose`.
            taken: Identities of the configurations that were tried.
            confidence: Probability that the bound holds.
        """
        context = self._context
        candidates = Candidates(context, self._proposals, taken, _BOUNDED)
        listed = candidates.listed
        best = [spelled_out(context, t) for t, _ in _feasible(context, finished)[:_SURROUNDED]]
        untried = [*listed, *candidates.around(best)]
        if not untried:
            return None
        noise = launch_noise(context, finished)
        model = Model(context, self._encoder, finished, listed, self._forecasts, noise, self._memory, self._windows)
        random = np.random.default_rng([abs(context.seed), len(finished), 19])
        found = excess(context, self._encoder, model, finished, untried, random)
        gain = found.bound(confidence, context.directions[0]) if found is not None else math.inf
        if found is None or not math.isfinite(gain):
            return None
        return GainBound(
            gain=gain,
            confidence=confidence,
            trial=found.trial,
            untried=len(untried),
            complete=candidates.complete,
        )


def _feasible(context: SearchContext, finished: Sequence[Trial]) -> list[tuple[Trial, list[float]]]:
    """Feasible trials of the search with what they achieved, the best first."""
    own = [t for t in finished if t.role is not TrialRole.CONFIRM]
    feasible = [(t, a) for t in own if (a := achieved(context, t)) is not None]
    return sorted(feasible, key=lambda pair: -sum(pair[1]))


class _Rated:
    """Candidates with their draws and scores."""

    def __init__(
        self,
        context: SearchContext,
        encoder: Encoder,
        model: Model,
        launching: Launching,
        durations: Durations,
        finished: Sequence[Trial],
        waiting: Sequence[Configuration],
    ) -> None:
        self._context = context
        self._encoder = encoder
        self._model = model
        self._launching = launching
        self._durations = durations
        reached = [a for _, a in _feasible(context, finished)]
        self._reached = np.array(reached, float).reshape(len(reached), len(context.directions))
        self._finished = finished
        self._waiting = list(waiting)

    def screened(self, candidates: Sequence[Configuration], random: np.random.Generator) -> list[Configuration]:
        """As many of the candidates as are compared by all draws, the best ones by few draws."""
        most = max(_COMPARED // self._encoder.levels, 1)
        if len(candidates) <= most:
            return list(candidates)
        self._score(candidates, random, _SCREENING)
        return [candidates[i] for i in np.argsort(-self._per_time(self.scores.score), kind="stable")[:most]]

    def rate(self, candidates: Sequence[Configuration], random: np.random.Generator) -> None:
        """Draws the results of all candidates and scores them."""
        values = len(candidates) * self._encoder.levels
        self._score(candidates, random, max(_FEWEST_DRAWS, min(_DRAWS, _VALUES // values)))

    def _score(self, candidates: Sequence[Configuration], random: np.random.Generator, count: int) -> None:
        self._units = self._encoder.units([*candidates, *self._waiting])
        self._draws = self._model.draw(self._units, random, count)
        found = worth(self._context, self._units, self._draws)
        weights = acquisition.shares(random, count, len(self._context.directions))
        starts = self._launching.draw(self._units, random, count)
        self.scores = acquisition.scores(found, self._reached, weights, starts, len(self._waiting))

    def _per_time(self, scores: Array) -> Array:
        """Scores of the candidates, divided by the time that trying each of them takes."""
        found: Array = scores / self._durations.relative(self._units.configurations[: len(scores)])
        return found

    def _chosen(self, scores: Array) -> tuple[int, Reuse | None]:
        """The candidate with the highest score for its time, and what it reuses, if that is why it was chosen."""
        at = acquisition.best(self._per_time(scores))
        highest = acquisition.best(scores)
        chosen, other = (self._units.configurations[i] for i in (at, highest))
        return at, None if at == highest else self._durations.reuse(chosen, other)

    def best(self, beats: int | None) -> Proposed:
        """The candidate with the highest score for the time that it takes. If no score is high: of those with a value
        that no trial has had, the one that is most likely to be better than all trials, again for its time."""
        at, reuse = self._chosen(self.scores.score)
        untried: tuple[str, ...] = ()
        if self.scores.score.max() < _PROBED:
            count = len(self.scores.score)
            new = with_new_values(self._context, self._finished, self._units.configurations[:count])
            chances = np.where(new, self.scores.improves, 0.0)
            if chances.max() > _HOPELESS:
                at, reuse = self._chosen(chances)
                untried = new_values(self._context, self._finished, self._units.configurations[at])
        rationale = Rationale(
            expected=tuple(_expected(self._context, self._units, self._draws, at)),
            feasible=float(self.scores.feasible[at]),
            starts=float(self._launching.starts(self._units)[at]),
            improves=float(self.scores.improves[at]),
            beats=beats,
            source=self._model.source,
            prior_weight=self._draws.predicted,
            untried=untried,
            reuse=reuse,
            memory_weight=self._draws.remembered,
        )
        return Proposed(self._units.configurations[at], rationale)


def _expected(context: SearchContext, units: Units, draws: Draws, at: int) -> list[Expected]:
    """What the launch is predicted to measure, for every metric that objectives and SLOs name."""
    if context.goals is None:
        return []
    found = []
    for key in named(context.goals):
        for index, place in enumerate(units.places[at]):
            low, median, high = np.exp(np.quantile(draws.logs[key][:, at, index], [0.025, 0.5, 0.975])).tolist()
            found.append(
                Expected(
                    metric=key.metric,
                    statistic=key.statistic,
                    of=key.of,
                    scenario=place.scenario,
                    level=place.level,
                    median=median,
                    low=low,
                    high=high,
                )
            )
    return found
