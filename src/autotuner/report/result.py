"""The result of a study, derived from its stored trials: ending, winner, default, gain, ties.

:func:`autotuner.tuning.ending.conclude` alone decides what the trials show.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from statistics import fmean
from typing import Any, Literal

from autotuner import scoring
from autotuner.errors import NotFoundError, Problem
from autotuner.report.ranking import Ranking, ranking
from autotuner.scoring import Gain
from autotuner.secrets import clean_model, clean_models, clean_text, secrets_in
from autotuner.study.base import FrozenModel
from autotuner.study.objective import Objective
from autotuner.study.parameters.reference import ReferenceWord, reference_text
from autotuner.study.search.beginning import Beginning
from autotuner.study.search.importance import ParameterImportance
from autotuner.study.search.stopping import GainBound
from autotuner.study.simulated import simulated_trials
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.ending import Ending, conclude
from autotuner.tuning.proof import records
from autotuner.tuning.proof.decision import Decision
from autotuner.tuning.proof.noise import known_noise
from autotuner.tuning.stored_summary import NO_FINDINGS, Findings

DEFAULT_NOISE = 0.03
"""Assumed relative difference of two measurements of one configuration without repeats: llama.cpp on an idle CPU shows
2 to 4%."""


class StudyResult(FrozenModel):
    """Everything known about a study."""

    spec: StudySpec
    state: str
    """``new``, ``running``, ``done``, ``stopped``, ``interrupted``, ``failed``, or ``cut off``: its run was killed."""
    why: str = ""
    """Why the study ended."""
    ending: Ending = Ending.NOT_COMPARED_YET
    """What the trials show; determines headline, exit code and ``winner``."""
    trials: tuple[Trial, ...] = ()
    default: Trial | None = None
    """The trial of the engine's default, or of the study's baseline, once finished."""
    best: Trial | None = None
    """The challenger that the ending is about, or the default if it measured best. None: nothing is feasible."""
    winner: Trial | None = None
    """The trial to use: ``best`` or the default. None: nothing is feasible. Never a trial that crashed or missed the
    SLOs in a repeat; proven only if ``ending`` says so."""
    nearest: Trial | None = None
    """If nothing is feasible, the trial that missed the SLOs by the least."""
    refuted: tuple[int, ...] = ()
    """Numbers of the challengers that crashed or missed the SLOs in a repeat."""
    gain: Gain | None = None
    """Gain of ``best`` over the default in the first objective, from the interleaved repeats; None without repeats."""
    gains: tuple[Gain | None, ...] = ()
    """The gain in each objective, in order."""
    decision: Decision | None = None
    """The answer of the comparison with the default: better, equivalent, worse, undecided or refuted, with margin,
    confidence and blocks. None if the ending does not rest on a comparison."""
    as_good: bool = False
    """Whether the default was shown to be as good as the best challenger (``ending`` is ``shown_as_good``)."""
    front: tuple[int, ...] = ()
    """With several objectives, numbers of the non-dominated trials, without refuted ones."""
    tied: tuple[int, ...] = ()
    """Numbers of the trials within the noise of the winner, including the winner, by the mean of their repeats if any;
    without refuted ones."""
    bound: GainBound | None = None
    """How much better than the best trial by the search's model untried configurations can be; None if the search
    cannot tell."""
    importance: tuple[ParameterImportance, ...] = ()
    """How much each parameter matters, by a model of all measured trials; empty until the study is done, or with few
    trials."""
    noise: float = DEFAULT_NOISE
    """Relative difference below which two single measurements of one configuration stay in 95% of cases."""
    beginning: Beginning | None = None
    """What was known when the study began: its hardware, and the earlier studies that its search learns from."""
    command: tuple[str, ...] = ()
    """Command that starts the winner: its own if it has one (a container), otherwise its arguments without the address
    flags of the trial."""

    @cached_property
    def in_company(self) -> frozenset[int]:
        """Numbers of the trials beside which another server of the study ran."""
        return records.all_in_company(self.trials)

    @cached_property
    def repeated(self) -> Mapping[int, tuple[Trial, ...]]:
        """The repeats of each trial that has some, by its number."""
        found: dict[int, list[Trial]] = {}
        for trial in self.trials:
            if trial.repeat_of is not None:
                found.setdefault(trial.repeat_of, []).append(trial)
        return {number: tuple(repeats) for number, repeats in found.items()}

    @cached_property
    def ranking(self) -> Ranking:
        """Every trial with its rank, best first, each followed by its repeats; trials without a rank come last."""
        return ranking(self.trials, self.spec.objectives, refuted=frozenset(self.refuted), repeated=self.repeated)

    @cached_property
    def ranks(self) -> Mapping[int, int | None]:
        """The rank of each trial by its number; None for repeats, and for trials that cannot win."""
        return {trial.number: rank for trial, rank in self.ranking}

    @property
    def simulated(self) -> str:
        """Sentence about simulated numbers; empty if there are none."""
        return simulated_trials(self.trials)

    @property
    def repeats(self) -> int:
        """Number of interleaved repeats behind :attr:`gain`."""
        return self.gain.repeats if self.gain else 0

    @property
    def refuted_trials(self) -> tuple[Trial, ...]:
        """The trials of :attr:`refuted`."""
        found = {t.number: t for t in self.trials}
        return tuple(found[n] for n in self.refuted)

    @property
    def reference_word(self) -> ReferenceWord:
        """What :attr:`default` is: the study's ``baseline``, or the engine's ``default``."""
        return self.spec.reference_word

    @property
    def keeps_default(self) -> bool:
        """Whether the answer is to keep the default, or the study's baseline."""
        return self.winner is not None and self.winner.role is TrialRole.DEFAULT

    def trial(self, number: int) -> Trial:
        """Returns one trial.

        Args:
            number: The trial's number; 0 is that of the default, or of the study's baseline.

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
            raise NotFoundError(Problem(where=where, value=str(number), why="no such trial", remedy=known))
        return found

    def to_dataframe(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """Returns all measurements as a data frame, with a row per trial, scenario and load level.

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
        """Returns one objective in a trial's rankable repeats, in order. Every gain is computed from these values.

        Args:
            trial: The trial that was repeated.
            index: Position of the objective in the study.

        Returns:
            The values in the metric's unit; empty if the trial was not repeated.

        Raises:
            IndexError: If the study has no such objective.

        Example:
            >>> result = autotuner.load_result("chat-8b")
            >>> len(result.repeat_values(result.winner)) == result.repeats
            True
        """
        return records.values(trial, self.trials, self.spec.objectives[index], index)


def study_result(
    spec: StudySpec,
    state: str,
    trials: Sequence[Trial],
    *,
    why: str = "",
    environment_fault: bool | None = None,
    beginning: Beginning | None = None,
    findings: Findings = NO_FINDINGS,
) -> StudyResult:
    """Derives the result so far, without the study's secrets, because all of it may be displayed.

    Args:
        spec: The study.
        state: State of the study; see :attr:`StudyResult.state`.
        trials: Its stored trials, in any order.
        why: Why the study ended.
        environment_fault: As in :func:`autotuner.tuning.ending.conclude`.
        beginning: What was known when the study began.
        findings: What was stored when the study ended.
    """
    return result_of_clean(
        spec,
        state,
        clean_models(sorted(trials, key=lambda t: t.number), frozenset(secrets_in(spec))),
        why=why,
        environment_fault=environment_fault,
        beginning=beginning,
        findings=findings,
    )


def result_of_clean(
    spec: StudySpec,
    state: str,
    trials: Sequence[Trial],
    *,
    why: str,
    environment_fault: bool | None,
    beginning: Beginning | None,
    findings: Findings,
) -> StudyResult:
    """As :func:`study_result`, of trials by number whose secrets were removed before."""
    bound = findings.bound
    secrets = frozenset(secrets_in(spec))
    spec = clean_model(spec, secrets)
    why = clean_text(why, secrets)
    ordered = tuple(trials)
    found = conclude(spec, state, ordered, environment_fault=environment_fault)
    winner = found.winner
    refuted = tuple(t.number for t in found.refuted)
    first_class = [t for t in ordered if t.role is not TrialRole.CONFIRM and t.state.finished]
    repeats = [t for t in ordered if t.role is TrialRole.CONFIRM]
    standing = [_settled(t, repeats, spec.objectives) for t in first_class if t.number not in refuted]
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
        decision=found.decision,
        as_good=found.ending is Ending.SHOWN_AS_GOOD,
        front=tuple(t.number for t in scoring.pareto(standing, spec.objectives)) if several else (),
        tied=tuple(t.number for t in scoring.ties(about, standing, spec.objectives, noise)) if about else (),
        bound=bound if bound is not None and bound.trial not in refuted else None,
        importance=findings.importance,
        noise=noise,
        beginning=None if beginning is None else clean_model(beginning, secrets),
        command=winner.start_command if winner else (),
    )


def trial_label(trial: Trial) -> str:
    """Returns the tuned values of a trial for display, marked if others are compared with it."""
    reference = trial.role is TrialRole.DEFAULT or trial.engine_default
    return reference_text(trial.configuration) if reference else trial.configuration.text


def objective_value(trial: Trial, index: int = 0) -> float | None:
    """Returns an objective of a trial; None if it was not measured."""
    return records.objective_of(trial, index)


def _settled(trial: Trial, repeats: Sequence[Trial], objectives: Sequence[Objective]) -> Trial:
    """Replaces the first measurement of a trial, which may have been lucky, by the means of its repeats."""
    found = [records.values(trial, repeats, o, i) for i, o in enumerate(objectives)]
    if trial.verdict is None or not all(found):
        return trial
    means = tuple(fmean(v) for v in found)
    return trial.model_copy(update={"verdict": trial.verdict.model_copy(update={"objectives": means, "penalty": 0.0})})


def _noise(objective: Objective, trials: Sequence[Trial]) -> float:
    """Noise from repeats if any, otherwise :data:`DEFAULT_NOISE`; never less than the uncertainty within windows."""
    repeats = [t for t in trials if t.role is TrialRole.CONFIRM]
    bases = [t for t in trials if t.role is not TrialRole.CONFIRM]
    found = scoring.noise_of([records.values(t, repeats, objective) for t in bases])
    least = 1.96 * math.sqrt(2) * known_noise(trials)
    return max(DEFAULT_NOISE if found is None else found, least)


def _nearest(trials: Sequence[Trial], objectives: Sequence[Objective]) -> Trial | None:
    measured = [t for t in trials if t.state is TrialState.DONE]
    return next(iter(scoring.rank(measured, objectives)), None)
