"""The light form of a study says the same as its full result."""

import json
from typing import Any

import pytest

from autotuner.report.exports import strict_json
from autotuner.report.headline import headline
from autotuner.report.overview import StudyOverview, overview
from autotuner.report.result import StudyResult, study_result
from autotuner.report.views.outcome import outcome
from autotuner.report.views.study_details import StudyDetails, study_details
from autotuner.report.views.trial_change import change_text, trial_changes
from autotuner.store.records import StudyRecord
from autotuner.testing.samples import SampleKind, sample_study

KINDS = list(SampleKind)


def result_of(kind: str) -> StudyResult:
    sample = sample_study(kind)
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


def overview_of(result: StudyResult) -> StudyOverview:
    record = StudyRecord(
        name=result.spec.name, digest="", spec=result.spec, source="x", state=result.state, created_at=1, updated_at=2
    )
    trials = list(result.trials)
    return overview(record, running=False, launches=len(trials), newest=None, trials=lambda: trials)


def details_of(kind: str) -> tuple[StudyDetails, dict[str, Any]]:
    """The details, and the JSON that the command line prints."""
    result = result_of(kind)
    return study_details(result, overview_of(result), now=3.0), json.loads(strict_json(result))


@pytest.mark.parametrize("kind", KINDS)
def test_every_trial_is_a_row_with_the_values_of_the_json(kind: str) -> None:
    details, data = details_of(kind)
    trials = {trial["number"]: trial for trial in data["trials"]}
    assert {row.number for row in details.trials} == set(trials)
    for row in details.trials:
        trial = trials[row.number]
        assert row.rank == trial["rank"]
        assert [c and c.amount for c in row.changes] == [c and c["amount"] for c in trial["changes"]]
        for window, measurement in zip(row.windows, trial["measurements"], strict=True):
            assert window.values == shown(measurement, window.values)
        for goal, figure in zip(details.goals, row.goals, strict=True):
            if goal.objective is not None and trial["verdict"] is not None:
                assert figure.value == trial["verdict"]["objectives"][goal.objective]


def shown(measurement: dict[str, Any], names: Any) -> dict[str, float]:
    """The same figures from the JSON."""
    found = {}
    for name in names:
        statistic, _, metric = name.rpartition(" ")
        values = measurement["distributions"][metric] if statistic else measurement["scalars"]
        found[name] = values[statistic or metric]
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_that_of_the_command_line(kind: str) -> None:
    details, data = details_of(kind)
    assert details.headline == data["headline"] == headline(result_of(kind))
    assert details.simulated == (data["simulated"] or "")
    assert details.winner == (data["winner"] and data["winner"]["number"])


def test_the_proof_compares_the_default_with_what_was_repeated() -> None:
    details, _ = details_of("winner")
    assert details.default in details.compared
    assert details.winner in details.compared
    assert len(details.compared) == 2
    winner = next(row for row in details.trials if row.number == details.winner)
    (change,) = winner.changes
    assert change is not None
    assert change.low is not None
    assert change.high is not None
    assert change.low < change.amount < change.high
    assert change.repeats == 3
    assert change.effect == "better"


def test_a_change_from_one_launch_of_each_is_marked() -> None:
    result = result_of("unproven")
    rough = [c for t in result.trials for c in trial_changes(result, t) if c is not None]
    assert rough
    assert {(change.repeats, change.text[0], change.low) for change in rough} == {(0, "~", None)}
    assert result.default is not None
    assert change_text(result, result.default) == ""


def test_outcomes_have_a_tone() -> None:
    failures = result_of("failures")
    tones = {outcome(failures, trial).text: outcome(failures, trial).tone for trial in failures.trials}
    assert tones["failed"] == "bad"
    winner = result_of("winner")
    assert winner.winner is not None
    assert outcome(winner, winner.winner).tone == "best"


def test_failures_have_their_remedy() -> None:
    details, _ = details_of("failures")
    failures = [row.failure for row in details.trials if row.failure is not None]
    assert any(failure.remedy for failure in failures)
    assert all(failure.message for failure in failures)
