"""Quality of a trial's answers, as text."""

from autotuner.report.numbers import percent
from autotuner.study.quality.result import Accuracy, Distance, QualityResult, QualityState, TaskResult
from autotuner.study.trial import Trial

COLUMNS = (
    "quality",
    *(f"quality_{side}_{name}" for side in ("candidate", "control") for name in ("agreement", "kl", "logprob")),
    "quality_disagreement_low",
    "quality_kl_low",
    "quality_prompts",
    "quality_accuracy",
    "quality_accuracy_drop",
    "quality_accuracy_drop_low",
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
    return [found.state.value, *sides, *lows, found.prompts or None, *_accuracies(found)]


def quality_lines(trial: Trial) -> list[str]:
    """What the quality check found, one fact per line; empty if the trial was not checked."""
    found = trial.quality
    if found is None:
        return []
    others = [*_engine(found), *_tasks(found)]
    if found.state is QualityState.UNDECIDED:
        return [f"not decided: {found.why}", *others]
    if found.state is QualityState.INHERITED:
        return [f"no change of arithmetic: answers as trial {found.reference}", *others]
    asked = found.why
    if found.method:
        asked = f"prompts {found.prompts or 'of an unknown set'}, asked by {found.method}, {found.seconds:.0f} s"
    if found.state is QualityState.REFERENCE:
        return [f"other configurations are compared with this trial: {asked}", *others]
    return [
        *_side("this trial", found.candidate),
        *_side("control", found.control),
        *_excesses(found),
        f"compared with trial {found.reference}: {asked}",
        *others,
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
    confidence = f"{found.confidence * 100:.4g}%"
    return [f"beyond the control, at {confidence} confidence: {', '.join(parts)}"] if parts else []


def _engine(found: QualityResult) -> list[str]:
    """How the reference of its engine compares with the study's."""
    if found.engine is None:
        return []
    excess = found.engine.disagreement
    figures = f", {excess.value * 100:.1f} points more (at least {excess.low * 100:.1f})" if excess is not None else ""
    return [f"{found.engine.text}{figures}"]


def _tasks(found: QualityResult) -> list[str]:
    return [line for task in found.tasks for line in _task(task, found)]


def _task(task: TaskResult, found: QualityResult) -> list[str]:
    """Accuracy with the standard error of its mean, and the drop with its bounds."""
    if task.accuracy is None:
        return [f"task {task.name} not decided: {task.why}"]
    lines = [f"task {task.name}: {_accuracy(task.accuracy)} of {task.accuracy.items} items, {task.metric}"]
    if task.reference is None or task.drop is None:
        return lines
    drop = task.drop
    return [
        *lines,
        f"trial {found.reference}: {_accuracy(task.reference)}; drop {drop.value * 100:.1f} points, between "
        f"{drop.low * 100:.1f} and {drop.high * 100:.1f} at {found.confidence * 100:.4g}% confidence each "
        f"({drop.losses} items lost, {drop.gains} gained)",
    ]


def _accuracy(found: Accuracy) -> str:
    return f"{found.value * 100:.1f}% (standard error of {found.stderr * 100:.1f})"


def _accuracies(found: QualityResult) -> list[object]:
    """Accuracy, drop and its lower bound in the task with the largest drop."""
    known = [task for task in found.tasks if task.accuracy is not None]
    if not known:
        return [None] * 3
    task = max(known, key=lambda t: t.drop.value if t.drop is not None else 0.0)
    accuracy = task.accuracy.value if task.accuracy is not None else None
    return [accuracy, *([task.drop.value, task.drop.low] if task.drop is not None else [None, None])]
