"""Predictions of a study beside what was measured."""

from autotuner.report.result import study_result
from autotuner.report.views.study_predictions import study_predictions
from autotuner.study.search.rationale import Expected, Rationale
from autotuner.study.trial import TrialRole
from autotuner.testing.samples import SampleKind, sample_study


def test_each_prediction_is_beside_its_measured_value() -> None:
    sample = sample_study(SampleKind.WINNER)
    trials = list(sample.trials)
    place = next(i for i, t in enumerate(trials) if t.role is TrialRole.SEARCH and t.measurements)
    window = trials[place].measurements[0]
    measured = window.scalars["output_throughput"]
    rate = Expected(
        metric="output_throughput",
        scenario=window.scenario,
        level=window.level.text,
        median=measured * 2,
        low=measured * 1.5,
        high=measured * 3,
    )
    slow = rate.model_copy(update={"metric": "ttft", "statistic": "p99", "of": "part 1"})
    why = Rationale(expected=(rate, slow), feasible=0.5, starts=1, improves=0.1)
    trials[place] = trials[place].replaced(rationale=why)
    trials[0] = trials[0].replaced(rationale=why)
    found = study_predictions(study_result(sample.spec, sample.state, trials, why=""))
    assert [(f.title, f.level) for f in found.figures] == [
        ("output throughput", window.level.text),
        ("p99 TTFT of part 1", window.level.text),
    ]
    assert [(t.trial, t.figure, t.measured, t.inside) for t in found.trials] == [
        (trials[place].number, 0, measured, False),
        (trials[place].number, 1, None, None),
    ]


def test_a_strategy_without_predictions_has_none() -> None:
    sample = sample_study(SampleKind.WINNER)
    found = study_predictions(study_result(sample.spec, sample.state, sample.trials, why=""))
    assert (found.figures, found.trials) == ((), ())
