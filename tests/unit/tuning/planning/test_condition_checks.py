"""Conditional parameters and named combinations of a prepared study: mistakes, notes, identities and resumed trials."""

from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study_file.loader import parse_study
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning.planning.missing_gpus import needed_gpus, too_large
from autotuner.tuning.planning.prepared_study import Prepared, prepare

pytestmark = pytest.mark.anyio

BASE: dict[str, Any] = {
    "name": "s",
    "model": "Qwen/Qwen3-8B",
    "engine": {"kind": "simulated", "gpu_count": 4, "args": {"context-length": 4096}},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}
POLICY: dict[str, Any] = {
    "schedule-policy": ["fcfs", "lpm"],
    "schedule-conservativeness": {"choices": [0.5, 1.0, None], "when": "schedule-policy == lpm"},
}
PROFILE: dict[str, Any] = {
    "profile": {
        "combinations": {
            "small": {"max-running-requests": 8, "env.OMP_NUM_THREADS": 2},
            "large": {"max-running-requests": 64, "tp-size": 2},
        }
    },
    "page-size": [1, 16],
}


async def prepared(parameters: Any, **changes: Any) -> Prepared:
    def canonical_of(engine: Any) -> Any:
        return loading.engine(engine).canonical

    data = {**BASE, "parameters": parameters, **changes}
    spec = parse_study(data, source="s.yaml", folder=Path("/"), canonical_of=canonical_of).spec
    return await prepare(spec, planning=True)


MISTAKES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "neither": ({**POLICY, "a": {"choices": [1, 2], "when": "schedule-policy != lpn"}}, {}, "parameters.a.when"),
    "unknown name": ({**POLICY, "a": {"choices": [1, 2], "when": "nothing > 1"}}, {}, "parameters.a.when"),
    "misspelled name": ({**POLICY, "a": {"choices": [1, 2], "when": "schedul_policy == lpm"}}, {}, "parameters.a.when"),
    "misspelled name in a constraint": (POLICY, {"constraints": ["lpm != schedul-policy"]}, "constraints[0]"),
    "none for null": (
        {**POLICY, "b": {"choices": [1, 2], "when": "a != none"}, "a": [None, "EAGLE"]},
        {},
        "parameters.b.when",
    ),
    "none for null alone": (
        {**POLICY, "b": {"choices": [1, 2], "when": "a == none"}, "a": [None, 1]},
        {},
        "parameters.b.when",
    ),
    "neither in a constraint": (POLICY, {"constraints": ["schedule-policy == fcf"]}, "constraints[0]"),
    "neither in a combination": (
        {
            "p": {"combinations": {"a": {"schedule-policy": "lpm"}, "b": {"schedule-policy": "fcfs"}}},
            "page-size": {"choices": [1, 16], "when": "schedule-policy != fcsf"},
        },
        {},
        "parameters.page-size.when",
    ),
    "never": ({**POLICY, "a": {"choices": [1], "when": "schedule-policy == 'other'"}}, {}, "parameters.a.when"),
    "never together": (
        {**POLICY, "a": {"choices": [1], "when": "schedule-policy == fcfs and schedule-conservativeness == 1.0"}},
        {},
        "parameters.a.when",
    ),
    "fixed": ({**POLICY, "a": {"choices": [1], "when": "context-length > 1000"}}, {}, "parameters.a.when"),
    "fixed and false": ({**POLICY, "a": {"choices": [1], "when": "context-length < 1000"}}, {}, "parameters.a.when"),
    "catalog default": (
        {**POLICY, "a": {"choices": [1], "when": "disable-radix-cache == false"}},
        {},
        "parameters.a.when",
    ),
    "too many": (
        {
            "max-running-requests": {"low": 1, "high": 10_000},
            "chunked-prefill-size": {"low": 1, "high": 10_000},
            "a": {"choices": [1, 2], "when": "max-running-requests > chunked-prefill-size"},
        },
        {},
        "parameters.a.when",
    ),
    "a flag": ({"tp": {"combinations": {"x": {"page-size": 1}, "y": {}}}}, {}, "parameters.tp"),
    "value": ({"p": {"combinations": {"x": {"page-size": "a"}, "y": {}}}}, {}, "parameters.p.combinations.x.page-size"),
    "secret": (
        {"p": {"combinations": {"x": {"json-model-override-args": "http://u:pass1234@h/"}, "y": {}}}},
        {},
        "parameters.p",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
async def test_mistakes_are_one_line_each(name: str, snapshot: SnapshotAssertion) -> None:
    parameters, changes, where = MISTAKES[name]
    with pytest.raises(UsageError) as caught:
        await prepared(parameters, **changes)
    [problem] = caught.value.problems
    assert problem.where.endswith(where)
    assert str(problem) == snapshot


async def test_a_condition_on_the_hardware_may_hold_on_another_machine_only() -> None:
    parameters = {**POLICY, "page-size": {"choices": [1, 16], "when": "gpus >= 8"}}
    assert (await prepared(parameters)).space.size == 4
    engine = {**BASE["engine"], "gpu_count": 8}
    assert (await prepared(parameters, engine=engine)).space.size == 8


async def test_a_condition_may_depend_on_the_hardware_through_other_parameters() -> None:
    chain = {
        "page-size": [1, 16],
        "tp-size": {"choices": [1, 2], "when": "gpus >= 2"},
        "ep-size": {"choices": [1, 2], "when": "tp-size == 2"},
        "schedule-policy": {"choices": ["fcfs", "lpm"], "when": "ep-size == 2"},
    }
    assert (await prepared(chain, engine={**BASE["engine"], "gpu_count": 1})).space.size == 2
    assert (await prepared(chain)).space.size == 2 * (1 + (1 + 2))


async def test_sizes_launches_and_the_default() -> None:
    study = await prepared(POLICY)
    assert study.space.size == 4
    assert study.default == Configuration(values={"schedule-policy": "fcfs"})
    assert study.size.launchable == 4
    assert study.size.others == 3
    texts = [c.text for c in study.space.grid()]
    assert texts[0] == "schedule-policy=fcfs"
    launches = [study.launch(c).tuned for c in study.space.grid()]
    assert launches[0] == {"schedule-policy": "fcfs"}
    assert launches[2] == {"schedule-policy": "lpm", "schedule-conservativeness": 1.0}
    assert launches[3] == {"schedule-policy": "lpm", "schedule-conservativeness": None}


async def test_a_constraint_on_a_parameter_that_may_be_inactive_is_noted() -> None:
    study = await prepared(POLICY, constraints=["schedule-conservativeness != 0.5"])
    checks = await study.preflight()
    assert [c.name for c in checks if "may be inactive" in c.detail] == ["constraints[0]"]
    assert study.space.size == 4
    assert len(list(study.space.grid())) == 3


async def test_stored_trials_of_an_unconditional_parameter_are_recognized() -> None:
    study = await prepared(POLICY)

    def known(**values: Any) -> Configuration | None:
        return study.known_as(Configuration(values={n.replace("_", "-"): v for n, v in values.items()}))

    assert known() == DEFAULT
    fcfs = Configuration(values={"schedule-policy": "fcfs"})
    assert known(schedule_policy="fcfs") == fcfs
    assert known(schedule_policy="fcfs", schedule_conservativeness=None) == fcfs
    assert known(schedule_policy="fcfs", schedule_conservativeness=0.5) is None
    lpm = Configuration(values={"schedule-policy": "lpm", "schedule-conservativeness": None})
    assert known(schedule_policy="lpm") == lpm
    assert known(schedule_policy="lpm", schedule_conservativeness=None) == lpm


async def test_combinations_reach_the_launch_as_flags_and_variables() -> None:
    study = await prepared(PROFILE, constraints=["max-running-requests > 8 implies page-size == 1"])
    points = [dict(c.values) for c in study.space.grid()]
    assert points == [
        {"profile": "small", "page-size": 1},
        {"profile": "small", "page-size": 16},
        {"profile": "large", "page-size": 1},
    ]
    small, _, large = (study.launch(c) for c in study.space.grid())
    assert small.tuned == {"max-running-requests": 8, "page-size": 1}
    assert small.tuned_env == {"OMP_NUM_THREADS": "2"}
    assert large.tuned == {"max-running-requests": 64, "tp-size": 2, "page-size": 1}
    assert large.tuned_env == {"OMP_NUM_THREADS": None}
    assert len({study.identity(c) for c in study.space.grid()}) == 3


async def test_the_default_is_the_combination_with_the_engines_own_values() -> None:
    combinations = {"small": {"max-running-requests": 8}, "own": {"disable-radix-cache": False}}
    study = await prepared({"profile": {"combinations": combinations}})
    assert study.default == Configuration(values={"profile": "own"})
    combinations["other"] = {}
    del combinations["own"]
    assert (await prepared({"profile": {"combinations": combinations}})).size.others == 1


def test_combinations_that_need_too_many_gpus_are_noted() -> None:
    combinations = {"one": {"tp": 1}, "eight": {"tp": 8}, "two": {"tp": 2, "env.X": "a"}}
    profile = Parameter(name="profile", domain=Choices(values=tuple(combinations)), combinations=combinations)
    engine = FakeEngine(FakeEngineSettings())
    [problem] = too_large(engine, {}, [profile], 4)
    assert problem.where == "parameters.profile"
    assert "profile eight needs 8 GPUs" in problem.why
    needs = needed_gpus(engine, {"tp": 1}, [profile])
    assert (needs.least, needs.most) == (1, 8)
    inactive = Parameter(name="tp", domain=Choices(values=(2, 4)), when="x == 1")
    needs = needed_gpus(engine, {}, [inactive])
    assert (needs.least, needs.most) == (0, 4), "it may be left out"
