"""The answer of a study, derived from its stored trials: ending, winner, default, gain, ties.

What the trials show is decided by :func:`autotuner.tuning.ending.conclude` alone.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Literal

from autotuner import scoring
from autotuner.errors import Problem, UsageError
from autotuner.scoring import Gain
from autotuner.secrets import clean_model, clean_text, secrets_in
from autotuner.study.base import Noun
from autotuner.study.objective import Objective
from autotuner.study.simulated import simulated_trials
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning import confirmation
from autotuner.tuning.ending import Ending, conclude

DEFAULT_NOISE = 0.03
"""Relative difference of two measurements of one configuration, where no repeats tell: llama.cpp on a quiet CPU shows 2
to 4%."""


class StudyResult(Noun):
    """Everything that is known of a study."""

    spec: StudySpec
    state: str
    """``new``, ``running``, ``done``, ``stopped``, ``interrupted`` or ``failed``."""
    why: str = ""
    """Why it ended."""
    ending: Ending = Ending.NOT_COMPARED_YET
    """What the trials show; decides headline, exit code and ``winner``."""
    trials: tuple[Trial, ...] = ()
    default: Trial | None = None
    """The engine's default, finished."""
    best: Trial | None = None
    """The challenger that the ending is about, or the default where it is the best measurement. None: nothing is
    feasible."""
    winner: Trial | None = None
    """What to use: ``best`` or the default. None: nothing is feasible. Never a trial that died or missed the SLOs in a
    repeat; proven only where ``ending`` says so."""
    nearest: Trial | None = None
    """Where nothing is feasible: the trial that missed the bounds by the least."""
    refuted: tuple[int, ...] = ()
    """Numbers of the challengers that died or missed the SLOs in a repeat."""
    gain: Gain | None = None
    """Of ``best`` over the default in the first objective, from the interleaved repeats; None without these."""
    gains: tuple[Gain | None, ...] = ()
    """The same for each objective, in order."""
    as_good: bool = False
    """The default is shown to be as good as the best challenger (``ending`` is ``shown_as_good``)."""
    front: tuple[int, ...] = ()
    """Numbers of the non-dominated trials, where there are several objectives; refuted ones are left out."""
    tied: tuple[int, ...] = ()
    """Numbers of the trials that are worse than the winner by no more than the noise, the winner included; by the mean
    of their repeats where they have some. Refuted ones are left out."""
    noise: float = DEFAULT_NOISE
    """Relative difference that two single measurements of one configuration stay below in 95% of cases."""
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

    @property
    def refuted_trials(self) -> tuple[Trial, ...]:
        """The trials of :attr:`refuted`."""
        found = {t.number: t for t in self.trials}
        return tuple(found[n] for n in self.refuted)

    @property
    def keeps_default(self) -> bool:
        """Whether the default is what to use."""
        return self.winner is not None and self.winner.role is TrialRole.DEFAULT

    def trial(self, number: int) -> Trial:
        """One trial.

        Args:
            number: The trial's number; 0 is the default's.

        Returns:
            The trial.

        Raises:
            UsageError: If there is no such trial.

        Example:
            >>> autotuner.load_result("chat-8b").trial(0).role.value
            'default'
        """
        found = next((t for t in self.trials if t.number == number), None)
        if found is None:
            known = f"it has trials 0 to {self.trials[-1].number}" if self.trials else "it has no trials yet"
            where = f"trial of {self.spec.name}"
            raise UsageError(Problem(where=where, value=str(number), why="no such trial", remedy=known))
        return found

    def to_dataframe(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """All measurements as a data frame: a row per trial, scenario and load level.

        Args:
            library: ``pandas`` or ``polars``; None: pandas if it is installed, else polars.

        Returns:
            A ``pandas.DataFrame`` or ``polars.DataFrame`` with the columns of the CSV export. Times in seconds, rates
            per second, null where there is no value.

        Raises:
            MissingExtraError: If the library is not installed.

        Example:
            >>> frame = autotuner.load_result("chat-8b").to_dataframe("polars")
            >>> frame["trial"][0], "ttft:p99" in frame.columns
            (0, True)
        """
        from autotuner.report.flat_table import data_frame

        return data_frame(self, library)

    def repeat_values(self, trial: Trial, index: int = 0) -> list[float]:
        """One objective in a trial's rankable repeats, in order; what every gain is computed from.

        Args:
            trial: The trial that was repeated.
            index: Position of the objective in the study.

        Returns:
            The values in the metric's own unit; empty where the trial was not repeated.

        Raises:
            IndexError: If the study has no such objective.

        Example:
            >>> result = autotuner.load_result("chat-8b")
            >>> len(result.repeat_values(result.winner)) == result.repeats
            True
        """
        return confirmation.values(trial, self.trials, self.spec.objectives[index], index)


def study_result(
    spec: StudySpec,
    state: str,
    trials: Sequence[Trial],
    *,
    why: str = "",
    environment_fault: bool | None = None,
) -> StudyResult:
    """The result so far, without the study's secrets, since all of it is for display; ``environment_fault`` is as
    in :func:`conclude`, ``address`` names the flags (each with a value) that are left out of the command."""
    secrets = frozenset(secrets_in(spec))
    spec = clean_model(spec, secrets)
    why = clean_text(why, secrets)
    ordered = tuple(clean_model(t, secrets) for t in sorted(trials, key=lambda t: t.number))
    found = conclude(spec, state, ordered, environment_fault=environment_fault)
    winner = found.winner
    refuted = tuple(t.number for t in found.refuted)
    first_class = [t for t in ordered if t.role is not TrialRole.CONFIRM and t.state.finished]
    standing = [_settled(t, ordered, spec.objectives) for t in first_class if t.number not in refuted]
    about = next((t for t in standing if winner and t.number == winner.number), None)
    noise = _noise(spec.objectives[0], ordered)
    several = len(spec.objectives) > 1
    return StudyResult(
        spec=spec,
        state=state,
        why=why,
        ending=found.ending,
        trials=ordered,
        default=found.default,
        best=found.best if winner else None,
        winner=winner,
        nearest=None if winner else found.best or _nearest(first_class, spec.objectives),
        refuted=refuted,
        gain=found.gains[0] if found.gains else None,
        gains=found.gains,
        as_good=found.ending is Ending.SHOWN_AS_GOOD,
        front=tuple(t.number for t in scoring.pareto(standing, spec.objectives)) if several else (),
        tied=tuple(t.number for t in scoring.ties(about, standing, spec.objectives, noise)) if about else (),
        noise=noise,
        command=winner.start_command if winner else (),
    )


def objective_value(trial: Trial, index: int = 0) -> float | None:
    """A trial's objective, None where it was not measured."""
    values = trial.verdict.objectives if trial.verdict else ()
    return values[index] if index < len(values) else None


def _settled(trial: Trial, trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial:
    """The trial with the means of its repeats in place of its first measurement, which was lucky or not."""
    found = [confirmation.values(trial, trials, o, i) for i, o in enumerate(objectives)]
    if trial.verdict is None or not all(found):
        return trial
    means = tuple(fmean(v) for v in found)
    return trial.model_copy(update={"verdict": trial.verdict.model_copy(update={"objectives": means, "penalty": 0.0})})


def _noise(objective: Objective, trials: Sequence[Trial]) -> float:
    """From repeats where there are any, else :data:`DEFAULT_NOISE`; never less than the windows themselves allow."""
    bases = [t for t in trials if t.role is not TrialRole.CONFIRM]
    found = scoring.noise_of([confirmation.values(t, trials, objective) for t in bases])
    least = 1.96 * math.sqrt(2) * confirmation.known_noise(trials)
    return max(DEFAULT_NOISE if found is None else found, least)


def _nearest(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    measured = [t for t in trials if t.state is TrialState.DONE]
    return next(iter(scoring.rank(measured, objectives)), None)
