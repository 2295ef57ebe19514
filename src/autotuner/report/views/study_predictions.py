"""What the search predicted for each trial, beside what was measured."""

from autotuner.report.numbers import metric_name
from autotuner.report.predictions import predictions
from autotuner.report.result import StudyResult
from autotuner.study.base import FrozenModel
from autotuner.study.metric import METRICS, Unit
from autotuner.study.search.rationale import Expected
from autotuner.study.trial import TrialRole


class PredictedFigure(FrozenModel):
    """A figure that the search predicts."""

    title: str
    """``p99 TTFT of part 1``."""
    unit: Unit
    scenario: str
    level: str


class PredictedTrial(FrozenModel):
    """One prediction before the launch of a trial, in the metric's unit."""

    trial: int
    figure: int
    """Index of the figure."""
    median: float
    low: float
    """Lower end of the 95% interval of what the launch would measure."""
    high: float
    measured: float | None
    """None if it was not measured."""
    inside: bool | None
    """Whether the measured value lies in the interval."""


class StudyPredictions(FrozenModel):
    """All predictions of a study's search; none if its strategy makes none."""

    study: str
    figures: tuple[PredictedFigure, ...]
    trials: tuple[PredictedTrial, ...]
    """In the order in which the trials were proposed."""


def study_predictions(result: StudyResult) -> StudyPredictions:
    """Collects the predictions of all trials of the search."""
    figures: dict[PredictedFigure, int] = {}
    found = []
    for trial in result.trials:
        if trial.role is not TrialRole.SEARCH:
            continue
        for one in predictions(trial):
            expected = one.expected
            found.append(
                PredictedTrial(
                    trial=trial.number,
                    figure=figures.setdefault(_figure(expected), len(figures)),
                    median=expected.median,
                    low=expected.low,
                    high=expected.high,
                    measured=one.measured,
                    inside=one.inside,
                )
            )
    return StudyPredictions(study=result.spec.name, figures=tuple(figures), trials=tuple(found))


def _figure(expected: Expected) -> PredictedFigure:
    part = f" of {expected.of}" if expected.of else ""
    return PredictedFigure(
        title=f"{metric_name(expected.metric, expected.statistic)}{part}",
        unit=METRICS[expected.metric].unit,
        scenario=expected.scenario,
        level=expected.level,
    )
