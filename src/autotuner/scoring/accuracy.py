"""Accuracy of two servers on the same items, compared item by item.

The drop is the mean of the paired differences, and its bounds are those of Student's t. A server is worse than the
limit only if the lower bound of the drop is above it, and if the sign test over the items that only one of the two
solves is significant as well. The sign test is exact: two identical servers are equally likely to lose an item that the
other one solves, however few these are, so an identical server is rejected at most at the level of the test.
"""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from autotuner.scoring.gain import student_t
from autotuner.study.quality.result import Accuracy, Drop, TaskResult
from autotuner.study.quality.tasks import TaskRun, TaskScores

LEAST_ITEMS = 16
"""Fewest items that both servers answered."""


def accuracy(scores: Sequence[float]) -> Accuracy:
    """Mean and standard error of the scores of at least two items."""
    return Accuracy(value=fmean(scores), stderr=stdev(scores) / math.sqrt(len(scores)), items=len(scores))


def own_accuracy(names: Sequence[str], run: TaskRun) -> tuple[TaskResult, ...]:
    """The accuracy of a server that others are compared with."""
    return tuple(_own(name, run) for name in names)


def compare_tasks(names: Sequence[str], reference: TaskRun, candidate: TaskRun, level: float) -> tuple[TaskResult, ...]:
    """Compares a candidate's scores with those of the reference.

    Args:
        names: The tasks.
        reference: Scores of the default or baseline.
        candidate: The candidate's.
        level: One-sided error probability of each task.
    """
    return tuple(_compared(name, reference, candidate, level) for name in names)


def worse(found: TaskResult, limit: float, level: float) -> bool:
    """Whether accuracy dropped by more than the limit, beyond doubt."""
    return found.drop is not None and found.drop.low > limit and found.drop.chance <= level


def least_drop(items: int, limit: float, level: float) -> float:
    """Smallest drop that these items can show to be above the limit: that of a server which solves no other items than
    the reference does. 1 if not even the loss of all items would be beyond doubt."""
    t = student_t(1 - level, items - 1)
    for lost in range(1, items + 1):
        drop = lost / items
        if drop - t * math.sqrt(drop * (1 - drop) / (items - 1)) > limit and 0.5**lost <= level:
            return drop
    return 1.0


def _own(name: str, run: TaskRun) -> TaskResult:
    found = run.of(name)
    if found is None or len(found.scores) < LEAST_ITEMS:
        return TaskResult(name=name, why=run.problem or _too_few(0 if found is None else len(found.scores)))
    return TaskResult(name=name, metric=found.metric, accuracy=accuracy(list(found.scores.values())))


def _compared(name: str, reference: TaskRun, candidate: TaskRun, level: float) -> TaskResult:
    theirs = reference.of(name)
    own = candidate.of(name)
    found = TaskResult(name=name)
    if theirs is None:
        return found.replaced(why=f"the reference has no scores: {reference.problem or 'it was not evaluated'}")
    if own is None:
        return found.replaced(why=candidate.problem or "it was not evaluated")
    if own.metric != theirs.metric:
        return found.replaced(why=f"the reference was measured by another metric ({theirs.metric}, not {own.metric})")
    pairs = _pairs(theirs, own)
    if len(pairs) < max(LEAST_ITEMS, len(theirs.scores)):
        return found.replaced(why=f"only {len(pairs)} of {len(theirs.scores)} items are those of the reference")
    differences = [one - two for one, two in pairs]
    losses = sum(d > 0 for d in differences)
    gains = sum(d < 0 for d in differences)
    drop = fmean(differences)
    spread = student_t(1 - level, len(pairs) - 1) * stdev(differences) / math.sqrt(len(pairs))
    return found.replaced(
        metric=own.metric,
        accuracy=accuracy([two for _, two in pairs]),
        reference=accuracy([one for one, _ in pairs]),
        drop=Drop(
            value=drop,
            low=max(-1.0, drop - spread),
            high=min(1.0, drop + spread),
            losses=losses,
            gains=gains,
            chance=_sign_test(losses, gains),
        ),
    )


def _pairs(theirs: TaskScores, own: TaskScores) -> list[tuple[float, float]]:
    return [(score, own.scores[item]) for item, score in theirs.scores.items() if item in own.scores]


def _sign_test(losses: int, gains: int) -> float:
    """Probability of at least so many losses among the items that only one of two equal servers solves."""
    count = losses + gains
    return sum(math.comb(count, k) for k in range(losses, count + 1)) / (1 << count)


def _too_few(items: int) -> str:
    return f"only {items} items were evaluated"
