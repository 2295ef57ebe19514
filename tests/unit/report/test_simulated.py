"""Simulated numbers are labeled in every output, and studies that mix them with measured ones carry a warning."""

import csv
import io
import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from autotuner.cli.live_table import live_table
from autotuner.cli.main import app
from autotuner.cli.plain_lines import PlainLines
from autotuner.cli.study_page import study_text
from autotuner.events.types import Event, TrialFinished, TrialProposed, parse
from autotuner.events.view import StudyView
from autotuner.report.analysis import caveats
from autotuner.report.exports import best_json, export_text
from autotuner.report.result import StudyResult, study_result
from autotuner.report.terminal import result_text
from autotuner.store import Store
from autotuner.store.records import EventRecord
from autotuner.study.simulated import ALL, MARK, simulated_text
from autotuner.study.trial import Trial, TrialState
from autotuner.testing.samples import Sample, SampleKind, StudyMaker, configuration, sample_spec, sample_study
from support.web.reports import report_text


def mixed() -> Sample:
    """Trials 1 and 2 of four are simulated."""
    maker = StudyMaker(sample_spec("chat-mixed"))
    maker.measured()
    maker.simulated = True
    maker.measured(configuration(parallel=8))
    maker.measured(configuration(parallel=2))
    maker.simulated = False
    maker.measured(configuration(parallel=16))
    return maker.sample(why="4 trials")


def result_of(sample: Sample) -> StudyResult:
    return study_result(sample.spec, sample.state, sample.trials, why=sample.why)


REAL = result_of(sample_study(SampleKind.GPUS))
SIMULATED = result_of(sample_study(SampleKind.SIMULATED))
MIXED = result_of(mixed())
WARNING = "Simulated and measured numbers stand side by side and cannot be compared: trials 1, 2 are simulated"


@pytest.mark.parametrize("state", [TrialState.VOID, TrialState.RUNNING])
def test_a_trial_without_a_result_is_not_taken_for_a_measured_one(state: TrialState) -> None:
    """The numbers of a launch that an interrupted run left behind came from the same simulated server."""
    sample = sample_study(SampleKind.SIMULATED)
    cut_off = sample.trials[-1].replaced(number=99, state=state, verdict=None, resolved={})
    assert cut_off.measurements
    result = study_result(sample.spec, "interrupted", [*sample.trials, cut_off])
    assert result.simulated == ALL


def test_sentence_about_simulated_trials() -> None:
    assert simulated_text({}) == simulated_text({0: False}) == ""
    assert simulated_text({0: True, 1: True}) == ALL == "All numbers are simulated: no real GPU was measured"
    assert simulated_text({2: True, 1: True, 0: False}) == WARNING
    assert simulated_text({7: True, 0: False}).endswith(": trial 7 is simulated")
    many = simulated_text({n: n > 0 for n in range(12)})
    assert many.endswith("trials 1, 2, 3, 4, 5, 6, 7, 8 and 3 more are simulated")
    assert (REAL.simulated, SIMULATED.simulated, MIXED.simulated) == ("", ALL, WARNING)


def test_trial_without_numbers_does_not_count_as_simulated() -> None:
    maker = StudyMaker(sample_spec(), simulated=True)
    maker.measured()
    maker.simulated = False
    maker.running(configuration(parallel=8))
    assert result_of(maker.sample("running")).simulated == ALL


@pytest.mark.parametrize("text", [study_text, result_text])
def test_terminal_warns_once_before_the_answer(text: Callable[[StudyResult], str]) -> None:
    for result, sentence in ((SIMULATED, ALL), (MIXED, WARNING)):
        lines = text(result).splitlines()
        assert lines.count(f"{sentence}.") == 1
        answer = next(i for i, line in enumerate(lines) if line.startswith(("winner:", "best:")))
        assert lines.index(f"{sentence}.") < answer
        command = [i for i, line in enumerate(lines) if "start it with" in line]
        assert all(i > answer for i in command)
    assert MARK not in text(REAL).lower()


def test_show_marks_each_simulated_row() -> None:
    def marked(result: StudyResult) -> list[str]:
        return [line for line in study_text(result).splitlines() if f"({MARK})" in line]

    assert len(marked(SIMULATED)) == len(SIMULATED.trials)
    assert len(marked(MIXED)) == 2
    assert marked(REAL) == []


def test_report_warns_first_and_marks_each_row() -> None:
    page = report_text(SIMULATED)
    assert page.count(f"> **{ALL}.**") == 1
    assert page.index(ALL) < page.index("**Best:") < page.index("```sh")
    rows = re.findall(r"^\| *\d* \| \d+ \|.*|^\| \d+ \|.*", page, re.MULTILINE)
    first = [trial for trial in SIMULATED.trials if trial.repeat_of is None]
    assert len(rows) == len(first) + len(SIMULATED.trials), "the trials, and their GPUs"
    assert all(f"({MARK})" in row for row in rows)
    assert MARK not in report_text(REAL)
    assert f"{WARNING}." in report_text(MIXED)


def test_a_mixed_study_is_the_first_caveat() -> None:
    assert caveats(MIXED)[0] == f"{WARNING}."
    assert not any(MARK in text.lower() for result in (REAL, SIMULATED) for text in caveats(result))


def test_csv_has_a_simulated_column() -> None:
    def column(result: StudyResult) -> list[str]:
        return [row["simulated"] for row in csv.DictReader(io.StringIO(export_text(result, "csv")))]

    assert set(column(SIMULATED)) == {"true"}
    assert set(column(REAL)) == {"false"}
    assert column(MIXED) == ["false"] * 2 + ["true"] * 4 + ["false"] * 2


def test_json_marks_the_study_and_each_trial() -> None:
    data = json.loads(export_text(MIXED, "json"))
    assert data["simulated"] == WARNING
    assert [t["simulated"] for t in data["trials"]] == [False, True, True, False]
    assert data["default"]["simulated"] is False
    assert json.loads(export_text(REAL, "json"))["simulated"] is None
    assert best_json(SIMULATED)["simulated"] == ALL
    assert best_json(REAL)["simulated"] is None


def test_older_results_mark_simulated_trials() -> None:
    data = json.loads(export_text(MIXED, "older"))
    assert data["simulated"] == WARNING
    assert [e["simulated"] for e in data["all_results"]] == [False, True, True, False]
    assert data["best_result"]["simulated"] is MIXED.winner.simulated if MIXED.winner else False
    assert json.loads(export_text(REAL, "older"))["simulated"] is None


# The command line on a real store


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    url = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("AUTOTUNER_STORE", url)
    sample = sample_study(SampleKind.SIMULATED)
    with Store.open(url) as store:
        store.studies.create(sample.spec, source="test", digest="d", now=time.time())
        for trial in sample.trials:
            added = store.trials.add(trial.model_copy(update={"state": TrialState.QUEUED}), owner_id="o")
            finished = trial.model_copy(update={"number": added.number})
            store.trials.finish(finished, TrialFinished.of(finished, sample.spec.slos).payload())
        store.studies.set_state(sample.spec.name, "done", None, time.time())
    return tmp_path


def test_best_warns_before_the_command(stored: Path) -> None:
    done = CliRunner().invoke(app, ["best", "chat-simulated"])
    assert done.exit_code == 0
    assert done.stderr.startswith(f"{ALL}.\n"), "words for people"
    assert done.stdout.startswith("python3 -m sglang.launch_server"), "and nothing but the command for the shell"
    assert json.loads(CliRunner().invoke(app, ["best", "chat-simulated", "--json"]).stdout)["simulated"] == ALL
    shown = json.loads(CliRunner().invoke(app, ["show", "chat-simulated", "--json"]).stdout)
    assert shown["simulated"] == ALL
    assert all(trial["simulated"] for trial in shown["trials"])


# Live views


def view_of(trials: list[Trial]) -> StudyView:
    events: list[Event] = []
    for trial in trials:
        values = trial.configuration.values
        events.append(TrialProposed(study="s", trial=trial.number, role=trial.role, values=values))
        events.append(TrialFinished.of(trial, MIXED.spec.slos))
    view = StudyView("s")
    view.apply([e.model_copy(update={"seq": i + 1, "at": float(i)}) for i, e in enumerate(events)])
    return view


def drawn(view: StudyView) -> list[str]:
    console = Console(width=160, file=io.StringIO())
    with console.capture() as captured:
        console.print(live_table(view, MIXED.spec, now=0.0, width=160, height=40))
    return captured.get().splitlines()


def test_live_table_warns_and_marks_each_row() -> None:
    lines = drawn(view_of(list(SIMULATED.trials[:3])))
    assert lines[1].rstrip() == f"! {ALL}"
    rows = [line for line in lines if line.lstrip()[:1].isdigit()]
    assert [f"({MARK})" in row for row in rows] == [True] * 3
    assert "tp-size=1 mem-fraction-static=0.8, 1 GPU (simulated)" in rows[1]
    assert sum(WARNING in line for line in drawn(view_of(list(MIXED.trials)))) == 1
    assert not any(MARK in line.lower() for line in drawn(view_of(list(REAL.trials))))


def test_running_trial_is_marked_as_soon_as_possible() -> None:
    view = view_of([])
    phase = {"phase": "warming", "simulated": True, "gpus": 2}
    progress = {"elapsed_s": 1, "total_s": 4, "output_throughput": 9.0}
    proposed = {"role": "search", "values": {}, "repeat_of": None}
    lines = (("trial_proposed", proposed), ("phase", phase), ("progress", progress), ("phase", {"phase": "scoring"}))
    rows = [EventRecord(seq=i + 1, at=0.0, study="s", trial=5, kind=k, data=d) for i, (k, d) in enumerate(lines)]
    view.apply([parse(row) for row in rows])
    assert view.simulated() == ALL
    assert (view.rows[5].simulated, view.rows[5].gpus) == (True, 2)


def test_plain_lines_warn_once_and_mark_each_line() -> None:
    printed: list[str] = []
    lines = PlainLines(printed.append, MIXED.spec)
    trials = list(MIXED.trials)
    for count in range(1, len(trials) + 1):
        lines.update(view_of(trials[:count]))
    warnings = [line for line in printed if line.startswith("! ")]
    assert len(warnings) == 1
    assert warnings[0].startswith("! Simulated and measured numbers stand side by side")
    assert [f"({MARK})" in line for line in printed if line.startswith("trial")] == [False, True, True, False]
