"""What went wrong in the launches of a configuration, in sentences."""

from autotuner.report.numbers import percent
from autotuner.report.result import StudyResult
from autotuner.study.trial import Trial
from autotuner.study.verdict import QUALITY, Violation
from autotuner.tuning.proof import records

_NAMED_BOUNDS = 2


def failed_launches(trial: Trial, result: StudyResult) -> str:
    """``1 of 4 launches failed (crash under load)``; empty if all launches met the SLOs.

    The quality check asks one launch for all of them, so what it found is not counted in launches.
    """
    found = records.launches(trial, result.trials)
    parts = []
    if found.died:
        all_of = [trial, *records.repeats_of(trial, result.trials)]
        causes = dict.fromkeys(t.failure.cause.value.replace("_", " ") for t in all_of if t.failure)
        why = f" ({', '.join(causes)})" if causes else ""
        parts.append(f"{found.died} of {_launches(found.total)} failed{why}")
    if missed := found.missed - bool(trial.verdict and trial.verdict.quality_fault):
        parts.append(f"{missed} of {_launches(found.total)} missed the SLOs{_missed_bounds(trial, result)}")
    if quality := _quality_fault(trial):
        parts.append(quality)
    return ", ".join(parts)


def distance(missed: Violation) -> str:
    """`` by 12%``, or ``: not measured``."""
    return ": not measured" if missed.value is None else f" by {percent(missed.relative, sign=False)}"


def _quality_fault(trial: Trial) -> str:
    """``quality not decided: trial 0 failed``; empty if nothing speaks against its answers."""
    found = [v for v in trial.verdict.violations if v.slo == QUALITY] if trial.verdict else []
    return next((f"quality {v.text}" if v.value is None else f"worse answers: {v.text}" for v in found), "")


def _missed_bounds(trial: Trial, result: StudyResult) -> str:
    """`` (p99 ttft <= 200ms by 12%)``: the hard SLOs that a launch missed, with the largest distance from each."""
    worst: dict[str, Violation] = {}
    for launch in (trial, *records.repeats_of(trial, result.trials)):
        for missed in launch.verdict.violations if launch.verdict else ():
            if missed.hard and not missed.doubtful and missed.slo != QUALITY:
                worst[missed.slo] = max(missed, worst.get(missed.slo, missed), key=lambda v: v.relative)
    shown = sorted(worst.values(), key=lambda v: -v.relative)[:_NAMED_BOUNDS]
    more = " and more" if len(worst) > _NAMED_BOUNDS else ""
    bounds = ", ".join(f"{v.slo}{distance(v)}" for v in shown)
    return f" ({bounds}{more})" if bounds else ""


def _launches(count: int) -> str:
    return f"{count} launch{'es' if count != 1 else ''}"
