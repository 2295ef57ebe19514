"""Resuming a stored study after a change of its file: what is kept, scored again, set aside or refused."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.report.exports import best_json, export_text
from autotuner.report.result import study_result
from autotuner.store import Store, StoreError
from autotuner.study.environment_facts import Fact, differences
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.spec import AUTO
from autotuner.study.text.forms import parse_objective, parse_slo
from autotuner.study.trial import Trial, TrialState
from autotuner.tuning.planning.resume_decision import (
    OUTSIDE,
    Standing,
    other_environment_problem,
    other_file_note,
    other_file_problem,
    other_measurement_problem,
    rewritten_note,
    standing,
    with_strategy,
)
from autotuner.tuning.planning.resuming.changed_settings import change_text
from autotuner.tuning.study_session import run_session
from support.studies.changed import by_slots, run, slots

pytestmark = pytest.mark.anyio


def counted(trials: list[Trial]) -> list[Any]:
    return [t.configuration.values.get("parallel") for t in trials if t.state.finished]


async def test_added_values_are_measured_and_results_kept(loop: Any, store: Store) -> None:
    first, _ = await run(loop, store, parameters=slots(1, 2))
    assert len(first) == 3
    launched, trials = await run(loop, store, parameters=slots(1, 2, 16))
    assert launched == ["--parallel=16"]
    assert counted(trials) == [None, 1, 2, 16]


async def test_removed_values_are_set_aside_until_they_return(loop: Any, store: Store) -> None:
    await run(loop, store, parameters=slots(1, 2, 8))
    launched, trials = await run(loop, store, parameters=slots(1, 2, 16))
    assert launched == ["--parallel=16"]
    assert counted(trials) == [None, 1, 2, 16]
    aside = next(t for t in trials if t.set_aside)
    assert (aside.configuration.values, aside.state, aside.set_aside) == ({"parallel": 8}, TrialState.VOID, OUTSIDE)
    assert aside.measurements, "nothing is lost"
    launched, trials = await run(loop, store, parameters=slots(1, 2, 8, 16))
    assert launched == []
    assert counted(trials) == [None, 1, 2, 8, 16]


async def test_constraint_sets_results_aside(loop: Any, store: Store) -> None:
    await run(loop, store, parameters=slots(1, 2, 8))
    _, trials = await run(loop, store, parameters=slots(1, 2, 8), constraints=("parallel < 8",))
    assert counted(trials) == [None, 1, 2]


def profiles(**parallel: int) -> tuple[Parameter, ...]:
    combinations = {name: {"parallel": value} for name, value in parallel.items()}
    return (Parameter(name="profile", domain=Choices(values=tuple(combinations)), combinations=combinations),)


async def test_results_of_a_combination_whose_flags_were_edited_are_set_aside(loop: Any, store: Store) -> None:
    await run(loop, store, parameters=profiles(small=1, large=8))
    edited = profiles(small=1, large=2)
    spec = loop.spec(trials=20).model_copy(update={"parameters": edited})
    found = standing(loop.prepared(spec, script=by_slots), store, {})
    assert (found.stored, found.set_aside) == (2, 1)
    launched, trials = await run(loop, store, parameters=edited)
    assert launched == ["--parallel=2"]
    assert [t.number for t in trials if t.set_aside] == [2]
    for _ in range(2):  # the stored study has the new flags by now
        launched, trials = await run(loop, store, parameters=edited)
        assert launched == []
        assert [t.number for t in trials if t.set_aside] == [2]
    result = study_result(spec, "done", trials)
    rows = {row["trial"]: row for row in csv.DictReader(io.StringIO(export_text(result, "csv")))}
    assert [rows[n]["parameter:parallel"] for n in "0123"] == ["", "1", "8", "2"]
    launched, trials = await run(loop, store, parameters=profiles(small=1, large=8))
    assert launched == []
    assert [t.number for t in trials if t.set_aside] == [3]
    assert [t.number for t in trials if t.state.finished] == [0, 1, 2]


async def test_exports_have_the_flags_that_were_launched(loop: Any, store: Store) -> None:
    before = profiles(small=1, large=8)
    _, trials = await run(loop, store, parameters=before)
    after = profiles(small=1, large=2)
    result = study_result(loop.spec().model_copy(update={"parameters": after}), "done", trials)
    best = best_json(result)
    assert (best["winner"], best["parameters"], best["flags"]) == (2, {"profile": "large"}, {"parallel": 8})
    older = json.loads(export_text(result, "older"))["all_results"]
    assert older[2]["parameters"] == {"parallel": 8}


async def test_a_flag_that_a_combination_gains_or_loses_sets_its_results_aside(loop: Any, store: Store) -> None:
    def note(**extra: Any) -> tuple[Parameter, ...]:
        combinations = {"small": {"parallel": 1}, "large": {"parallel": 8, **extra}}
        return (Parameter(name="profile", domain=Choices(values=("small", "large")), combinations=combinations),)

    async def launches(**extra: Any) -> int:
        return len((await run(loop, store, parameters=note(**extra)))[0])

    assert await launches() == 3
    assert await launches(note=None) == 0, "left to the engine, as before"
    assert await launches(note="x") == 1
    assert await launches() == 0
    assert await launches(note="x") == 0


async def test_added_and_removed_parameters(loop: Any, store: Store) -> None:
    await run(loop, store, parameters=slots(1, 2))
    notes = Parameter(name="note", domain=Choices(values=(None, "x")))
    launched, trials = await run(loop, store, parameters=(*slots(1, 2), notes))
    assert len(launched) == 2, "note is left out of what is stored; x with both numbers of slots"
    assert trials[1].configuration.values == {"parallel": 1, "note": None}
    launched, trials = await run(loop, store, parameters=slots(1, 2))
    assert launched == []
    assert counted(trials) == [None, 1, 2]


async def test_changed_slos_and_objectives_score_stored_results_again(loop: Any, store: Store) -> None:
    await run(loop, store)
    slos = (parse_slo("output_throughput >= 120"),)
    launched, trials = await run(loop, store, slos=slos)
    assert launched == []
    assert [t.verdict.feasible for t in trials if t.verdict] == [False, False, True, True]
    launched, trials = await run(loop, store, slos=slos, objectives=(parse_objective("min p50 ttft"),))
    assert launched == []
    ttft = trials[2].measurements[0].value("ttft", "p50")
    assert trials[2].verdict is not None
    assert trials[2].verdict.objectives == (ttft,)
    events = [e for e in store.events.read("s") if e.kind == "trial_finished"]
    assert len(events) == 4 + 2 + 4, "one event for each changed verdict"


async def test_unmeasured_objective_is_refused(loop: Any, store: Store) -> None:
    await run(loop, store)
    unmeasured = (parse_objective("max output_throughput_per_gpu"),)
    with pytest.raises(UsageError) as caught:
        await run(loop, store, objectives=unmeasured)
    assert [(p.where, p.value) for p in caught.value.problems] == [("objective", unmeasured[0].text)]
    record = store.studies.get("s")
    assert record is not None
    assert record.spec.objectives != unmeasured


async def test_changed_bounds_on_each_request_are_refused(loop: Any, store: Store) -> None:
    await run(loop, store)
    with pytest.raises(UsageError) as caught:
        await run(loop, store, slos=(parse_slo("ttft <= 1s"),))
    changed = [change_text("slos on each request", [], ["ttft <= 1000ms"])]
    assert caught.value.problems == (other_measurement_problem("s", changed),)


@pytest.mark.parametrize(("before", "after"), [(None, "v2"), ("v1", "v2"), ("v1", None)])
async def test_changed_revision_of_the_model_is_refused(
    loop: Any, store: Store, before: str | None, after: str | None
) -> None:
    def engine(revision: str | None) -> Any:
        return loop.spec().engine.model_copy(update={"args": {"revision": revision} if revision else {}})

    await run(loop, store, engine=engine(before))
    with pytest.raises(UsageError) as caught:
        await run(loop, store, engine=engine(after))
    changed = [change_text("engine.args.revision", before, after)]
    assert caught.value.problems == (other_measurement_problem("s", changed),)
    launched, _ = await run(loop, store, engine=engine(before))
    assert launched == []


async def test_tuned_revisions_of_the_model_share_no_result(loop: Any, store: Store) -> None:
    def revisions(*values: str) -> tuple[Parameter, ...]:
        return (Parameter(name="revision", domain=Choices(values=values)),)

    async def configurations(*values: str) -> list[Any]:
        _, trials = await run(loop, store, parameters=revisions(*values))
        return [t.configuration.values.get("revision") for t in trials if t.state.finished]

    assert await configurations("v1") == [None, "v1"]
    assert await configurations("v2") == [None, "v2"]
    assert await configurations("v1", "v2") == [None, "v1", "v2"]


async def test_settings_without_influence_on_results_may_change(loop: Any, store: Store) -> None:
    spec = loop.spec()
    await run(loop, store)
    deploy = spec.deploy.model_validate({"kind": "fake", "ports": [1, 2], "start_timeout": 5})
    launched, _ = await run(loop, store, deploy=deploy)
    assert launched == []


async def test_void_trials_do_not_pin_the_workload(loop: Any, store: Store) -> None:
    spec = loop.spec()
    store.studies.create(spec, source="t", digest=spec.digest, now=1.0)
    void = Trial(study="s", number=-1, role="default", configuration={}, state=TrialState.RUNNING)  # type: ignore[arg-type]
    made = store.trials.add(void, owner_id="x")
    store.trials.finish(made.model_copy(update={"state": TrialState.VOID}), {})
    other = spec.workload.model_copy(update={"duration_s": 9.0})
    _, trials = await run(loop, store, workload=other)
    assert counted(trials) == [None, 1, 2, 8]
    with pytest.raises(UsageError) as caught:
        await run(loop, store)
    changed = [change_text("workload.duration", "9s", f"{spec.workload.duration_s:g}s")]
    assert caught.value.problems == (other_measurement_problem("s", changed),)


async def test_study_of_an_earlier_version_resumes(loop: Any, store: Store) -> None:
    spec = loop.spec(trials=2)
    await run(loop, store, search=spec.search)
    store.studies.update_spec("s", spec, digest=spec.first_digest, source="t")
    launched, _ = await run(loop, store, parameters=slots(1, 2, 8, 16))
    assert launched == ["--parallel=2", "--parallel=8", "--parallel=16"]
    record = store.studies.get("s")
    assert record is not None
    assert record.digest == spec.digest


async def test_changed_world_is_refused_and_rewritten_files_are_noted(loop: Any, store: Store) -> None:
    await run(loop, store)
    prepared = loop.prepared(loop.spec(trials=20))
    store.studies.set_world("s", {"model": Fact(state="10 bytes", touched="a")})
    same = standing(prepared, store, {"model": Fact(state="10 bytes", touched="a"), "image": Fact(state="new")})
    assert same == Standing(state="resumes", stored=4), "a fact that was unknown before is not a difference"
    again = standing(prepared, store, {"model": Fact(state="10 bytes", touched="b")})
    assert again == Standing(state="resumes", stored=4, notes=(rewritten_note("model"),))
    now = {"model": Fact(state="5 MB")}
    with pytest.raises(UsageError) as caught:
        standing(prepared, store, now)
    assert caught.value.problems == (
        other_environment_problem("s", differences({"model": Fact(state="10 bytes")}, now)),
    )


async def test_world_is_stored_with_the_study(loop: Any, store: Store) -> None:
    await run(loop, store)
    record = store.studies.get("s")
    assert record is not None
    before = {"model": Fact(state="10 bytes", touched="a")}
    store.studies.set_world("s", before)
    await run(loop, store, parameters=slots(1, 2, 8, 16))
    found = store.studies.get("s")
    assert found is not None
    assert found.world == {**before, **record.world}, "facts that are unknown now are kept"
    store.studies.rename("s", "t")
    renamed = store.studies.get("t")
    assert renamed is not None
    assert renamed.world == found.world


async def test_study_of_another_file_with_the_same_name(loop: Any, store: Store, tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    other = tmp_path / "other.yaml"
    one.touch()
    prepared = loop.prepared()
    await run_session(prepared, store, source=str(one))
    with pytest.raises(UsageError) as caught:
        standing(prepared, store, {}, source=str(other), named=False)
    assert caught.value.problems == (other_file_problem("s", str(one)),)
    assert standing(prepared, store, {}, source=str(other)).notes == (other_file_note("s", str(one)),)
    one.rename(other)
    assert standing(prepared, store, {}, source=str(other), named=False).notes == (), "it was moved"


async def test_renamed_study(loop: Any, store: Store) -> None:
    _, before = await run(loop, store)
    seqs = [e.seq for e in store.events.read("s")]
    store.studies.rename("s", "s-old")
    assert store.studies.get("s") is None
    record = store.studies.get("s-old")
    assert record is not None
    assert (record.spec.name, record.state) == ("s-old", "done")
    assert store.trials.all("s-old") == [t.model_copy(update={"study": "s-old"}) for t in before]
    assert [e.seq for e in store.events.read("s-old")] == seqs
    launched, _ = await run(loop, store)
    assert len(launched) == 4, "the study starts anew"
    with pytest.raises(StoreError, match=r"\bs-old\b"):
        store.studies.rename("s", "s-old")


@pytest.mark.parametrize("kind", ["grid", "random", "bayesian", "calibrated"])
async def test_no_edit_repeats_a_launch(loop: Any, store: Store, kind: str) -> None:
    """Budget, values, goals and strategy change one after the other."""

    async def edited(trials: int, *values: Any, **changes: Any) -> list[str]:
        search = loop.spec(kind=kind).search.replaced(trials=trials)
        return (await run(loop, store, **{"search": search, "parameters": slots(*values), **changes}))[0]

    every = await edited(2, 1, 2, 8)
    every += await edited(3, 1, 2, 8)
    every += await edited(20, 1, 2, 8, 16)
    every += await edited(20, 1, 2, 8, 16, slos=(parse_slo("output_throughput >= 120"),))
    every += await edited(20, 1, 2, 8, 16, objectives=(parse_objective("min p50 ttft"),))
    every += await edited(20, 1, 2, 8, 16, search=loop.spec(kind="grid", seed=5).search.replaced(trials=30))
    assert sorted(every) == sorted(["", *(f"--parallel={n}" for n in (1, 2, 8, 16))])


async def test_a_value_that_is_written_differently_is_not_measured_again(loop: Any, store: Store) -> None:
    def notes(*values: Any) -> tuple[Parameter, ...]:
        return (Parameter(name="note", domain=Choices(values=values)),)  # a flag that takes any text

    async def noted(*values: Any) -> tuple[int, list[Any]]:
        _, trials = await run(loop, store, parameters=notes(*values))
        return len(trials), [t.configuration.values.get("note") for t in trials if t.state.finished]

    assert await noted("1", "2") == (3, [None, "1", "2"])
    assert await noted(1, 2, 16) == (4, [None, 1, 2, 16])
    assert await noted("1", 2) == (4, [None, "1", 2])


async def test_a_combination_under_another_name_is_not_measured_again(loop: Any, store: Store) -> None:
    await run(loop, store, parameters=profiles(small=1, large=8))
    launched, trials = await run(loop, store, parameters=profiles(small=1, huge=8, other=2))
    assert launched == ["--parallel=2"]
    assert [t.configuration.values.get("profile") for t in trials] == [None, "small", "huge", "other"]
    assert [t.launched.values.get("parallel") for t in trials] == [None, 1, 8, 2]
    launched, trials = await run(loop, store, parameters=slots(1, 8))
    assert launched == []
    assert counted(trials) == [None, 1, 8]
    launched, _ = await run(loop, store, parameters=profiles(small=1, large=8))
    assert launched == []


async def test_two_trials_of_one_server_do_not_both_count(loop: Any, store: Store) -> None:
    await run(loop, store, parameters=slots(1, 2))
    first = store.trials.all("s")[1]
    again = first.replaced(configuration={"values": {"parallel": "1"}}, state=TrialState.QUEUED)
    added = store.trials.add(again, owner_id="o")
    store.trials.finish(again.replaced(number=added.number, state=TrialState.DONE, finished_at=2.0), {})
    _, trials = await run(loop, store, parameters=slots(1, 2))
    assert counted(trials) == [None, 1, 2]
    assert [t.number for t in trials if t.set_aside] == [3]


async def test_auto_keeps_the_strategy_of_a_stored_study(loop: Any, store: Store) -> None:
    """Studies of earlier versions began with ``bayesian`` unless their files named another one."""
    spec = loop.spec(kind=AUTO)
    assert with_strategy(spec, None).search.kind == "calibrated"
    for began, kept in {"bayesian": "bayesian", "grid": "grid", AUTO: "calibrated"}.items():
        name = f"began-{began}"
        store.studies.create(loop.spec(name, kind=began), source="t", digest="d", now=1.0)
        record = store.studies.get(name)
        assert with_strategy(spec, record).search == spec.search.replaced(kind=kept)
        assert with_strategy(loop.spec(kind="random"), record).search.kind == "random"
