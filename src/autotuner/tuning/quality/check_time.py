"""Time that the quality check takes, for the estimate of a study's time."""

from autotuner.study.base import FrozenModel
from autotuner.study.quality.result import QualityResult
from autotuner.study.spec import StudySpec

DEFAULT_PASSES = 3
"""Times that a default's server is asked: many prompts in flight, one at a time, and in another order."""


class CheckTime(FrozenModel):
    """Seconds of one check."""

    default_s: float
    """Of an engine's default."""
    candidate_s: float
    measured: bool = False
    """Whether the default's check took this long; otherwise these are the limits."""


def at_most(spec: StudySpec) -> CheckTime:
    """The limits; no time if the study checks nothing."""
    quality = spec.quality
    if quality is None or not spec.parameters:
        return CheckTime(default_s=0.0, candidate_s=0.0)
    tasks_s = quality.tasks.time_limit_s if quality.tasks is not None else 0.0
    once_s = quality.time_limit_s
    return CheckTime(default_s=DEFAULT_PASSES * once_s + tasks_s, candidate_s=once_s + tasks_s)


def measured(found: QualityResult | None) -> CheckTime | None:
    """What the default's check took; None if it is not known."""
    if found is None or not found.once_s:
        return None
    return CheckTime(default_s=found.seconds + found.tasks_s, candidate_s=found.once_s + found.tasks_s, measured=True)
