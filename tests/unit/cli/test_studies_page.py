"""Output of ``list``: progress, answer and age of each study, sorted and filtered, at any width."""

from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len

from autotuner.cli.studies_page import studies_text
from autotuner.cli.texts import age_text
from autotuner.report.overview import StudyOverview, overview
from autotuner.store import StudyRecord
from autotuner.store.records import EventRecord
from autotuner.testing.samples import SampleKind, sample_study
from autotuner.tuning.ending import Ending, conclude
from autotuner.tuning.stored_summary import answer_of

Call = Callable[..., Any]
KINDS = (SampleKind.WINNER, SampleKind.LATENCY, SampleKind.INFEASIBLE, SampleKind.UNPROVEN, SampleKind.EMPTY)


def made(
    kind: SampleKind, *, at: float = 0.0, running: bool = False, left: int = 0, stored: bool = True
) -> StudyOverview:
    sample = sample_study(kind)
    found = answer_of(sample.spec, conclude(sample.spec, sample.state, sample.trials), sample.trials)
    record = StudyRecord(
        name=sample.spec.name,
        digest="d",
        spec=sample.spec,
        source="/home/me/study.yaml",
        state=sample.state,
        summary={"answer": found.model_dump(mode="json")} if stored else None,
        created_at=0.0,
        updated_at=at,
    )
    proposed = {"role": "search", "values": {}, "left": {"search": left, "repeats": 0}}
    newest = EventRecord(seq=1, at=0.0, study="s", trial=1, kind="trial_proposed", data=proposed)

    def trials() -> list[Any]:
        assert not stored, "the trials are read although the answer was stored"
        return list(sample.trials)

    launches = sum(t.state.finished for t in sample.trials)
    return overview(record, running=running, launches=launches, newest=newest, trials=trials)


def test_stored_answer_matches_the_trials() -> None:
    for kind in KINDS:
        assert made(kind, stored=True).answer == made(kind, stored=False).answer


def test_answer_has_the_trial_and_its_change() -> None:
    found = made(SampleKind.WINNER)
    assert found.answer.ending is Ending.PROVEN_BETTER
    assert found.answer.trial == 12
    assert found.answer.change == pytest.approx(0.21, abs=0.01)
    assert made(SampleKind.LATENCY).answer.change == pytest.approx(-0.17, abs=0.01), "less is better here"
    assert made(SampleKind.INFEASIBLE).answer.trial is None


def test_progress_counts_remaining_launches() -> None:
    assert made(SampleKind.WINNER, left=5).progress == "20", "an ended study has nothing left"
    assert made(SampleKind.UNPROVEN, left=5).progress == "10 of 15"
    assert made(SampleKind.EMPTY, left=5, running=True).progress == "0 of 6", "one launch is running"


def test_killed_run_is_cut_off() -> None:
    assert made(SampleKind.EMPTY, running=True).standing == "running"
    assert made(SampleKind.EMPTY).standing == "cut off"


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_list_fits(width: int) -> None:
    text = studies_text([made(kind, left=9) for kind in KINDS], now=100_000.0, filtered=False, width=width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "parallel=8" in text
    assert ("/home/me/study.yaml" in text) == (width >= 120)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "now"), (59, "now"), (300, "5 min"), (7200, "2 h"), (86_400 * 12, "12 d")]
)
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_list_command(call: Call, store_study: Call) -> None:
    store_study("winner")
    store_study("infeasible")
    data = call("list", "--json", "--sort", "gain").data["studies"]
    assert [(s["name"], s["answer"]["ending"], s["launches"]) for s in data] == [
        ("chat-8b", "proven_better", 20),
        ("chat-strict", "nothing_feasible", 8),
    ]
    assert call("list", "--match", "x*", "--json").data == {"studies": []}
    assert "parallel=8 ubatch-size=128" in call("list", "--state", "done").out
