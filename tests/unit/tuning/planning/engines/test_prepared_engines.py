"""Studies with several engines: one search, every engine's default in the proof, and resuming after edits."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.report.engine_defaults import engine_defaults, engine_lines
from autotuner.report.exports import best_json, csv_text
from autotuner.report.result import StudyResult, study_result
from autotuner.store import Store
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.quality.spec import QualitySpec
from autotuner.study.search.release import Release
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.tuning.ending import Ending
from autotuner.tuning.planning.engines.prepared_engines import prepare
from autotuner.tuning.planning.plan import make_plan
from autotuner.tuning.planning.resume_decision import OUTSIDE
from autotuner.tuning.planning.search_context import search_context
from autotuner.tuning.proof.records import default_of_engine
from autotuner.tuning.quality.gate import QualityGate, References
from autotuner.tuning.study_session import run_session
from support.studies.engines import entry, prepared, study

pytestmark = pytest.mark.anyio


async def run(loop: Any, store: Store, spec: StudySpec, **deployers: FakeDeployer) -> tuple[StudyResult, list[str]]:
    """The result of a run, and what it launched: engine and ``parallel``."""
    used = dict(deployers)
    outcome = await run_session(prepared(loop, spec, used), store, source="t")
    launched = [
        f"{name} {next((a.partition('=')[2] for a in plan.argv(host='', port=1) if 'parallel' in a), 'default')}"
        for name, deployer in used.items()
        for _, plan in deployer.deployed
    ]
    return study_result(spec, outcome.state, outcome.trials), launched


def points(trials: tuple[Trial, ...]) -> list[dict[str, Any]]:
    return [dict(t.configuration.values) for t in trials if t.role is not TrialRole.CONFIRM and t.state.finished]


async def test_one_search_finds_the_best_of_all_engines(loop: Any, store: Store) -> None:
    result, launched = await run(loop, store, study())
    first = [t.configuration.values for t in result.trials[:2]]
    assert first == [{"engine": "a"}, {"engine": "b"}], "the defaults come first"
    assert points(result.trials)[2:] == [
        {"engine": "a", "a.parallel": 2},
        {"engine": "a", "a.parallel": 8},
        {"engine": "b", "b.parallel": 2},
        {"engine": "b", "b.parallel": 16},
    ]
    assert {"a default", "a 2", "a 8", "b default", "b 2", "b 16"} == set(launched)
    assert result.winner is not None
    assert result.winner.configuration.values == {"engine": "b", "b.parallel": 16}
    assert result.winner.launched.values == {"parallel": 16}
    assert {"--note=b", "--parallel=16"} <= set(result.command)
    assert result.ending is Ending.PROVEN_BETTER
    assert best_json(result)["engine"] == "b"
    assert best_json(result)["flags"] == {"parallel": 16}


async def test_the_proof_includes_every_default(loop: Any, store: Store) -> None:
    """Also that of an engine that would not be among the challengers."""
    spec = study(entry("a", 2, 8), entry("b", 2, 16), entry("c", 2), confirm={"repeats": 2, "challengers": 1})
    result, _ = await run(loop, store, spec.replaced(search=spec.search.replaced(trials=8)))
    repeated = [t.repeat_of for t in result.trials if t.role is TrialRole.CONFIRM]
    assert {n: repeated.count(n) for n in repeated} == {0: 2, 1: 2, 2: 2, result.winner and result.winner.number: 2}
    found = {d.engine: d for d in engine_defaults(result)}
    assert [found[name].trial for name in "abc"] == [0, 1, 2]
    assert found["a"].gains == ()
    assert [round(found[n].gains[0].relative, 2) for n in "bc" if found[n].gains[0]] == [0.2, -0.2]  # type: ignore[union-attr]
    assert [line.split(":")[0] for line in engine_lines(result)] == [
        "The default of b (trial 1)",
        "The default of c (trial 2)",
    ]


async def test_defaults_are_measured_at_every_level(loop: Any, store: Store) -> None:
    """No race ends them; a configuration that misses an SLO at the first level is cut."""
    changes = {"workload": {"scenarios": "D(8,8)", "concurrency": [1, 2]}, "slo": "output_throughput >= 100"}
    result, _ = await run(loop, store, study(entry("a"), entry("c", 2), confirm={"repeats": 0}, **changes))
    assert [len(t.measurements) for t in result.trials] == [2, 2, 1]


async def test_tables_have_empty_cells_for_parameters_of_other_engines(loop: Any, store: Store) -> None:
    result, _ = await run(loop, store, study(confirm={"repeats": 0}))
    rows = list(csv.DictReader(io.StringIO(csv_text(result))))
    columns = [c for c in rows[0] if c.startswith("parameter:")]
    assert columns == ["parameter:engine", "parameter:a.parallel", "parameter:b.parallel"]
    assert [tuple(row[c] for c in columns) for row in rows] == [
        ("a", "", ""),
        ("b", "", ""),
        ("a", "2", ""),
        ("a", "8", ""),
        ("b", "", "2"),
        ("b", "", "16"),
    ]


async def test_an_added_engine_is_measured_and_results_kept(loop: Any, store: Store) -> None:
    few = {"trials": 20, "strategy": "grid"}
    await run(loop, store, study(entry("a", 2), entry("b", 2), search=few, confirm={"repeats": 0}))
    spec = study(entry("a", 2), entry("b", 2), entry("c", 4), search=few, confirm={"repeats": 0})
    result, launched = await run(loop, store, spec)
    assert launched == ["c default", "c 4"]
    assert len(points(result.trials)) == 6


async def test_an_added_default_is_measured_beyond_the_budget(loop: Any, store: Store) -> None:
    tight = {"trials": 2, "strategy": "grid"}
    await run(loop, store, study(entry("a", 2), entry("b", 2), search=tight, confirm={"repeats": 0}))
    three = study(entry("a", 2), entry("b", 2), entry("c", 4), search={**tight, "trials": 3}, confirm={"repeats": 0})
    _, launched = await run(loop, store, three)
    assert launched == ["c default"]


async def test_a_removed_engine_is_set_aside_until_it_returns(loop: Any, store: Store) -> None:
    settings = {"search": {"trials": 20, "strategy": "grid"}, "confirm": {"repeats": 0}}
    both = study(entry("a", 2), entry("b", 2), **settings)
    await run(loop, store, both)
    alone, launched = await run(loop, store, study(entry("a", 2), **settings))
    assert launched == []
    assert [t.set_aside for t in alone.trials] == ["", OUTSIDE, "", OUTSIDE]
    again, launched = await run(loop, store, both)
    assert launched == []
    assert [t.state for t in again.trials] == [TrialState.DONE] * 4


async def test_what_starts_the_same_server_of_an_engine_counts(loop: Any, store: Store) -> None:
    settings = {"search": {"trials": 20, "strategy": "grid"}, "confirm": {"repeats": 0}}
    await run(loop, store, study(entry("a", 2), entry("b", 2), **settings))
    profile = {"profile": {"combinations": {"few": {"parallel": 2}, "many": {"parallel": 32}}}}
    result, launched = await run(loop, store, study(entry("a", 2), entry("b", parameters=profile), **settings))
    assert launched == ["b 32"]
    assert points(result.trials)[3:] == [{"engine": "b", "b.profile": "few"}, {"engine": "b", "b.profile": "many"}]


async def test_other_settings_need_another_name(loop: Any, store: Store) -> None:
    settings = {"search": {"trials": 20, "strategy": "grid"}, "confirm": {"repeats": 0}}
    await run(loop, store, study(entry("a", 2), entry("b", 2), **settings))
    changed = entry("b", 2, args={"note": "c"})
    with pytest.raises(UsageError) as refused:
        await run(loop, store, study(entry("a", 2), changed, **settings))
    assert [p.where for p in refused.value.problems] == ["engines.b"]
    await run(loop, store, study(entry("a", 2), **settings))
    with pytest.raises(UsageError) as returned:  # nor may it return with other settings
        await run(loop, store, study(entry("a", 2), changed, **settings))
    assert "b: settings differ" in returned.value.problems[0].why
    renamed = {**changed, "name": "c"}
    _, launched = await run(loop, store, study(entry("a", 2), renamed, **settings))
    assert launched == ["c default", "c 2"]


async def test_a_rotated_secret_is_no_other_setting(loop: Any, store: Store) -> None:
    settings = {"search": {"trials": 20, "strategy": "grid"}, "confirm": {"repeats": 0}}
    before, after = (entry("b", 2, env={"API_TOKEN": token}) for token in ("s3cret-old-value", "s3cret-new-value"))
    await run(loop, store, study(entry("a", 2), before, **settings))
    _, launched = await run(loop, store, study(entry("a", 2), after, **settings))
    assert launched == []


@pytest.mark.parametrize("left", [[entry("b", 2, 16), entry("a", 2, 8)], [entry("b", 2, 16)]])
async def test_the_first_engine_cannot_change(loop: Any, store: Store, left: list[dict[str, Any]]) -> None:
    """The others are compared with its default. The file states no baseline, so no message speaks of one."""
    await run(loop, store, study(confirm={"repeats": 0}))
    with pytest.raises(UsageError) as refused:
        await run(loop, store, study(*left, confirm={"repeats": 0}))
    assert refused.value.problems[0].why.endswith("measured differently: engines[0] was a, is now b")


class Rebuilt(FakeDeployer):
    """A deployer whose image changes after some launches."""

    after = 1

    async def facts(self, plan: LaunchPlan) -> dict[str, str]:
        """The image."""
        return {"image": "old" if len(self.deployed) < self.after else "new"}


async def test_another_build_of_one_engine_does_not_concern_the_others(loop: Any, store: Store) -> None:
    spec = study(entry("a", 2, 4, 8), entry("b", 2), confirm={"repeats": 0})
    once = spec.replaced(search=spec.search.replaced(max_environment_faults=1, trials=20))
    with pytest.raises(Exception, match="b: image has changed"):
        await run(loop, store, once, b=Rebuilt())
    trials = store.trials.all("s")
    assert [(t.configuration.values["engine"], t.state) for t in trials] == [
        ("a", TrialState.DONE),
        ("b", TrialState.VOID),
    ]
    assert trials[1].failure is not None
    assert trials[1].failure.cause is FailureCause.WORLD_CHANGED
    result, launched = await run(loop, store, once)
    assert launched == ["a 2", "a 4", "a 8", "b default", "b 2"]
    assert len(points(result.trials)) == 6


async def test_a_failing_engine_leaves_the_others(loop: Any, store: Store) -> None:
    from autotuner.study.failure import Failure
    from autotuner.testing.fake_deployer import Behavior

    broken = Failure(cause=FailureCause.CRASH_LOADING, message="no kernel image")
    result, _ = await run(loop, store, study(), b=FakeDeployer(behavior=lambda _: Behavior(fails=broken)))
    assert result.winner is not None
    assert result.winner.configuration.values == {"engine": "a", "a.parallel": 8}
    assert engine_lines(result) == ["The default of b (trial 2) failed: no kernel image."], result.trials


async def test_the_plan_counts_the_engines(loop: Any) -> None:
    plan = await make_plan(prepared(loop, study(), {}), preflight=False)
    assert [(e.name, e.engine, e.deploy, e.space_size) for e in plan.engines] == [
        ("a", "fake", "fake", 2),
        ("b", "fake", "fake", 2),
    ]
    assert (plan.space_size, plan.launchable, plan.others, plan.trials) == (4, 4, 5, 6)
    assert [dict(launch.configuration.values) for launch in plan.launches[:2]] == [{"engine": "a"}, {"engine": "b"}]
    assert {launch.configuration.values["engine"] for launch in plan.launches[2:]} == {"a", "b"}


async def test_problems_name_the_entry() -> None:
    simulated = {"kind": "simulated", "gpu": "H100", "model": "Llama-3.1-8B"}
    good = {**simulated, "name": "a", "flavor": "vllm", "parameters": {"max-num-seqs": [8, 16]}}
    flag = {**simulated, "name": "b", "flavor": "sglang", "parameters": {"schedule-policy": ["lpm", "none"]}}
    kind = {"name": "c", "kind": "nothing"}
    image = {**good, "name": "d", "args": {"seed": 1}, "deploy": {"kind": "docker", "imag": "x"}}
    with pytest.raises(UsageError) as refused:
        await prepare(study(good, flag, kind, image), planning=True)
    assert [p.where for p in refused.value.problems] == [
        "engines.b.parameters.schedule-policy[1]",
        "engines.c.kind",
        "engines.d.deploy.imag",
    ]


async def test_a_problem_of_all_entries_is_reported_once() -> None:
    simulated = {"kind": "simulated", "gpu": "H100", "model": "Llama-3.1-8B"}
    two = [{**simulated, "name": flavor, "flavor": flavor} for flavor in ("vllm", "sglang")]
    with pytest.raises(UsageError) as refused:
        await prepare(study(*two, objective="max energy_per_token"), planning=True)
    assert len(refused.value.problems) == 1


async def test_a_budget_below_the_defaults_is_refused() -> None:
    with pytest.raises(UsageError) as refused:
        await prepare(study(search={"trials": 1}))
    assert [p.where for p in refused.value.problems] == ["search.trials"]


@pytest.mark.parametrize("text", ["parallel <= 8", "c.parallel <= 8", "engine == c"])
async def test_constraints_of_the_study_name_an_engine_with_its_parameters(loop: Any, text: str) -> None:
    with pytest.raises(UsageError) as refused:
        prepared(loop, study(constraints=[text]), {})
    assert [p.where for p in refused.value.problems] == ["constraints[0]"]


async def test_answers_are_compared_with_the_default_of_the_same_engine(loop: Any, store: Store) -> None:
    spec = study(entry("a", 2), entry("b", 2), confirm={"repeats": 0})
    result, _ = await run(loop, store, spec)
    found = [default_of_engine(spec, t.configuration, result.trials) for t in result.trials]
    assert [t and t.number for t in found] == [0, 1, 0, 1]
    checked = prepared(loop, spec.replaced(quality=QualitySpec(parameters="all")), {})

    def due(trial: Trial) -> bool:
        own = trial.replaced(configuration=checked.own(trial.configuration))
        references = References(lambda: None, lambda: None, several=True)
        labels = Labels(study="s", trial=trial.number, owner="o")
        return QualityGate(checked.of(trial.configuration), own, Path("/"), references, labels).due

    assert [due(t) for t in result.trials] == [True] * 4
    same = result.trials[3].replaced(configuration=Configuration(values={"engine": "b", "b.parallel": 4}))
    assert not due(same), "4 is the default"


async def test_the_plan_says_that_defaults_are_compared(loop: Any) -> None:
    spec = study(entry("a", 2), entry("b", 2))
    for quality, said in ((QualitySpec(), ["the default of b is compared with that of a"]), (None, [])):
        plan = await make_plan(prepared(loop, spec.replaced(quality=quality), {}))
        assert [c.detail.partition(",")[0] for c in plan.checks if c.name == "quality"] == said


async def test_recommended_configurations_of_every_engine() -> None:
    spec = study(
        {"kind": "vllm", "parameters": {"max-num-batched-tokens": [2048, 8192, 16384], "max-num-seqs": [None, 512]}},
        {
            "kind": "sglang",
            "parameters": {"chunked-prefill-size": [None, 2048, 8192], "schedule-conservativeness": [0.3, 1.0]},
        },
        workload={"scenarios": "D(8,8)", "concurrency": 600},
    )
    found = await prepare(spec, planning=True)
    assert {start.configuration.values["engine"] for start in found.starts} == {"vllm", "sglang"}
    assert all(found.space.contains(start.configuration) for start in found.starts)


async def test_shared_settings_and_top_constraints(loop: Any) -> None:
    spec = study(constraints=["engine == b implies b.parallel >= 16", "engine == a implies a.parallel < 8"])
    found = prepared(loop, spec, {})
    assert [dict(c.values) for c in found.space.grid()] == [
        {"engine": "a", "a.parallel": 2},
        {"engine": "b", "b.parallel": 16},
    ]
    assert found.known_as(Configuration(values={"engine": "c"})) is None
    assert found.known_as(Configuration(values={"engine": "b", "a.parallel": 2})) is None
    assert json.loads(json.dumps(found.spec.model_dump(mode="json")))
    assert Path(found.spec.model.path).name == "m"


async def test_the_search_knows_the_releases_of_engines(loop: Any) -> None:
    """From the image, or else from the name in the study."""
    spec = study(
        entry("old", deploy={"kind": "docker", "image": "lmsysorg/sglang", "image_tag": "v0.5.8"}),
        entry("new", deploy={"kind": "docker", "image": "lmsysorg/sglang:v0.5.9"}),
        entry("sglang-0-5-10"),
        entry("main"),
    )
    context = search_context(prepared(loop, spec, {}))
    found = {n: context.release(Configuration(values={"engine": n})) for n in ("old", "new", "sglang-0-5-10", "main")}
    assert found == {
        "old": Release("fake lmsysorg/sglang:v", "0.5.8"),
        "new": Release("fake lmsysorg/sglang:v", "0.5.9"),
        "sglang-0-5-10": Release("fake sglang-", "0.5.10"),
        "main": None,
    }
    assert context.release(Configuration()) is None


async def test_the_search_knows_which_servers_load_the_same(loop: Any) -> None:
    """A tuned variable may change anything. The double says nothing of its flags, so all of them count."""
    tuned = {"parameters": {"parallel": [2, 8], "env.CACHE": ["x", "y"]}}
    context = search_context(prepared(loop, study(entry("a", **tuned), entry("b", **tuned)), {}))
    every = list(context.space.grid())
    assert len({context.loading(c) for c in every}) == len(every) == 8
    assert context.loading(every[0]) == context.loading(Configuration(values=dict(every[0].values)))
