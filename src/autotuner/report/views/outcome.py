"""What became of a trial, in a word and in its reasons."""

from dataclasses import dataclass
from typing import Literal

from autotuner.report.headline import answer_word
from autotuner.report.numbers import UNSURE, unsure_text
from autotuner.report.result import StudyResult
from autotuner.report.views.goal_texts import figure_text
from autotuner.study.failure import FailureCause
from autotuner.study.objective import SLO
from autotuner.study.owner import CUT_OFF
from autotuner.study.trial import Trial, TrialState
from autotuner.study.verdict import Violation

_REASONS = 3
"""Number of missed SLOs shown per trial."""

Tone = Literal["bad", "doubtful", "open", "best", "good"]


@dataclass(frozen=True)
class Outcome:
    """The outcome of a trial."""

    text: str
    """Such as ``SLOs missed``."""
    tone: Tone
    """What it means for the study, for colors."""


def outcome(result: StudyResult, trial: Trial) -> Outcome:
    """Returns the outcome of a trial."""
    if trial.state is TrialState.FAILED:
        return Outcome("failed", "bad")
    if trial.state is TrialState.VOID:
        return Outcome(CUT_OFF if trial.finished_at is None else "not counted", "doubtful")
    if trial.state is not TrialState.DONE or trial.verdict is None:
        return Outcome(trial.state.value, "open")
    verdict = trial.verdict
    found = measured_outcome(
        feasible=verdict.feasible or verdict.doubtful,
        rankable=verdict.rankable,
        cut=trial.cut is not None,
        quality_fault=verdict.quality_fault,
        slos=bool(result.spec.slos),
    )
    if found.tone != "good":
        return found
    if trial.number in result.refuted:
        return Outcome("did not hold up", "bad")
    if result.winner is not None and trial.number == result.winner.number:
        return Outcome(answer_word(result), "best")
    if result.best is not None and trial.number == result.best.number:
        return Outcome("challenger", "good")
    return Outcome(f"{UNSURE if verdict.unsure else ''}{found.text}", found.tone)


def measured_outcome(*, feasible: bool, rankable: bool, cut: bool, quality_fault: str, slos: bool) -> Outcome:
    """The outcome of a measured trial by itself, without the other trials of its study.

    Args:
        feasible: Whether it violates no SLO. That alone does not mean that it meets them: they may be left open.
        rankable: Whether its values may be compared with others; a capacity search without a certified load has none.
        cut: Whether levels were left out.
        quality_fault: Whether only its answers make it infeasible.
        slos: Whether the study has SLOs.
    """
    if not feasible:
        return Outcome(quality_fault or "SLOs missed", "bad")
    if cut:
        return Outcome("cut", "doubtful")
    if not rankable:
        return Outcome("not ranked", "doubtful")
    return Outcome("SLOs met" if slos else "measured", "good")


def undecided(trial: Trial, slo: SLO, value: float | None) -> bool:
    """Whether an SLO is neither met nor missed: its levels were left out, a search certified no load, or the load
    generator, which could not keep up, may have caused the miss."""
    of_slo = [v for v in trial.verdict.violations if v.slo == slo.text] if trial.verdict else []
    if value is not None:
        return bool(of_slo) and all(v.doubtful for v in of_slo)
    if trial.cut is None and not any(m.undecided for m in trial.measurements):
        return False
    # A bound of the capacity can tell that an SLO is missed.
    return not of_slo


def reasons(trial: Trial) -> list[str]:
    """Returns why a trial failed, does not count, or may not win; one line each."""
    found = []
    # Where the load generator could not keep up is one of the verdict's reasons.
    if trial.failure is not None and (trial.verdict is None or trial.failure.cause is not FailureCause.CLIENT_LIMITED):
        found.append(f"{trial.failure.cause.value.replace('_', ' ')}: {trial.failure.message}")
    if trial.verdict is not None:
        hard = [v for v in trial.verdict.violations if v.hard]
        found += [violation_text(v, trial) for v in hard[:_REASONS]]
        if len(hard) > _REASONS:
            found.append(f"and {len(hard) - _REASONS} more SLOs")
        found += [r for r in trial.verdict.reasons if trial.failure is None or r not in trial.failure.message]
        found += [unsure_text(what) for what in trial.verdict.unsure[:_REASONS]]
    return found


def violation_text(violation: Violation, trial: Trial) -> str:
    """``p99 ttft <= 400ms: 812 ms at D(128,48) concurrency=16``."""
    if violation.text:
        return f"{violation.slo}: {violation.text}"
    metric = violation.slo.split(" <= ")[0].split(" >= ")[0].split(" ")[-1]
    value = "not measured" if violation.value is None else figure_text(metric, violation.value)
    by_look = trial.cut is not None and trial.cut.confidence is not None
    return f"{violation.slo}: {value}{' at best' if by_look else ''} at {violation.where}"
