"""What a trial was expected to measure, beside what it measured."""

import json

from autotuner.cli.trial_page import trial_text
from autotuner.report.predictions import predictions
from autotuner.report.result import StudyResult, study_result
from autotuner.report.trial_data import trial_data
from autotuner.study.search.rationale import Expected, Rationale, Reuse
from autotuner.study.trial import Trial
from autotuner.testing.samples import SampleKind, sample_study


def result() -> StudyResult:
    """The first trial's throughput was expected at twice and at the measured value."""
    sample = sample_study(SampleKind.WINNER)
    first, *rest = sample.trials
    window = first.measurements[0]
    measured = window.scalars["output_throughput"]
    expected = [
        Expected(
            metric="output_throughput",
            scenario=scenario,
            level=window.level.text,
            median=factor * measured,
            low=0.9 * factor * measured,
            high=1.1 * factor * measured,
        )
        for factor, scenario in ((2.0, window.scenario), (1.0, window.scenario), (1.0, "D(1,1)"))
    ]
    why = Rationale(expected=tuple(expected), feasible=0.71, starts=0.9999, improves=0.34, beats=3)
    return study_result(sample.spec, sample.state, [first.replaced(rationale=why), *rest], why=sample.why)


def test_a_value_outside_of_its_interval_is_marked() -> None:
    found = list(predictions(result().trials[0]))
    assert [p.inside for p in found] == [False, True, None]
    assert [p.measured is None for p in found] == [False, False, True]


def test_the_page_of_a_trial_has_a_line_for_each() -> None:
    found = result()
    lines = trial_text(found, found.trials[0], [], width=160).splitlines()
    at = lines.index("expected before the launch (95% intervals)")
    assert "71% likely to be feasible" in lines[at + 1]
    assert "34% likely to beat trial 3" in lines[at + 1]
    assert "over 99% likely to start" in lines[at + 1], "nothing is certain before a launch"
    assert lines[at + 2].endswith("outside of the interval")
    assert all("measured" in line for line in lines[at + 2 : at + 5])
    data = trial_data(found, found.trials[0], [])
    assert len(data["predictions"]) == 3


def test_the_page_says_which_untried_value_was_the_reason() -> None:
    found = result()
    trial = next(t for t in found.trials if "parallel" in t.configuration.values)
    why = Rationale(feasible=0.9, starts=1.0, improves=0.02, beats=3, untried=("parallel",))
    text = trial_text(found, trial.replaced(rationale=why), [], width=160)
    value = trial.configuration.values["parallel"]
    assert f"proposed because no trial had tried parallel={value}, and nothing was likely to be much better" in text


def test_the_page_says_what_a_launch_reuses() -> None:
    found = result()
    reuse = Reuse(trial=2, launch_s=41.4, other_launch_s=190)
    why = Rationale(feasible=0.9, starts=1.0, improves=0.2, beats=3, reuse=reuse)
    text = trial_text(found, found.trials[1].replaced(rationale=why), [], width=160)
    assert "preferred because it loads the same as trial 2: starts in 41 s, not 3 min" in text


def test_a_trial_stored_without_a_reason_has_none() -> None:
    trial = result().trials[1]
    stored = json.loads(trial.model_dump_json())
    del stored["rationale"]
    loaded = Trial.model_validate(stored)
    assert loaded == trial
    assert not list(predictions(loaded))
