"""Expected and measured values of a trial."""

from collections.abc import Iterator
from dataclasses import dataclass

from autotuner.scoring.values import metric_value
from autotuner.study.search.rationale import Expected
from autotuner.study.trial import Trial


@dataclass(frozen=True)
class Prediction:
    """One expected value beside the measured one, in the metric's unit."""

    expected: Expected
    measured: float | None
    """None if it was not measured."""
    inside: bool | None
    """Whether it lies in the 95% interval; None if it was not measured."""


def predictions(trial: Trial) -> Iterator[Prediction]:
    """All predictions that were made before the launch; none if the search made none."""
    for expected in trial.rationale.expected if trial.rationale else ():
        windows = [m for m in trial.measurements if (m.scenario, m.level.text) == (expected.scenario, expected.level)]
        found = [metric_value(m.of(expected.of), expected.metric, expected.statistic) for m in windows]
        measured = found[0] if found else None
        inside = None if measured is None else expected.low <= measured <= expected.high
        yield Prediction(expected, measured, inside)
