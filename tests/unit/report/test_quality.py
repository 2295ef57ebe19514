"""Figures of the quality check in every output."""

import csv
import io
import json

import pytest

from autotuner.cli.trial_page import trial_text
from autotuner.events.types import TrialFinished
from autotuner.report.exports import csv_text, strict_json
from autotuner.report.headline import headline
from autotuner.report.result import StudyResult, study_result
from autotuner.report.views.outcome import outcome, reasons
from autotuner.scoring.agreement import with_quality
from autotuner.study.quality.result import (
    Accuracy,
    Distance,
    Drop,
    EngineComparison,
    Excess,
    QualityResult,
    QualityState,
    TaskResult,
)
from autotuner.study.quality.spec import QualitySpec
from autotuner.study.trial import TrialRole
from autotuner.testing.samples import SampleKind, sample_study
from support.web.reports import report_text

SIDE = Distance(prompts=32, tokens=141, identical=0.25, agreement=0.7731, kl=0.0203, logprob=-0.04)
CONTROL = Distance(prompts=32, tokens=999, identical=0.97, agreement=0.999, kl=1e-6, logprob=0.0)
WRONG = QualityResult(
    state=QualityState.COMPARED,
    method="/v1/completions logprobs=20",
    prompts="0123456789abcdef",
    reference=0,
    candidate=SIDE,
    control=CONTROL,
    disagreement=Excess(value=0.226, low=0.123),
    kl=Excess(value=0.0203, low=0.0124),
    seconds=9.0,
)


def result(quality: QualityResult, *, everywhere: bool = False) -> StudyResult:
    """The last feasible trial of the search has this quality, or all trials have."""
    sample = sample_study(SampleKind.WINNER)
    spec = sample.spec.replaced(quality=QualitySpec())
    last = max(t.number for t in sample.trials if t.verdict and t.verdict.feasible and t.repeat_of is None)
    trials = [
        t.replaced(quality=quality, verdict=with_quality(t.verdict, quality, spec.quality))
        if t.verdict and (everywhere or t.number == last)
        else t
        for t in sample.trials
    ]
    return study_result(spec, sample.state, trials, why=sample.why)


def test_every_output_has_the_figures() -> None:
    found = result(WRONG)
    trial = next(t for t in found.trials if t.quality is not None)
    assert outcome(found, trial).text == "worse answers"
    assert any("quality" in line and "77.3%" in line and "0.0203" in line for line in reasons(trial))
    page = trial_text(found, trial, [], width=160)
    for figure in ("141 tokens", "999 tokens", "22.6 points", "12.3", "0.0124", "trial 0", WRONG.method, WRONG.prompts):
        assert figure in page
    titles, *rows = csv.reader(io.StringIO(csv_text(found)))
    row = dict(zip(titles, next(r for r in rows if r[0] == str(trial.number)), strict=True))
    assert row["quality"] == "compared"
    assert float(row["quality_candidate_agreement"]) == SIDE.agreement
    assert float(row["quality_control_kl"]) == CONTROL.kl
    assert float(row["quality_disagreement_low"]) == 0.123
    assert row["quality_prompts"] == WRONG.prompts
    stored = next(t for t in json.loads(strict_json(found))["trials"] if t["number"] == trial.number)
    assert stored["quality"]["prompts"] == WRONG.prompts
    assert stored["quality"]["kl"] == {"value": 0.0203, "low": 0.0124}
    assert "77.3%" in report_text(found)
    finished = TrialFinished.of(trial, ())
    assert finished.verdict is not None
    assert finished.verdict.quality_fault == "worse answers"


def test_tasks_and_engines_are_in_every_output() -> None:
    accuracy = Accuracy(value=0.412, stderr=0.035, items=200)
    drop = Drop(value=0.188, low=0.101, high=0.275, losses=45, gains=7, chance=1e-7)
    task = TaskResult(
        name="gsm8k", metric="exact_match,none", accuracy=accuracy, reference=accuracy.replaced(value=0.6), drop=drop
    )
    engine = EngineComparison(reference=0, candidate=SIDE, control=CONTROL, disagreement=Excess(value=0.031, low=0.012))
    failed = TaskResult(name="arc", why="lm-eval exited with code 1")
    found = result(WRONG.replaced(tasks=(failed, task), engine=engine))
    trial = next(t for t in found.trials if t.quality is not None)
    page = trial_text(found, trial, [], width=200)
    for text in (
        "task gsm8k: 41.2% (standard error of 3.5) of 200 items, exact_match,none",
        "trial 0: 60.0% (standard error of 3.5); drop 18.8 points, between 10.1 and 27.5 at 99.5% confidence each "
        "(45 items lost, 7 gained)",
        "task arc not decided: lm-eval exited with code 1",
        "its engine's reference agrees with trial 0 on 77.3% of words (control 99.9%), 3.1 points more (at least 1.2)",
    ):
        assert text in page
    titles, *rows = csv.reader(io.StringIO(csv_text(found)))
    row = dict(zip(titles, next(r for r in rows if r[0] == str(trial.number)), strict=True))
    assert [float(row[f"quality_accuracy{name}"]) for name in ("", "_drop", "_drop_low")] == [0.412, 0.188, 0.101]
    stored = next(t for t in json.loads(strict_json(found))["trials"] if t["number"] == trial.number)
    assert stored["quality"]["tasks"][1]["drop"]["losses"] == 45


def test_an_inherited_result_names_the_default() -> None:
    found = result(WRONG.replaced(state=QualityState.INHERITED, reference=1))
    trial = next(t for t in found.trials if t.quality is not None)
    assert "answers as trial 1" in trial_text(found, trial, [], width=160)


@pytest.mark.parametrize("state", [QualityState.UNDECIDED, QualityState.COMPARED])
def test_nothing_wins_if_all_answers_are_worse(state: QualityState) -> None:
    found = result(WRONG.replaced(state=state, why="only 3 prompts were answered by both servers"), everywhere=True)
    assert found.winner is None
    assert "quality" in headline(found)
    assert ("3 prompts" if state is QualityState.UNDECIDED else "77.3%") in headline(found)


def test_the_default_says_that_others_are_compared_with_it() -> None:
    found = result(QualityResult(state=QualityState.REFERENCE, method="/v1/completions", seconds=15.0))
    trial = next(t for t in found.trials if t.quality is not None)
    assert "compared with this trial" in trial_text(found, trial, [], width=160)
    assert "quality" not in trial_text(found, found.trials[0], [], width=160)


def test_worse_answers_are_not_called_missed_slos() -> None:
    sample = sample_study(SampleKind.WINNER)
    default = sample.trials[0]
    bad = with_quality(default.verdict, WRONG, QualitySpec()) if default.verdict else None
    trials = [default, *(t.replaced(verdict=bad, quality=WRONG) for t in sample.trials if t.role is TrialRole.SEARCH)]
    text = headline(study_result(sample.spec, "done", trials))
    assert text.endswith(f"(tried {len(trials) - 1}: {len(trials) - 1} did not pass the quality check)")
