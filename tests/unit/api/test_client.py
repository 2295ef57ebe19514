"""The client: its store, callbacks of a run, and calls from an event loop."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.store import Store

Study = Mapping[str, object]


def test_a_run_passes_its_plan_and_then_each_event_to_the_callbacks(study: Study) -> None:
    calls = list[tuple[str, Any]]()
    result = autotuner.tune(
        study,
        on_plan=lambda plan: calls.append(("plan", plan)),
        on_start=lambda owner: calls.append(("start", owner)),
        on_event=lambda event: calls.append(("event", event)),
    )
    assert [kind for kind, _ in calls[:2]] == ["plan", "start"] or calls[1][1].kind == "study_started"
    plan = calls[0][1]
    assert (plan.study, plan.standing.state) == ("my-study", "new")
    events = [event for kind, event in calls if kind == "event"]
    assert [e.seq for e in events] == sorted({e.seq for e in events})
    assert isinstance(events[0], autotuner.StudyStarted)
    assert isinstance(events[-1], autotuner.StudyFinished)
    (finished,) = [e for e in events if isinstance(e, autotuner.TrialFinished)]
    assert (finished.trial, finished.state) == (result.trials[0].number, autotuner.TrialState.DONE)
    stored = autotuner.open().events("my-study")
    assert [e.seq for e in stored] == [e.seq for e in events]


def test_a_resumed_run_passes_only_new_events(study: Study) -> None:
    autotuner.tune(study)
    earlier = autotuner.open().events("my-study")[-1].seq
    events = list[autotuner.Event]()
    autotuner.tune(study, on_event=events.append)
    assert isinstance(events[0], autotuner.StudyStarted)
    assert min(e.seq for e in events) > earlier


def test_a_callback_that_fails_ends_the_study_cleanly(study: Study) -> None:
    def fail(event: autotuner.Event) -> None:
        if isinstance(event, autotuner.TrialProposed):
            raise LookupError("the callback's own")

    with pytest.raises(LookupError, match="the callback's own"):
        autotuner.tune(study, on_event=fail)
    record = autotuner.open().study("my-study")
    assert (record.state, record.owner_id) == ("interrupted", None)
    assert autotuner.tune(study).state == "done"


def test_errors_of_a_run_are_not_wrapped_in_a_group(study: Study) -> None:
    wrong = {**study, "deploy": {"kind": "external", "url": "http://127.0.0.1:9"}}
    with pytest.raises(autotuner.EnvironmentFaultError):
        autotuner.tune(wrong, on_event=lambda _: None)


def test_each_client_has_its_own_store(study: Study, tmp_path: Path) -> None:
    tuner = autotuner.open(f"sqlite:///{tmp_path}/other.db")
    tuner.tune(study)
    assert [record.name for record in tuner.studies()] == ["my-study"]
    assert autotuner.list_studies() == []


def test_an_invalid_type_of_study_is_a_usage_error() -> None:
    with pytest.raises(autotuner.UsageError) as wrong:
        autotuner.tune(42)  # type: ignore[arg-type]
    assert [problem.where for problem in wrong.value.problems] == ["study"]


def test_inside_an_event_loop_only_tune_must_be_awaited(study: Study) -> None:
    async def notebook() -> tuple[int, str]:
        with pytest.raises(autotuner.UsageError) as wrong:
            autotuner.tune(study)
        assert "tune_async" in wrong.value.problems[0].remedy
        planned = autotuner.plan_study(study)
        return planned.trials, (await autotuner.tune_async(study)).state

    assert asyncio.run(notebook()) == (1, "done")


def test_watching_ends_with_the_state_of_the_study(stored: str) -> None:
    events = list[autotuner.Event | autotuner.UnknownEvent]()
    assert autotuner.open().watch(stored, events.append) == "done"
    assert isinstance(events[-1], autotuner.StudyFinished)


def test_a_study_of_a_dead_process_is_not_running(stored: str) -> None:
    with Store.open() as store:
        store.owners.register(autotuner.Owner(id="gone", host="elsewhere", pid=1, started=0.0), 0.0)
        store.owners.end("gone", 1.0)
        assert store.studies.take(stored, "gone", 1.0, dead=()) is None
    (found,) = autotuner.open().overviews()
    assert not found.running
    assert not autotuner.stop_study(stored)


def test_one_trial_of_a_result(stored: str) -> None:
    result = autotuner.load_result(stored)
    assert result.trial(1) is result.trials[1]
    with pytest.raises(autotuner.UsageError) as wrong:
        result.trial(1000)
    assert wrong.value.problems[0].value == "1000"


def test_an_unknown_form_of_export_is_a_usage_error(stored: str) -> None:
    with pytest.raises(autotuner.UsageError):
        autotuner.export_result(stored, "xlsx")  # type: ignore[arg-type]


def test_a_study_without_a_strategy_uses_the_calibrated_search(study: Study) -> None:
    autotuner.tune(study)
    record = autotuner.open().study("my-study")
    assert record.spec.search.kind == "calibrated"


def test_a_study_that_began_with_another_strategy_keeps_it(study: Study) -> None:
    autotuner.tune({**study, "search": "bayesian"})
    autotuner.tune(study)
    assert autotuner.open().study("my-study").spec.search.kind == "bayesian"
    autotuner.tune({**study, "search": "random"})
    assert autotuner.open().study("my-study").spec.search.kind == "random"


def test_problems_found_after_reading_name_their_line_too(study: Study, tmp_path: Path) -> None:
    """None of these values satisfies the constraint, which shows once the engine's parameters are known."""
    file = tmp_path / "study.json"
    text = json.dumps({**study, "parameters": {"batch": [1, 2]}, "constraints": ["batch > 5"]}, indent=1)
    file.write_text(text)
    line = 1 + text[: text.index('"parameters"')].count("\n")
    for find in (autotuner.plan_study, autotuner.tune):
        with pytest.raises(autotuner.UsageError) as error:
            find(file)
        (problem,) = error.value.problems
        assert problem.where == f"{file}:{line} parameters"


@pytest.mark.parametrize(
    ("search", "why"),
    [
        ({"warm_start": ["nosuch"]}, "no such study is stored"),
        ({"warm_start": ["nosuch"], "strategy": "random"}, "does not learn from other studies"),
    ],
)
def test_a_plan_without_a_store_refuses_studies_to_learn_from(study: Study, search: Study, why: str) -> None:
    simulated = {"engine": {"kind": "simulated"}, "deploy": "process", "model": "Qwen/Qwen3-8B"}
    tuned = {**study, **simulated, "parameters": {"max-running-requests": [4, 8]}, "search": search}
    assert not Store.exists()
    with pytest.raises(autotuner.UsageError, match=why):
        autotuner.plan_study(tuned)
