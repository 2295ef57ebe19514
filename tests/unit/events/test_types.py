"""Typed events: round trips through the store and JSON, and rows of other versions."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from autotuner.events.follow import read
from autotuner.events.journal import append
from autotuner.events.reference import PARTS, attribute_docs, reference
from autotuner.events.types import (
    KINDS,
    BaseEvent,
    Event,
    FailureSummary,
    Notice,
    PhaseEntered,
    Remaining,
    StudyFinished,
    StudyStarted,
    StudyWaiting,
    TrialFinished,
    TrialProposed,
    UnknownEvent,
    WindowProgress,
    WindowSummary,
    WorldLearned,
    parse,
)
from autotuner.events.view import StudyView
from autotuner.store import Store
from autotuner.store.records import EventRecord
from autotuner.study.environment_facts import Fact
from autotuner.study.trial import Phase, TrialRole, TrialState
from autotuner.study.verdict import Verdict, Violation
from autotuner.testing.samples import SampleKind, sample_spec, sample_study

ROOT = Path(__file__).parents[3]

WORLD = {"model": Fact(state="/m.gguf, 5 bytes", touched="1")}
VIOLATION = Violation(slo="p99 ttft <= 1s", where="D(8,8) concurrency=2", value=2.0, threshold=1.0, relative=1.0)
ONE_OF_EACH: list[Any] = [
    StudyStarted(
        study="s", left=Remaining(search=4, repeats=6), parallel=2, trials=4, space=12, parameters=("tp",), world=WORLD
    ),
    WorldLearned(study="s", facts=WORLD),
    TrialProposed(study="s", trial=1, role=TrialRole.CONFIRM, values={"tp": 2, "ids": (1, 2), "x": None}, repeat_of=0),
    PhaseEntered(study="s", trial=1, phase=Phase.MEASURING, scenario="D(8,8)", level="concurrency=2", gpus=2),
    WindowProgress(study="s", trial=1, elapsed_s=1.5, total_s=4.0, completed=9, failed=1, output_throughput=99.5),
    TrialFinished(
        study="s",
        trial=1,
        state=TrialState.FAILED,
        role=TrialRole.SEARCH,
        verdict=Verdict(feasible=False, objectives=(None, 3.5), violations=(VIOLATION,)),
        failure=FailureSummary(cause="client_limited", message="too slow"),
        windows=(WindowSummary(scenario="D(8,8)", level="concurrency=2", output_throughput=90.0),),
        slos=(0.5, None),
    ),
    Notice(study="s", trial=None, text="the machine is busy"),
    StudyWaiting(study="s", why="no running worker has gpu=h100", labels={"gpu": "h100"}),
    StudyFinished(study="s", state="failed", why="no disk", ending="environment_fault", environment_fault=True),
]


def row(kind: str, data: dict[str, Any], trial: int | None = 0) -> EventRecord:
    return EventRecord(seq=7, at=3.0, study="s", trial=trial, kind=kind, data=data)


def test_union_list_and_these_tests_have_the_same_kinds() -> None:
    union, _ = get_args(Event)
    assert get_args(union) == KINDS == tuple(map(type, ONE_OF_EACH))
    kinds = [cls.model_fields["kind"].default for cls in KINDS]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda e: e.kind)
def test_stored_event_round_trip(event: BaseEvent, store: Store) -> None:
    spec = sample_spec("s")
    store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
    append(store, event)  # type: ignore[arg-type]
    [found] = read(store, "s")
    assert found.seq > 0
    assert found == event.model_copy(update={"seq": found.seq})


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda e: e.kind)
def test_json_line_round_trip(event: BaseEvent) -> None:
    line = event.line()
    assert "\n" not in line
    assert list(json.loads(line)) == ["seq", "at", "study", "trial", "kind", "data"]
    assert parse(EventRecord.model_validate_json(line)) == event


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda e: e.kind)
def test_events_are_frozen(event: BaseEvent) -> None:
    with pytest.raises(ValidationError):
        event.study = "t"


def test_event_of_a_finished_trial() -> None:
    sample = sample_study(SampleKind.WINNER)
    trial = next(t for t in sample.trials if t.verdict is not None)
    event = TrialFinished.of(trial, sample.spec.slos)
    assert (event.trial, event.state, event.verdict, event.failure) == (trial.number, trial.state, trial.verdict, None)
    assert [w.level for w in event.windows] == [m.level.text for m in trial.measurements]
    assert len(event.slos) == len(sample.spec.slos)


EARLIER: list[tuple[str, dict[str, Any], BaseEvent]] = [
    (
        "study_started",
        {"trials": 14, "space": None, "parameters": ["a"], "objectives": ["max x"], "proof": 6, "base_version": "r1"},
        StudyStarted(study="s", trials=14, parameters=("a",), objectives=("max x",)),
    ),
    (
        "trial_proposed",
        {"role": "search", "values": {"a": 1}, "repeat_of": None, "left": None},
        TrialProposed(study="s", trial=0, role=TrialRole.SEARCH, values={"a": 1}),
    ),
    ("phase", {"phase": "loading"}, PhaseEntered(study="s", trial=0, phase=Phase.LOADING)),
    (
        "progress",
        {"elapsed_s": 1, "total_s": 4, "output_throughput": 9.0},
        WindowProgress(study="s", trial=0, elapsed_s=1.0, total_s=4.0, output_throughput=9.0),
    ),
    (
        "trial_finished",  # as the store ends the trials of a dead owner
        {"state": "void", "role": "default", "windows": []},
        TrialFinished(study="s", trial=0, state=TrialState.VOID, role=TrialRole.DEFAULT),
    ),
    ("study_finished", {"state": "done", "why": "enough"}, StudyFinished(study="s", state="done", why="enough")),
]


@pytest.mark.parametrize(("kind", "data", "expected"), EARLIER, ids=[kind for kind, _, _ in EARLIER])
def test_rows_of_earlier_versions_are_read(kind: str, data: dict[str, Any], expected: BaseEvent) -> None:
    found = parse(row(kind, data, trial=expected.trial))
    assert found == expected.model_copy(update={"seq": 7, "at": 3.0})


def test_fields_of_a_later_version_are_dropped() -> None:
    data = {"phase": "loading", "color": "red", "seq": 1, "study": "another"}
    found = parse(row("phase", data))
    assert isinstance(found, PhaseEntered)
    assert (found.seq, found.study, found.phase) == (7, "s", Phase.LOADING)


@pytest.mark.parametrize(
    ("kind", "data", "why"),
    [
        ("from_the_future", {"x": 1}, "unknown kind of event: from_the_future"),
        ("phase", {"phase": "dreaming"}, "cannot read phase: phase: "),
        ("trial_proposed", {"values": {}}, "cannot read trial_proposed: role: "),
        (
            "trial_finished",
            {"state": "done", "verdict": {"objectives": []}},
            "cannot read trial_finished: verdict.feasible: ",
        ),
    ],
)
def test_unreadable_rows_are_skipped_with_a_reason(kind: str, data: dict[str, Any], why: str) -> None:
    found = parse(row(kind, data))
    assert isinstance(found, UnknownEvent)
    assert found.why.startswith(why)
    assert "\n" not in found.why
    assert (found.seq, found.kind, found.payload()) == (7, kind, data)
    view = StudyView("s")
    view.apply([found])
    assert (view.seq, view.rows) == (7, {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(sorted({name for cls in KINDS for name in cls.model_fields}))


@given(
    kind=st.sampled_from([cls.model_fields["kind"].default for cls in KINDS]) | st.text(max_size=9),
    data=st.dictionaries(fields, json_values, max_size=8),
    trial=st.none() | st.integers(0, 9),
)
def test_no_row_stops_a_reader(kind: str, data: dict[str, Any], trial: int | None) -> None:
    found = parse(row(kind, data, trial))
    assert found.seq == 7
    StudyView("s").apply([found])


def test_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs/reference/events.md").read_text()
    assert page == reference(), "run: python -m autotuner.events.reference > docs/reference/events.md"


@pytest.mark.parametrize("model", [BaseEvent, *KINDS, *PARTS], ids=lambda m: m.__name__)
def test_every_field_is_documented(model: type[BaseModel]) -> None:
    docs = attribute_docs(model)
    inherited = BaseEvent.model_fields.keys() if issubclass(model, BaseEvent) and model is not BaseEvent else set()
    assert [name for name in model.model_fields if name not in docs and name not in inherited] == []
