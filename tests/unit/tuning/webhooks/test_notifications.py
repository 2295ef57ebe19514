"""Messages for webhooks about the run of a study."""

import pytest

from autotuner.events.types import StudyFinished
from autotuner.testing.samples import sample_study
from autotuner.tuning.ending import conclude
from autotuner.tuning.stored_summary import answer_of
from autotuner.tuning.webhooks.notifications import budget_used, is_about_budget, not_run, notifications


def kinds(sample_kind: str, state: str, why: str = "") -> list[str]:
    sample = sample_study(sample_kind)
    found = conclude(sample.spec, state, sample.trials, environment_fault=False if state == "failed" else None)
    ended = StudyFinished(study=sample.spec.name, state=state, why=why, ending=found.ending.value)
    return [one.kind.value for one in notifications(sample.spec, ended, answer_of(sample.spec, found, sample.trials))]


@pytest.mark.parametrize(
    ("sample", "state", "why", "expected"),
    [
        ("winner", "done", "the space is exhausted", ["study.finished", "study.winner_found"]),
        ("as_good", "done", "", ["study.finished"]),
        ("refuted", "done", "trial budget (14) used up", ["study.finished"]),
        ("winner", "stopped", "stopped by request", ["study.finished"]),
        ("winner", "interrupted", "interrupted by request", []),
        ("winner", "failed", "no space left on device", ["study.failed"]),
    ],
)
def test_the_messages_of_each_end(sample: str, state: str, why: str, expected: list[str]) -> None:
    assert kinds(sample, state, why) == expected


def test_a_winner_is_described_as_in_the_answer() -> None:
    sample = sample_study("winner")
    found = conclude(sample.spec, "done", sample.trials)
    answer = answer_of(sample.spec, found, sample.trials)
    ended = StudyFinished(study=sample.spec.name, state="done", ending=found.ending.value, at=7.0)
    _, winner = notifications(sample.spec, ended, answer)
    assert found.winner is not None
    assert winner.at == 7.0
    assert winner.data["trial"] == found.winner.number
    assert winner.data["change"] == answer.change
    assert winner.data["configuration"] == found.winner.configuration.text


@pytest.mark.parametrize(
    ("why", "budget"),
    [
        ("trial budget (14) used up", "trials"),
        ("time budget (60 s): 3 s left, and a trial takes about 9 s", "time"),
        ("GPU-hour budget (4) used up", "gpu_hours"),
    ],
)
def test_a_used_budget(why: str, budget: str) -> None:
    found = budget_used("s", why)
    assert (found.kind, found.study) == ("study.budget_used", "s")
    assert found.data == {"study": "s", "budget": budget, "why": why}


def test_a_budget_is_the_same_as_long_as_its_limit_is() -> None:
    told = budget_used("s", "time budget (60 s): 3 s left, and a trial takes about 9 s").data
    assert is_about_budget(told, "time budget (60 s) used up")
    assert not is_about_budget(told, "time budget (90 s) used up")
    assert not is_about_budget(told, "trial budget (60) used up")


def test_a_study_that_was_not_run() -> None:
    notice, (message,) = not_run("s", "no such engine", environment_fault=True)
    assert (notice.study, notice.text) == ("s", "not run: no such engine")
    assert (message.kind, message.study, message.at) == ("study.failed", "s", notice.at)
    assert message.data == {"study": "s", "why": "no such engine", "environment_fault": True}
