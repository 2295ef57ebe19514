"""Quality of a trial's answers, as text."""

from autotuner.report.numbers import percent
from autotuner.study.quality.result import Distance, QualityResult, QualityState
from autotuner.study.trial import Trial

COLUMNS = (
    "quality",
    *(f"quality_{side}_{name}" for side in ("candidate", "control") for name in ("agreement", "kl", "logprob")),
    "quality_disagreement_low",
    "quality_kl_low",
    "quality_prompts",
)
"""Columns of the flat table."""


def quality_row(trial: Trial) -> list[object]:
    """The values of :data:`COLUMNS`."""
    found = trial.quality
    if found is None:
        return [None] * len(COLUMNS)
    sides = [
        getattr(side, name, None)
        for side in (found.candidate, found.control)
        for name in ("agreement", "kl", "logprob")
    ]
    lows = [excess.low if excess is not None else None for excess in (found.disagreement, found.kl)]
    return [found.state.value, *sides, *lows, found.prompts or None]


def quality_lines(trial: Trial) -> list[str]:
    """What the quality check found, one fact per line; empty if the trial was not checked."""
    found = trial.quality
    if found is None:
        return []
    if found.state is QualityState.UNDECIDED:
        return [f"not decided: {found.why}"]
    asked = found.why
    if found.method:
        asked = f"prompts {found.prompts or 'of an unknown set'}, asked by {found.method}, {found.seconds:.0f} s"
    if found.state is QualityState.REFERENCE:
        return [f"other configurations are compared with this trial: {asked}"]
    return [
        *_side("this trial", found.candidate),
        *_side("control", found.control),
        *_excesses(found),
        f"compared with trial {found.reference}: {asked}",
    ]


def _side(name: str, found: Distance | None) -> list[str]:
    if found is None:
        return []
    figures = [
        f"agrees on {percent(found.agreement, sign=False)} of {found.tokens} tokens",
        f"{percent(found.identical, sign=False)} of {found.prompts} answers identical",
    ]
    if found.kl is not None:
        figures.append(f"KL {found.kl:.3g} nats per token")
    if found.logprob is not None:
        figures.append(f"log-probability {found.logprob:+.3g}")
    return [f"{name}: {', '.join(figures)}"]


def _excesses(found: QualityResult) -> list[str]:
    parts = []
    if found.disagreement is not None:
        parts.append(
            f"disagreement {found.disagreement.value * 100:.1f} points (at least {found.disagreement.low * 100:.1f})"
        )
    if found.kl is not None:
        parts.append(f"KL {found.kl.value:.3g} (at least {found.kl.low:.3g})")
    return [f"beyond the control, at 99.5% confidence: {', '.join(parts)}"] if parts else []
