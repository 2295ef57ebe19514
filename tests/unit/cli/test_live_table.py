"""The live table, which fits the terminal and keeps the important rows, and the plain lines without a terminal."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from autotuner.cli.live_table import best_row, live_table, row_cells
from autotuner.cli.plain_lines import PlainLines
from autotuner.events.types import parse
from autotuner.events.view import StudyView
from autotuner.store.records import EventRecord
from autotuner.testing.samples import LATENCY, sample_spec

SPEC = sample_spec()

NOTE = "the load generator could not keep up: p99 event loop lag 74.4 ms is over 10.0 ms " * 3


class Run:
    """Feeds a view the events of a run, one per second."""

    def __init__(self, trials: int = 8) -> None:
        self.view = StudyView("chat")
        self.seq = 0
        self("study_started", None, left={"search": trials, "repeats": 6})

    def __call__(self, kind: str, trial: int | None, **data: Any) -> None:
        self.seq += 1
        event = EventRecord(seq=self.seq, at=1000.0 + self.seq, study="chat", trial=trial, kind=kind, data=data)
        self.view.apply([parse(event)])

    def propose(self, number: int, repeat_of: int | None = None, left: Any = None, **values: Any) -> None:
        role = "confirm" if repeat_of is not None else "search" if number else "default"
        self("trial_proposed", number, role=role, values=values, repeat_of=repeat_of, left=left)

    def measure(self, number: int, rate: float = 50.0) -> None:
        self("phase", number, phase="measuring", scenario="D(8,8)", level="concurrency=2")
        self("progress", number, elapsed_s=2.0, total_s=7.0, output_throughput=rate)

    def finish(self, number: int, rate: float = 90.0, feasible: bool = True, **more: Any) -> None:
        verdict = {"feasible": feasible, "objectives": [rate], "rankable": True}
        data = {"state": "done", "verdict": verdict, "failure": None, "slos": [0.2 if feasible else 0.7]} | more
        self("trial_finished", number, windows=[{"output_throughput": rate}], **data)

    def fail(self, number: int, cause: str = "out_of_memory", message: str = "no room") -> None:
        failure = {"cause": cause, "message": message}
        self("trial_finished", number, state="failed", verdict=None, failure=failure, windows=[])


def drawn(view: StudyView, *, width: int = 100, height: int = 24) -> list[str]:
    console = Console(width=width, height=height + 1, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(live_table(view, SPEC, now=1100.0, width=width, height=height))
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


def test_before_the_first_event() -> None:
    assert "starting" in drawn(StudyView("chat"))[0]


@pytest.mark.parametrize("phase", ["queued", "launching", "loading", "ready", "warming", "scoring", "releasing"])
def test_phase_is_shown(phase: str) -> None:
    run = Run()
    run.propose(0)
    if phase != "queued":
        run("phase", 0, phase=phase)
    assert row(drawn(run.view), 0).split() == ["0", phase, "(default)"]


def test_measuring_trial_shows_window_progress_and_rate() -> None:
    run = Run()
    run.propose(0, threads=2)
    run.measure(0, rate=1234.0)
    lines = drawn(run.view)
    assert row(lines, 0).split() == ["0", "measuring", "baseline:", "threads=2", "1,234"]
    assert "now: trial 0 measuring D(8,8) concurrency=2, 2 of 7 s" in lines


def test_column_per_objective_and_slo_with_its_level() -> None:
    lines = drawn(Run().view)
    titles = [line.split("  ") for line in lines[2:5]]
    found = [[cell.strip() for cell in line if cell.strip()] for line in titles]
    assert found == [
        ["tokens/s", "p99 TTFT"],
        ["@all", "@all"],
        ["trial", "state", "configuration", "max", "<= 400 ms", "vs default"],
    ]


def test_finished_trial_shows_figures_change_and_verdict() -> None:
    run = Run()
    for number, rate in ((0, 90.0), (1, 99.0)):
        run.propose(number, left={"search": 7 - number, "repeats": 6})
        run.finish(number, rate=rate)
    run.propose(2, left={"search": 5, "repeats": 6})
    run.finish(2, rate=180.0, feasible=False)
    lines = drawn(run.view)
    assert row(lines, 0).split() == ["0", "SLOs", "met", "(default)", "90", "200", "ms"]
    assert row(lines, 1).split() == ["1", "best", "(default)", "99", "200", "ms", "~+10%"]
    assert row(lines, 2).split() == ["2", "SLOs", "missed", "(default)", "180", "700", "ms", "~+100%"]
    assert re.match(r"chat  3 of .*\b14 launches, 2 min .*, .*\b11 s\b", lines[0]), "done, planned, elapsed, left"
    assert re.search(r"\(max output_throughput\): trial 1 \(~\+10% .*\), \(default\)$", lines[1])


def test_repeats_decide_the_change_once_both_sides_have_them() -> None:
    run = Run()
    for number, rate in ((0, 90.0), (1, 180.0)):
        run.propose(number)
        run.finish(number, rate=rate)
    for number, (of, rate) in enumerate(((0, 100.0), (1, 110.0), (1, 120.0), (0, 100.0)), start=2):
        run.propose(number, repeat_of=of)
        run.finish(number, rate=rate)
    assert row(drawn(run.view), 1).endswith("  +15%")


def test_remaining_launches_follow_the_events() -> None:
    run = Run(trials=20)
    assert run.view.planned() == 26
    run.propose(0, left={"search": 6, "repeats": 6})
    run.finish(0)
    assert run.view.planned() == 13
    run.propose(1, left={"search": 5, "repeats": 6})
    run("trial_finished", 1, state="void", windows=[])
    assert run.view.planned() == 12, "a launch that does not count is recreated, and counted then"
    run("study_finished", None, state="done")
    assert run.view.planned() == 1


def test_failed_void_and_unranked_trials() -> None:
    run = Run()
    run.propose(0)
    run.fail(0)
    run.propose(1)
    run("trial_finished", 1, state="void", windows=[])
    run.propose(2)
    limited = {"feasible": True, "objectives": [999.0], "rankable": False}
    run.finish(2, verdict=limited, failure={"cause": "client_limited", "message": NOTE})
    lines = drawn(run.view)
    assert row(lines, 0).split() == ["0", "failed", "(default):", "out", "of", "memory"]
    assert row(lines, 1).split() == ["1", "not", "counted", "(default)"]
    assert "not ranked" in row(lines, 2)
    assert "client limited" in row(lines, 2)
    assert best_row(run.view, SPEC) is None, "what may not be ranked is not called the best"
    assert "trial" not in lines[1]


def test_long_note_leaves_other_columns_whole() -> None:
    run = Run()
    run.propose(0, threads=2, parallel=8)
    run.fail(0, cause="crash_under_load", message=NOTE)
    lines = drawn(run.view, width=80)
    assert "threads=2 parallel=8" in row(lines, 0)
    assert any("configuration" in line for line in lines)


def test_repeat_names_its_trial() -> None:
    run = Run()
    run.propose(0)
    run.finish(0)
    run.propose(1, repeat_of=0)
    assert row(drawn(run.view), 1).split() == ["1", "queued", "repeat", "of", "0"]


def test_best_latency_is_the_lowest() -> None:
    run = Run()
    for number, value in enumerate((3.0, 1.0, 2.0)):
        run.propose(number)
        run.finish(number, rate=value)
    best = best_row(run.view, sample_spec(objectives=(LATENCY,)))
    assert best is not None
    assert best.number == 1


def test_ended_study_shows_why() -> None:
    run = Run()
    run("study_finished", None, state="stopped", why="stopped by request")
    assert drawn(run.view)[0].endswith("stopped: stopped by request")


@pytest.mark.parametrize("height", [12, 14, 23, 60])
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_default_best_and_latest_stay_visible(width: int, height: int) -> None:
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
def test_table_never_exceeds_the_terminal(trials: int, width: int, height: int, value: str, notice: str) -> None:
    run = busy(trials)
    run.propose(trials, note=value)
    run("notice", None, text=notice)
    console = Console(width=width, height=height, color_system=None, legacy_windows=False)
    table = live_table(run.view, SPEC, now=1100.0, width=width, height=height)
    lines = console.render_lines(table, console.options, pad=False)
    assert len(lines) <= height
    text = "".join(segment.text for line in lines for segment in line)
    assert all(c.isprintable() or c == "\n" for c in text)


def test_plain_lines_print_each_change_once() -> None:
    done: list[str] = []
    lines = PlainLines(done.append, SPEC)
    run = Run()
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
    assert done == [
        "trial 0  launching  baseline: threads=2",
        "trial 0  measuring  baseline: threads=2",
        "! trial 0: busy machine",
        "trial 0  done       baseline: threads=2  tokens/s @all 90  p99 TTFT @all 200 ms  SLOs met",
        "trial 1  failed     threads=4: out of memory  no\ufffd room",
    ]


def test_no_change_against_a_default_that_ran_alone() -> None:
    run = Run()
    run.propose(0)
    run.finish(0, rate=90.0)
    run.propose(1, threads=1)
    run.propose(2, threads=2)
    run.finish(1, rate=45.0)
    run.finish(2, rate=45.0)
    assert "%" not in row(drawn(run.view), 1)
    for number, of, rate in ((3, 0, 90.0), (4, 1, 99.0)):
        run.propose(number, repeat_of=of)
        run.finish(number, rate=rate)
    assert row(drawn(run.view), 1).endswith("  +10%"), "the repeats ran one at a time"


def test_refuted_trial_is_not_the_best_so_far() -> None:
    run = Run()
    for number, rate in ((0, 90.0), (1, 200.0)):
        run.propose(number)
        run.finish(number, rate=rate)
    assert best_row(run.view, SPEC) is run.view.rows[1]
    run.propose(2, repeat_of=1)
    run.fail(2)
    assert best_row(run.view, SPEC) is run.view.rows[0]


CUT = "cut after a short window at D(8,8) concurrency=2: with 99% confidence, trials 0, 1 are better"


def short_windows() -> Run:
    """A default, that of another engine, a trial that a short window ended, and one whose short window is running."""
    run = Run()
    run("trial_proposed", 0, role="default", values={"engine": "vllm"}, repeat_of=None, left=None)
    run.finish(0)
    other = {"engine": "sglang", "sglang.chunked-prefill-size": 2048}
    run("trial_proposed", 1, role="search", values=other, repeat_of=None, left=None, engine_default=True)
    run.finish(1)
    for number, feasible in ((2, True), (3, False)):
        run.propose(number, engine="vllm", **{"vllm.max-num-seqs": number})
        run.finish(number, feasible=feasible, cut=CUT, by_short_window=True)
    run.propose(4, engine="sglang", **{"sglang.chunked-prefill-size": 512})
    run("phase", 4, phase="measuring", scenario="D(8,8)", level="concurrency=2", short_window=True)
    run("progress", 4, elapsed_s=2.0, total_s=7.0, output_throughput=50.0)
    return run


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_references_and_short_windows_are_marked_at_any_width(width: int) -> None:
    run = short_windows()
    lines = drawn(run.view, width=width)
    assert max(map(len, lines)) <= width
    assert "default:" in row(lines, 0)
    text = "\n".join(lines)
    assert "baseline:" in row(lines, 1)
    assert "cut early" in row(lines, 2)
    assert "cut early" in row(lines, 3)
    assert "short window" in row(lines, 4)
    assert "trial 4 measuring a short window, D(8,8)" in text
    run("phase", 4, phase="measuring", scenario="D(8,8)", level="concurrency=2")
    lines = drawn(run.view, width=width)
    assert "measuring" in row(lines, 4)
    assert "short" not in row(lines, 4)


def test_trial_that_left_its_slos_open_is_neither_met_nor_missed() -> None:
    """A capacity search without a certified load violates nothing, and has no value; so has a trial cut at a level."""
    run = Run()
    nothing = {"feasible": True, "objectives": [None], "rankable": False}
    for number, more in enumerate(({}, {"cut": "cut after concurrency=1"})):
        run.propose(number, threads=2 + number)
        run.finish(number, verdict=nothing, slos=[None], **more)
    run.propose(2, threads=4)
    run.finish(2, verdict=nothing | {"feasible": False}, slos=[0.7])
    lines = drawn(run.view)
    assert lines[1] == "no configuration is ranked yet"
    assert row(lines, 0).split() == ["0", "not", "ranked", "baseline:", "threads=2", "-"]
    assert row(lines, 1).startswith("    1  cut ")
    assert row(lines, 2).startswith("    2  SLOs missed  threads=4 ")
    done: list[str] = []
    PlainLines(done.append, SPEC).update(run.view)
    assert done == [
        "trial 0  done       baseline: threads=2  p99 TTFT @all -  not ranked",
        "trial 1  done       threads=3: cut after concurrency=1  p99 TTFT @all -  cut",
        "trial 2  done       threads=4  p99 TTFT @all 700 ms  SLOs missed",
    ]


@pytest.mark.parametrize(("feasible", "style"), [(True, ""), (False, "red")])
def test_missing_value_is_red_only_if_the_slo_is_missed(feasible: bool, style: str) -> None:
    run = Run()
    run.propose(0)
    run.finish(0, verdict={"feasible": feasible, "objectives": [None], "rankable": False}, slos=[None])
    *_, slo, _ = row_cells(run.view, run.view.rows[0], SPEC, None)
    assert (slo.plain, slo.style) == ("-", style)


def test_plain_lines_tell_short_windows_from_full_ones() -> None:
    done: list[str] = []
    lines = PlainLines(done.append, SPEC)
    run = short_windows()
    lines.update(run.view)
    run("phase", 4, phase="warming", scenario="D(8,8)", level="concurrency=2")
    lines.update(run.view)
    run("phase", 4, phase="measuring", scenario="D(8,8)", level="concurrency=2")
    lines.update(run.view)
    assert done[0].startswith("trial 0  done       default: engine=vllm  ")
    assert done[1].startswith("trial 1  done       baseline: engine=sglang sglang.chunked-prefill-size=2048  ")
    assert done[2].endswith("  cut early")
    assert f": {CUT}  " in done[2]
    assert done[4:] == [
        "trial 4  measuring a short window  engine=sglang sglang.chunked-prefill-size=512",
        "trial 4  measuring  engine=sglang sglang.chunked-prefill-size=512",
    ]


def test_a_study_without_slos_meets_none() -> None:
    done: list[str] = []
    spec = SPEC.replaced(slos=())
    run = Run()
    run.propose(0, threads=2)
    run.finish(0)
    PlainLines(done.append, spec).update(run.view)
    assert done[-1].endswith("measured")
    (row,) = run.view.rows.values()
    assert row_cells(run.view, row, spec, None)[1].plain == "measured"


def test_a_running_quality_check_is_shown() -> None:
    done: list[str] = []
    lines = PlainLines(done.append, SPEC)
    run = Run()
    run.propose(0, threads=2)
    for phase in ("launching", "measuring", "checking", "scoring"):
        run("phase", 0, phase=phase)
        lines.update(run.view)
        if phase == "checking":
            assert any("now: trial 0 checking quality" in line for line in drawn(run.view))
    assert [line.split("  ")[1] for line in done] == ["launching", "measuring", "checking quality"]
