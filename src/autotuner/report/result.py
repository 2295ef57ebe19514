"""The answer of a study, derived from its stored trials: winner, default, gain, ties.

The winner is what the proof says. A candidate whose repeats do not show it to be better than the default does not win:
the default is named, and the sentence says so.
"""

import math
from collections.abc import Sequence

from autotuner import scoring
from autotuner.scoring import Gain
from autotuner.study.noun import Noun
from autotuner.study.objective import Objective
from autotuner.study.secrets import clean_model, clean_text, secrets_in
from autotuner.study.simulated import simulated_trials
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning import confirmation

DEFAULT_NOISE = 0.03
"""Relative difference of two measurements of one configuration, where no repeats tell: llama.cpp on a quiet CPU shows 2
to 4 %."""


class StudyResult(Noun):
    """Everything that is known of a study."""

    spec: StudySpec
    state: str
    """``new``, ``running``, ``done``, ``stopped``, ``interrupted`` or ``failed``."""
    why: str = ""
    """Why it ended."""
    trials: tuple[Trial, ...] = ()
    default: Trial | None = None
    """The engine's default, finished."""
    best: Trial | None = None
    """The best feasible trial of the search, the default included, proven or not."""
    winner: Trial | None = None
    """What to use: ``best``, or the default where that is as good. None: nothing is feasible."""
    nearest: Trial | None = None
    """Where nothing is feasible: the trial that missed the bounds by the least."""
    gain: Gain | None = None
    """Of ``best`` over the default in the first objective, from the interleaved repeats; None without these."""
    gains: tuple[Gain | None, ...] = ()
    """The same for each objective, in order."""
    as_good: bool = False
    """The default is as good: it won, or the repeats do not show that ``best`` is better."""
    front: tuple[int, ...] = ()
    """Numbers of the non-dominated trials, where there are several objectives."""
    tied: tuple[int, ...] = ()
    """Numbers of the trials that differ from the best by no more than the noise."""
    noise: float = DEFAULT_NOISE
    command: tuple[str, ...] = ()
    """What starts the winner: its own command where it has one (a container), else its arguments without the address
    that was only the trial's."""

    @property
    def simulated(self) -> str:
        """The sentence on simulated numbers; empty where there are none."""
        return simulated_trials(self.trials)

    @property
    def repeats(self) -> int:
        """Interleaved repeats behind :attr:`gain`."""
        return self.gain.repeats if self.gain else 0


def study_result(
    spec: StudySpec,
    state: str,
    trials: Sequence[Trial],
    *,
    why: str = "",
    address: Sequence[str] = ("--host", "--port"),
) -> StudyResult:
    """The result so far, without the study's secrets, since all of it is for display; ``address`` names the flags (each
    with a value) that are left out of the command."""
    secrets = frozenset(secrets_in(spec))
    spec, why = clean_model(spec, secrets), clean_text(why, secrets)
    ordered = tuple(clean_model(t, secrets) for t in sorted(trials, key=lambda t: t.number))
    first_class = [t for t in ordered if t.role is not TrialRole.CONFIRM and t.state.finished]
    default = next((t for t in first_class if t.role is TrialRole.DEFAULT), None)
    best = confirmation.candidate(ordered, spec.objectives)
    gains = tuple(_gain(o, i, default, best, ordered) for i, o in enumerate(spec.objectives))
    as_good = best is not None and default is not None and _as_good(best, default, gains)
    winner = default if as_good else best
    noise = _noise(spec.objectives[0], ordered)
    several = len(spec.objectives) > 1
    return StudyResult(
        spec=spec,
        state=state,
        why=why,
        trials=ordered,
        default=default,
        best=best,
        winner=winner,
        nearest=_nearest(first_class, spec.objectives) if best is None else None,
        gain=gains[0],
        gains=gains,
        as_good=as_good,
        front=tuple(t.number for t in scoring.pareto(first_class, spec.objectives)) if several else (),
        tied=tuple(t.number for t in scoring.ties(first_class, spec.objectives, noise)) if best else (),
        noise=noise,
        command=(winner.command or without_flags(winner.argv, address)) if winner else (),
    )


def objective_value(trial: Trial, index: int = 0) -> float | None:
    """A trial's objective, None where it was not measured."""
    values = trial.verdict.objectives if trial.verdict else ()
    return values[index] if index < len(values) else None


def repeat_values(trial: Trial, trials: Sequence[Trial], index: int = 0) -> list[float]:
    """The objective in a trial's finished repeats, in order; the trial itself is not one of them: it was chosen for its
    value, so its value is biased. Where the load generator was the limit, the server's value is not known."""
    repeats = [t for t in confirmation.repeats_of(trial, trials) if t.verdict is not None and t.verdict.rankable]
    found = (objective_value(t, index) for t in repeats)
    return [v for v in found if v is not None and math.isfinite(v) and v > 0]


def _gain(
    objective: Objective, index: int, default: Trial | None, best: Trial | None, trials: Sequence[Trial]
) -> Gain | None:
    if default is None or best is None or best.number == default.number:
        return None
    ours, theirs = repeat_values(best, trials, index), repeat_values(default, trials, index)
    return scoring.gain(theirs, ours, objective.direction, seed=0) if ours and theirs else None


def _as_good(best: Trial, default: Trial, gains: Sequence[Gain | None]) -> bool:
    """With several objectives one that is shown to be better is enough: the winner is a choice on the front."""
    if best.number == default.number:
        return True
    feasible = default.verdict is not None and default.verdict.feasible
    return feasible and all(gain is not None and gain.repeats > 1 and gain.as_good for gain in gains)


def _noise(objective: Objective, trials: Sequence[Trial]) -> float:
    groups: dict[int, list[float]] = {}
    for trial in trials:
        value = objective_value(trial)
        if trial.repeat_of is not None and trial.state is TrialState.DONE and value is not None:
            groups.setdefault(trial.repeat_of, []).append(value)
    found = scoring.noise_of(list(groups.values()))
    return DEFAULT_NOISE if found is None else found


def _nearest(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    measured = [t for t in trials if t.state is TrialState.DONE]
    return next(iter(scoring.rank(measured, objectives)), None)


def without_flags(argv: Sequence[str], flags: Sequence[str]) -> tuple[str, ...]:
    """``argv`` without these flags, each with the one argument behind it."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word in flags:
            skip = True
        else:
            kept.append(word)
    return tuple(kept)
