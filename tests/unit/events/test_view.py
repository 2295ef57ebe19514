"""State of a study folded from its events."""

from typing import Any

from autotuner.events.types import Event, UnknownEvent, parse
from autotuner.events.view import StudyView
from autotuner.store.records import EventRecord


def events(*lines: tuple[str, int | None, dict[str, Any]]) -> list[Event | UnknownEvent]:
    return [
        parse(EventRecord(seq=i + 1, at=100.0 + i, study="s", trial=trial, kind=kind, data=data))
        for i, (kind, trial, data) in enumerate(lines)
    ]


PROPOSED = {"role": "search", "values": {"threads": 2}, "repeat_of": None}
FINISHED = {
    "state": "done",
    "verdict": {"feasible": True, "objectives": [90.0]},
    "failure": None,
    "windows": [{"output_throughput": 100.0}, {"output_throughput": 81.0}],
    "slos": [0.5, None],
}


def view(*lines: tuple[str, int | None, dict[str, Any]]) -> StudyView:
    made = StudyView("s")
    made.apply(events(*lines))
    return made


def test_trial_from_proposal_to_verdict() -> None:
    seen = view(
        ("study_started", None, {"parallel": 2, "left": {"search": 4, "repeats": 6}}),
        ("trial_proposed", 0, PROPOSED | {"left": {"search": 3, "repeats": 6}}),
        ("phase", 0, {"phase": "measuring", "scenario": "D(8,8)", "level": "concurrency=2"}),
        ("progress", 0, {"elapsed_s": 1.0, "total_s": 4.0, "output_throughput": 99.0}),
        ("trial_finished", 0, FINISHED),
    )
    row = seen.rows[0]
    assert (row.state, row.phase, row.feasible, row.objective) == ("done", "done", True, 90.0)
    assert row.output_throughput is not None
    assert abs(row.output_throughput - 90.0) < 1e-9, "geometric mean over windows"
    assert row.slos == (0.5, None)
    assert seen.planned() == 10
    assert seen.eta_s(now=110.0) == (2 + 6) * 3.0, "two at a time in the search, repeats one by one"


def test_failed_trial_shows_its_cause_and_is_not_feasible() -> None:
    failure = {"cause": "out_of_memory", "message": "no room"}
    row = view(
        ("trial_proposed", 0, PROPOSED),
        ("trial_finished", 0, {"state": "failed", "verdict": None, "failure": failure, "windows": []}),
    ).rows[0]
    assert row.feasible is False
    assert row.note == "out_of_memory: no room"


def test_events_seen_twice_change_nothing() -> None:
    lines = events(("trial_proposed", 0, PROPOSED), ("trial_finished", 0, FINISHED))
    once = StudyView("s")
    twice = StudyView("s")
    once.apply(lines)
    for batch in (lines[:1], lines, lines):
        twice.apply(batch)
    assert once == twice


def test_unknown_kinds_of_events_are_ignored() -> None:
    assert view(("from_the_future", None, {"x": 1})).rows == {}


def test_notices_name_their_trial() -> None:
    assert view(("notice", 3, {"text": "busy"})).notices == ["trial 3: busy"]
