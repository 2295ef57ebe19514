"""The live table: it never outgrows the terminal, the rows that matter stay, and elsewhere there are plain lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autotuner.cli.table import PlainLines, best_row, live_table
from autotuner.study.trial import Event
from autotuner.testing.samples import LATENCY, THROUGHPUT
from autotuner.tuning.view import StudyView

NOTE = "the load generator could not keep up: p99 event loop lag 74.4 ms is over 10.0 ms " * 3


class Run:
    """Feeds a view the events of a run, one a second."""

    def __init__(self, trials: int = 8) -> None:
        self.view = StudyView("chat")
        self.seq = 0
        self("study_started", None, trials=trials, parameters=["threads"], repeats=3)

    def __call__(self, kind: str, trial: int | None, **data: Any) -> None:
        self.seq += 1
        event = Event(seq=self.seq, at=1000.0 + self.seq, study="chat", trial=trial, kind=kind, data=data)
        self.view.apply([event])

    def propose(self, number: int, repeat_of: int | None = None, **values: Any) -> None:
        role = "confirm" if repeat_of is not None else "search" if number else "default"
        self("trial_proposed", number, role=role, values=values, repeat_of=repeat_of)

    def measure(self, number: int, rate: float = 50.0) -> None:
        self("phase", number, phase="measuring", scenario="D(8,8)", level="concurrency=2")
        self("progress", number, elapsed_s=2.0, total_s=7.0, output_throughput=rate)

    def finish(self, number: int, rate: float = 90.0, feasible: bool = True, **more: Any) -> None:
        verdict = {"feasible": feasible, "objectives": [rate], "rankable": True}
        data = {"state": "done", "verdict": verdict, "failure": None} | more
        self("trial_finished", number, windows=[{"output_throughput": rate, "p99_ttft": 0.2}], **data)

    def fail(self, number: int, cause: str = "out_of_memory", message: str = "no room") -> None:
        failure = {"cause": cause, "message": message}
        self("trial_finished", number, state="failed", verdict=None, failure=failure, windows=[])


def drawn(view: StudyView, *, width: int = 100, height: int = 24) -> list[str]:
    console = Console(width=width, height=height + 1, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(live_table(view, THROUGHPUT, now=1100.0, width=width, height=height))
    return [line.rstrip() for line in captured.get().splitlines()]


def row(lines: list[str], number: int) -> str:
    return next(line for line in lines if line.strip().startswith(f"{number} "))


def busy(trials: int = 40) -> Run:
    run = Run(trials)
    run.propose(0)
    run.finish(0)
    for number in range(1, trials):
        run.propose(number, threads=number, **{"a-rather-long-parameter-name": "x" * 30})
        run.measure(number)
        if number == 5:
            run.finish(number, rate=500.0)
        elif number % 7 == 0:
            run.fail(number)
        elif number < trials - 1:
            run.finish(number, rate=80.0, feasible=number % 3 > 0)
    run("notice", 3, text=NOTE)
    return run


def test_before_anything_happened() -> None:
    assert "starting" in drawn(StudyView("chat"))[0]


@pytest.mark.parametrize("phase", ["queued", "launching", "loading", "ready", "warming", "scoring", "releasing"])
def test_each_phase_is_named(phase: str) -> None:
    run = Run()
    run.propose(0)
    if phase != "queued":
        run("phase", 0, phase=phase)
    assert row(drawn(run.view), 0).split() == ["0", phase, "(default)"]


def test_a_measuring_trial_shows_where_how_far_and_how_fast() -> None:
    run = Run()
    run.propose(0, threads=2)
    run.measure(0, rate=1234.0)
    lines = drawn(run.view)
    assert row(lines, 0).split() == ["0", "measuring", "threads=2", "1,234"]
    assert "now: trial 0 measuring D(8,8) concurrency=2, 2 of 7 s" in lines


def test_a_finished_trial_shows_figures_and_verdict() -> None:
    run = Run()
    for number, feasible in ((0, True), (1, False)):
        run.propose(number)
        run.finish(number, rate=90.0 + number, feasible=feasible)
    lines = drawn(run.view)
    assert row(lines, 0).split() == ["0", "done", "(default)", "90", "200", "ms", "met,", "best"]
    assert row(lines, 1).endswith("not met")
    assert lines[0].startswith("chat  2 of at most 14 launches, 2 min so far, about ")
    assert lines[1] == "best so far (max output_throughput): trial 0, (default)"


def test_failures_and_what_does_not_count_say_so() -> None:
    run = Run()
    run.propose(0)
    run.fail(0)
    run.propose(1)
    run("trial_finished", 1, state="void", windows=[])
    run.propose(2)
    limited = {"feasible": True, "objectives": [999.0], "rankable": False}
    run.finish(2, verdict=limited, failure={"cause": "client_limited", "message": NOTE})
    lines = drawn(run.view)
    assert row(lines, 0).endswith("out of memory")
    assert row(lines, 1).endswith("not counted")
    assert row(lines, 2).endswith("client limited")
    assert best_row(run.view, THROUGHPUT) is None, "what may not be ranked is not called the best"
    assert lines[1] == "no configuration meets the SLOs yet"


def test_a_long_note_takes_nothing_from_the_other_columns() -> None:
    run = Run()
    run.propose(0, threads=2, parallel=8)
    run.fail(0, cause="crash_under_load", message=NOTE)
    lines = drawn(run.view, width=80)
    assert "threads=2 parallel=8" in row(lines, 0)
    assert "what is set" in lines[2]


def test_repeats_name_what_they_repeat() -> None:
    run = Run()
    run.propose(0)
    run.finish(0)
    run.propose(1, repeat_of=0)
    assert row(drawn(run.view), 1).split() == ["1", "queued", "repeat", "of", "0"]


def test_the_best_of_a_latency_is_the_smallest() -> None:
    run = Run()
    for number, value in enumerate((3.0, 1.0, 2.0)):
        run.propose(number)
        run.finish(number, rate=value)
    best = best_row(run.view, LATENCY)
    assert best is not None
    assert best.number == 1


def test_an_ended_study_says_why() -> None:
    run = Run()
    run("study_finished", None, state="stopped", why="stopped by request")
    assert drawn(run.view)[0].endswith("stopped: stopped by request")


@pytest.mark.parametrize("height", [10, 14, 23, 60])
@pytest.mark.parametrize("width", [80, 100, 200])
def test_default_best_and_latest_stay(width: int, height: int) -> None:
    lines = drawn(busy().view, width=width, height=height)
    assert len(lines) <= height
    for number in (0, 5, 39):
        assert row(lines, number)
    hidden = [line for line in lines if line.endswith(" more")]
    shown = sum(line[:5].strip().isdigit() for line in lines)
    assert hidden == [] or int(hidden[0].split()[-2]) == 40 - shown
    assert bool(hidden) == (shown < 40)


@given(
    trials=st.integers(1, 60),
    width=st.integers(50, 220),
    height=st.integers(5, 70),
    value=st.text(max_size=300),
    notice=st.text(max_size=300),
)
def test_it_never_outgrows_the_terminal(trials: int, width: int, height: int, value: str, notice: str) -> None:
    run = busy(trials)
    run.propose(trials, note=value)
    run("notice", None, text=notice)
    console = Console(width=width, height=height, color_system=None, legacy_windows=False)
    table = live_table(run.view, THROUGHPUT, now=1100.0, width=width, height=height)
    lines = console.render_lines(table, console.options, pad=False)
    assert len(lines) <= height
    text = "".join(segment.text for line in lines for segment in line)
    assert all(c.isprintable() or c == "\n" for c in text)


def test_plain_lines_say_each_change_once() -> None:
    said: list[str] = []
    lines, run = PlainLines(said.append), Run()
    run.propose(0, threads=2)
    for phase in ("launching", "loading", "measuring"):
        run("phase", 0, phase=phase)
        lines.update(run.view)
    run.measure(0)
    lines.update(run.view)
    run("notice", 0, text="busy\nmachine")
    run.finish(0)
    lines.update(run.view)
    run.propose(1, threads=4)
    run.fail(1, message="no\x1b room")
    lines.update(run.view)
    lines.update(run.view)
    assert said == [
        "trial 0  launching  threads=2",
        "trial 0  measuring  threads=2",
        "! trial 0: busy machine",
        "trial 0  done       threads=2  90 tokens/s  p99 TTFT 200 ms  SLO met",
        "trial 1  failed     threads=4  out of memory  no\ufffd room",
    ]
