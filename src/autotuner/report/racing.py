"""What racing saved: windows of trials that ended before all of their levels were measured."""

from dataclasses import dataclass

from autotuner.report.numbers import plain
from autotuner.report.result import StudyResult
from autotuner.study.trial import TrialRole, TrialState

_MINUTE_S = 60


@dataclass(frozen=True)
class RacingSummary:
    """Trials of a search that were cut."""

    trials: int
    """Measured trials of the search, without the default."""
    cut: int
    levels: int
    """Levels that were left out."""
    saved_s: float
    """Least seconds that their windows would have taken, without those that looks took."""


def racing_summary(result: StudyResult) -> RacingSummary | None:
    """Adds up all trials that count; None if the study measures every level of every trial."""
    searched = [t for t in result.trials if t.role is TrialRole.SEARCH and t.state is TrialState.DONE]
    cuts = [t.cut for t in searched if t.cut is not None]
    if not cuts and not result.spec.search.races:
        return None
    warmup_s = result.spec.workload.warmup_s
    looked_s = sum(warmup_s + look.window_s for trial in result.trials for look in trial.looks)
    return RacingSummary(
        trials=len(searched),
        cut=len(cuts),
        levels=sum(len(cut.left) for cut in cuts),
        saved_s=sum(cut.saved_s for cut in cuts) - looked_s,
    )


def racing_text(result: StudyResult) -> str:
    """``Racing cut 6 of 13 trials: 14 levels were left out, which saved at least 7.5 min.``; empty without a saving."""
    found = racing_summary(result)
    if found is None or found.saved_s <= 0:
        return ""
    minutes = found.saved_s / _MINUTE_S
    saved = f"{plain(minutes)} min" if minutes >= 1 else f"{plain(found.saved_s)} s"
    levels = f"{found.levels} level{'s were' if found.levels != 1 else ' was'} left out"
    trials = f"{found.trials} trial{'s' if found.trials != 1 else ''}"
    return f"Racing cut {found.cut} of {trials}: {levels}, which saved at least {saved}."
