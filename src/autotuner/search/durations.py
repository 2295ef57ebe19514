"""How long trying a configuration takes, and whether it starts sooner after a launch that loaded the same.

Weights may still be in the page cache, and compiled code in files. Whether they are depends on memory, storage and
container, so nothing is assumed: a saving counts only as far as the launches of the study prove it.
"""

import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from autotuner.plugins.search import SearchContext
from autotuner.search.proposals import spelled_out
from autotuner.study.configuration import Configuration
from autotuner.study.search.rationale import Reuse
from autotuner.study.trial import Phase, Trial, TrialState

Array = NDArray[np.float64]


class LaunchKind(StrEnum):
    """What a launch may find loaded, from nothing to most."""

    NEW = "new"
    """No launch of the study has loaded the same."""
    EARLIER = "earlier"
    """A launch of the study has, but not the one before."""
    LAST = "last"
    """The launch before has."""
    RUNNING = "running"
    """The server of the trial before runs, and only changes flags."""


_EFFECTS = {LaunchKind.NEW: (0.0, 0.0), LaunchKind.EARLIER: (1.0, 0.0), LaunchKind.LAST: (1.0, 1.0)}
"""Whether what lasts (files), and what later launches displace (the page cache), may help."""
_LAUNCHES = tuple(_EFFECTS)
"""Kinds that launch a server."""
_CHANGE_S = 1.0
"""Seconds that a change of flags takes."""
_LAUNCH = (Phase.LAUNCHING, Phase.LOADING)
_NOT_TRYING = frozenset({*_LAUNCH, Phase.QUEUED, Phase.PULLING})
"""Phases that are not part of what a trial takes after its launch; an image is pulled once."""
_OFFSET = 3.0
_EFFECT = 1.0
_CONTENT = 1.0
"""Prior standard deviations of logarithms of seconds: of all launches, of each effect, and of what is loaded."""
_NOISE = (0.05, 0.1, 0.2, 0.4)
"""Standard deviations of repeated launches, each as likely as the others before any launch."""
_FEWEST = 2
"""Launches that may start sooner, and others, from which on they are compared."""
_ONE_SIDED = 1.645
"""Quantile of 95%."""


@dataclass(frozen=True)
class _Launch:
    """A server that became ready, or is expected to."""

    trial: Trial
    loads: Hashable
    kind: LaunchKind


class Durations:
    """Expected seconds of trials.

    The first launch of the study is left out: it fills what all later ones share. So are starts that failed.
    """

    def __init__(self, context: SearchContext, finished: Sequence[Trial], running: Sequence[Trial]) -> None:
        self._context = context
        self._launches: list[_Launch] = []
        self._newest: dict[Hashable, int] = {}
        """Number of the newest trial that loaded something."""
        for trial in sorted((*filter(_started, finished), *running), key=_began):
            if trial.server_of is not None:
                continue
            loads = context.loading(spelled_out(context, trial))
            self._launches.append(_Launch(trial, loads, self._kind(loads)))
            self._newest[loads] = trial.number
        known = [(one, s) for one in self._launches[1:] if (s := _seconds(one.trial, _LAUNCH)) > 0]
        self.launch_s = _launch_s([one for one, _ in known], [s for _, s in known])
        """Seconds of a launch of each kind; the saving counts with the lower end of its one-sided 95% interval."""
        self._running = _held(context, finished, running)
        """The server that waits for the next trial; None without one."""
        if self._running is not None:
            self.launch_s[LaunchKind.RUNNING] = min(_CHANGE_S, *self.launch_s.values())
        done = [t for t in finished if t.state is TrialState.DONE and t.phases]
        rest = [_seconds(t, [p for p in Phase if p not in _NOT_TRYING]) for t in done]
        self._rest_s = fmean(rest) if rest else 0.0

    def relative(self, configurations: Sequence[Configuration]) -> Array:
        """Expected seconds of trying each configuration, relative to the shortest trial; 1 as long as a launch is not
        known to be quicker directly after one that loaded the same."""
        # What is only slow when it is loaded for the first time is paid once, whichever launch comes first.
        launch_s = {**self.launch_s, LaunchKind.NEW: self.launch_s[LaunchKind.EARLIER]}
        seconds = [self._rest_s + launch_s[self.kind(c)] for c in configurations]
        if len(set(seconds)) == 1:
            return np.ones(len(configurations))
        return np.array(seconds) / min(seconds)

    def kind(self, configuration: Configuration) -> LaunchKind:
        """What a launch of the configuration finds loaded now."""
        if self._running is not None and self._context.server(configuration) == self._running[1]:
            return LaunchKind.RUNNING
        return self._kind(self._context.loading(configuration))

    def reuse(self, chosen: Configuration, other: Configuration) -> Reuse | None:
        """What the launch of a configuration finds loaded; None if it is not quicker than that of another one."""
        launch_s, other_s = (self.launch_s[self.kind(c)] for c in (chosen, other))
        if launch_s >= other_s:
            return None
        if self._running is not None and self.kind(chosen) is LaunchKind.RUNNING:
            return Reuse(trial=self._running[0], launch_s=launch_s, other_launch_s=other_s, running=True)
        trial = self._newest[self._context.loading(chosen)]
        return Reuse(trial=trial, launch_s=launch_s, other_launch_s=other_s)

    def _kind(self, loads: Hashable) -> LaunchKind:
        if self._launches and self._launches[-1].loads == loads:
            return LaunchKind.LAST
        return LaunchKind.EARLIER if loads in self._newest else LaunchKind.NEW


def _started(trial: Trial) -> bool:
    return trial.state is TrialState.DONE or (trial.state is TrialState.FAILED and Phase.READY in trial.phases)


def _began(trial: Trial) -> tuple[float, int]:
    return (math.inf if trial.started_at is None else trial.started_at, trial.number)


def _held(context: SearchContext, finished: Sequence[Trial], running: Sequence[Trial]) -> tuple[int, Hashable] | None:
    """Number of the trial whose server waits, if any, and what it can become. It waits only for the next trial."""
    last = max(finished, key=lambda t: (t.finished_at or 0.0, t.number), default=None)
    if last is None or last.state is not TrialState.DONE or last.repeat_of is not None or not last.argv:
        return None
    if any(_began(t) > _began(last) for t in running):
        return None  # it was ended for that one, or runs it
    server = context.server(last.configuration)
    return None if server is None else (last.launched_by, server)


def _seconds(trial: Trial, phases: Collection[Phase]) -> float:
    return sum(trial.phases.get(phase.value, 0.0) for phase in phases)


def _launch_s(launches: Sequence[_Launch], seconds: Sequence[float]) -> dict[LaunchKind, float]:
    """Seconds of a launch of each kind, by a linear model of their logarithms."""
    if not launches:
        return dict.fromkeys(_LAUNCHES, 0.0)
    logs = np.log(seconds)
    loaded = list(dict.fromkeys(one.loads for one in launches))
    own = [[_OFFSET, *(_EFFECT * e for e in _EFFECTS[one.kind])] for one in launches]
    columns = np.hstack([np.array(own), _CONTENT * np.array([[one.loads == c for c in loaded] for one in launches])])
    asked = np.zeros((len(_EFFECTS) + 1, columns.shape[1]))
    asked[:-1, 1:3] = _EFFECT * np.array(list(_EFFECTS.values()))
    asked[-1, 0] = _OFFSET
    found = [_posterior(columns, logs - logs.mean(), noise, asked) for noise in _NOISE]
    evidence = np.array([e for e, _, _ in found])
    shares = np.exp(evidence - evidence.max())
    shares /= shares.sum()
    means = np.array([m for _, m, _ in found])
    mean = shares @ means
    variance = shares @ (np.array([v for _, _, v in found]) + means**2) - mean**2
    new_s = math.exp(logs.mean() + mean[-1])
    bounds = np.minimum(mean + _ONE_SIDED * np.sqrt(np.maximum(variance, 0.0)), 0.0)
    saving = 0.0
    found_s = {}
    for i, kind in enumerate(_LAUNCHES):
        sooner = sum(one.kind in _LAUNCHES[i:] for one in launches)
        if min(sooner, len(launches) - sooner) >= _FEWEST:  # what helps a kind helps the next ones, too
            saving = min(saving, float(bounds[i]))
        found_s[kind] = new_s * math.exp(saving)
    return found_s


def _posterior(columns: Array, values: Array, noise: float, asked: Array) -> tuple[float, Array, Array]:
    """Logarithm of the evidence for a noise, and mean and variance of what is asked: sums of the columns' weights."""
    covariance = columns @ columns.T + noise**2 * np.eye(len(values))
    solved = np.linalg.solve(covariance, np.column_stack([values, columns @ asked.T]))
    explained = asked @ columns.T
    evidence = -float(values @ solved[:, 0]) / 2 - float(np.linalg.slogdet(covariance)[1]) / 2
    variance = (asked**2).sum(axis=1) - (explained * solved[:, 1:].T).sum(axis=1)
    return evidence, explained @ solved[:, 0], variance
