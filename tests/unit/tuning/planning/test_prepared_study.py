"""Prepared studies: the valid space, checks, and refusals before any launch."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from autotuner.deployers.external import ExternalDeployer
from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.search import proposals
from autotuner.study.check import CheckStatus, worst
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.launch import Hardware
from autotuner.study.parameters.parameter import Choices, FloatRange, IntRange, Parameter
from autotuner.study.search.stopping import StopRule
from autotuner.study.spec import EngineSpec, PluginSpec, SearchSpec, StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.testing.benchmark_kit import ScriptedBenchmark
from autotuner.testing.fake_deployer import FakeDeployer
from autotuner.testing.fake_engine import FakeEngine
from autotuner.testing.samples import THROUGHPUT
from autotuner.tuning.planning.plan import make_plan
from autotuner.tuning.planning.prepared_study import prepare

pytestmark = pytest.mark.anyio


class GpuEngine(FakeEngine):
    """An engine that needs one GPU for each slot beyond the first."""

    def gpus(self, values: Any) -> int:
        return int(values.get("parallel") or 1) - 1


@pytest.fixture(autouse=True)
def doubles(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loads doubles for the kinds ``fake`` and ``scripted``."""
    real = loading.load
    own = {"engines": GpuEngine, "deployers": FakeDeployer, "benchmarks": ScriptedBenchmark}
    machine = Hardware(cpus=2, memory_gb=8.0, gpus=3, gpu_memory_gb=80.0)
    monkeypatch.setattr(FakeDeployer, "__init__", _with_machine(machine))
    monkeypatch.setattr(loading, "load", lambda g, kind: own[g] if kind in {"fake", "scripted"} else real(g, kind))
    return


def _with_machine(machine: Hardware) -> Any:
    real = FakeDeployer.__init__

    def init(self: FakeDeployer, settings: Any = None) -> None:
        real(self, settings, machine=machine)

    return init


def spec(loop: Any, **changes: Any) -> StudySpec:
    made: StudySpec = loop.spec().model_copy(update={"benchmark": PluginSpec(kind="scripted"), **changes})
    return made


def values(*some: Any, name: str = "parallel") -> tuple[Parameter, ...]:
    return (Parameter(name=name, domain=Choices(values=some)),)


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


async def test_valid_study(loop: Any) -> None:
    prepared = await prepare(spec(loop, parameters=values(1, 2, 4, 8), constraints=("parallel <= gpus + 1",)))
    allowed = [c.values["parallel"] for c in prepared.space.grid() if prepared.valid(c)]
    assert allowed == [1, 2, 4], "eight slots need seven GPUs, and there are three"
    assert prepared.default == Configuration(values={"parallel": 4}), "the catalog's default, spelled out"
    assert prepared.values(Configuration(values={"parallel": 2})) == {"parallel": 2}


async def test_fixed_arguments_and_tuned_values(loop: Any) -> None:
    engine = EngineSpec(kind="fake", args={"np": 2, "token_ms": 2.0})
    prepared = await prepare(spec(loop, engine=engine))
    assert prepared.values(DEFAULT) == {"parallel": 2, "token-ms": 2.0}
    assert prepared.values(Configuration(values={"parallel": 1}))["parallel"] == 1


async def failed_gpus(spec: StudySpec) -> str:
    """Detail of the failed check; the study can still be planned."""
    prepared = await prepare(spec)
    assert any(prepared.valid(c) for c in prepared.space.grid())
    [found] = [c for c in await prepared.preflight() if c.status is CheckStatus.FAIL]
    assert found.name == "gpus"
    return found.detail


async def test_missing_gpus_are_a_failed_check(loop: Any, snapshot: SnapshotAssertion) -> None:
    default = await failed_gpus(spec(loop, engine=EngineSpec(kind="fake", args={"parallel": 8})))
    assert numbers(default) == [7, 3, 7]
    tuned = await failed_gpus(spec(loop, parameters=values(8, 16)))
    assert numbers(tuned) == [7, 15, 3, 15]
    assert [default, tuned] == snapshot


async def test_large_space_is_not_counted(loop: Any) -> None:
    huge = (
        Parameter(name="x", domain=IntRange(low=1, high=10**9)),
        Parameter(name="y", domain=FloatRange(low=0.0, high=1e6, step=1e-3)),
    )
    prepared = await prepare(spec(loop, parameters=huge, constraints=("x * y <= 1e14",)))
    assert prepared.space.size == 10**9 * (10**9 + 1)
    assert prepared.size.others is None


async def test_values_with_equal_command_lines_are_one_configuration(loop: Any, snapshot: SnapshotAssertion) -> None:
    twice = (*values("4", None, 4, "x", name="note"), *values(1, 2))
    prepared = await prepare(spec(loop, parameters=twice))
    assert prepared.size.others == 3 * 2, "two notes or none, with either number of slots"
    four, text, absent = (Configuration(values={"note": v, "parallel": 1}) for v in (4, "4", None))
    assert prepared.identity(four) == prepared.identity(text)
    assert prepared.identity(absent) == prepared.identity(Configuration(values={"parallel": 1}))
    assert prepared.identity(four) != prepared.identity(absent)
    [warning] = [c for c in await prepared.preflight() if c.status is CheckStatus.WARN]
    assert (warning.name, numbers(warning.detail)) == ("parameters.note", [4, 4])
    assert warning.detail == snapshot
    plan = await make_plan(prepared, examples=10)
    assert plan.trials == min(prepared.spec.search.trials, 7)
    assert len({launch.argv for launch in plan.launches}) == len(plan.launches) == 7


async def test_external_server_without_parameters_is_measured(loop: Any) -> None:
    prepared = await prepare(
        spec(loop, deploy=EXTERNAL, parameters=(), engine=EngineSpec(kind="fake", args={"np": 64}))
    )
    assert isinstance(prepared.deployer, ExternalDeployer)
    assert prepared.valid(DEFAULT), "the hardware of this machine does not limit it"


async def test_values_that_need_too_many_gpus_give_a_warning(loop: Any, snapshot: SnapshotAssertion) -> None:
    prepared = await prepare(spec(loop, parameters=values(1, 4, 8)))
    [warned] = [c for c in await prepared.preflight() if c.status is CheckStatus.WARN]
    assert (warned.name, numbers(warned.detail)) == ("parameters.parallel", [8, 7, 3])
    assert warned.detail == snapshot


async def test_preflight_checks_the_data_folder(loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = await prepare(spec(loop, parameters=values(1, 2, 4)))
    good = await prepared.preflight()
    assert {"data folder", "fake"} <= {c.name for c in good}
    assert worst(good) is CheckStatus.OK
    file = tmp_path / "file"
    file.write_text("")
    for home, free in ((file / "below", None), (tmp_path, 5_000_000)):
        monkeypatch.setenv("AUTOTUNER_HOME", str(home))
        with monkeypatch.context() as patched:
            if free is not None:
                usage = shutil.disk_usage(tmp_path)._replace(free=free)
                patched.setattr("autotuner.tuning.data_folder.shutil.disk_usage", lambda _, u=usage: u)
            bad = (await prepared.preflight())[0]
        assert bad.status is CheckStatus.FAIL
        assert "AUTOTUNER_HOME" in bad.remedy
    assert worst([]) is CheckStatus.OK


EXTERNAL = PluginSpec.model_validate({"kind": "external", "url": "http://127.0.0.1:1"})
HUGE = (Parameter(name="x", domain=IntRange(low=1, high=10**9)),)
REFUSED: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "unknown names in a constraint": (
        {"constraints": ("parallel <= cpus", "paralel * nodes <= 4")},
        [("constraints[1]", "paralel * nodes <= 4")] * 2,
    ),
    "constraint that cannot be read": (
        {"constraints": ("parallel <= ",)},
        [("constraints[0]", "parallel <= ")],
    ),
    "invalid fixed arguments": (
        {"engine": EngineSpec(kind="fake", args={"parallel": 99, "turbo": "yes"})},
        [("engine.args.parallel", "99"), ("engine.args.turbo", "yes")],
    ),
    "invalid tuned values": (
        {"parameters": values(1, 0, 2, "many")},
        [("parameters.parallel[1]", "0"), ("parameters.parallel[3]", "many")],
    ),
    "space without a valid configuration": ({"constraints": ("parallel > 8",)}, [("parameters", "")]),
    "grid over a continuous range": (
        {"parameters": (Parameter(name="token-ms", domain=FloatRange(low=0.5, high=2.0)),)},
        [("parameters.token-ms", "")],
    ),
    "large space in which the search finds nothing": (
        {"parameters": HUGE, "constraints": ("x > 999999999",)},
        [("parameters", "")],
    ),
    "only the value of the default": ({"parameters": values(4)}, [("parameters", "")]),
    # null leaves the flag out, and off does so for a switch.
    "only spellings of the default": (
        {"parameters": (*values(None), *values(None, False, name="turbo"))},
        [("parameters", "")],
    ),
    "parameters of a running server": ({"deploy": EXTERNAL}, [("parameters", "")]),
    "unknown engine": ({"engine": EngineSpec(kind="nothing")}, [("engine.kind", "nothing")]),
    "unknown deployer": ({"deploy": PluginSpec(kind="nothing")}, [("deploy.kind", "nothing")]),
    "unknown benchmark": ({"benchmark": PluginSpec(kind="nothing")}, [("benchmark.kind", "nothing")]),
    "unknown setting of the search": (
        {"search": SearchSpec.model_validate({"kind": "random", "trials": 4, "samples": 3})},
        [("search.samples", "")],
    ),
    "rule for stopping, and a search without bounds": (
        {"search": SearchSpec(kind="random", trials=4, stop=StopRule(remaining_gain=0.03))},
        [("search.stop", "")],
    ),
    "rule for stopping, and several objectives": (
        {
            "search": SearchSpec(kind="calibrated", trials=4, stop=StopRule(remaining_gain=0.03)),
            "objectives": (THROUGHPUT, THROUGHPUT.replaced(metric="request_throughput")),
        },
        [("search.stop", "")],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_studies(
    loop: Any, monkeypatch: pytest.MonkeyPatch, snapshot: SnapshotAssertion, case: str
) -> None:
    """Place and value of each problem; their sentences are in the snapshot (update it with ``--snapshot-update``)."""
    monkeypatch.setattr(proposals, "MAX_REJECTED", 50)
    changes, places = REFUSED[case]
    with pytest.raises(UsageError) as caught:
        await prepare(spec(loop, **changes))
    assert [(problem.where, problem.value) for problem in caught.value.problems] == places
    assert str(caught.value) == snapshot


SIMULATED: dict[str, Any] = {
    "name": "s",
    "model": "Qwen/Qwen3-8B",
    "engine": {"kind": "simulated", "gpu": "H100"},
    "workload": {"scenarios": "D(256,32)", "concurrency": 8},
    "objective": "max output_throughput",
}


async def test_flags_that_only_some_configurations_set_get_the_engines_warnings() -> None:
    parameters = {
        "kv-cache-dtype": ["auto", "fp8_e5m2"],
        "pages-sizes": {"choices": [16, 32], "when": "kv-cache-dtype == fp8_e5m2"},
        "profile": {"combinations": {"one": {"max-running-requests": 8}, "two": {"chunk-prefill-sizes": 512}}},
    }
    made = parse_study({**SIMULATED, "parameters": parameters}, source="s.yaml", folder=Path("/")).spec
    found = await (await prepare(made, planning=True)).preflight()
    warned = {c.name: c.remedy for c in found if "is not in the catalog" in c.detail}
    assert warned == {
        "pages-sizes": 'did you mean "page-size"?',
        "chunk-prefill-sizes": 'did you mean "chunked-prefill-size"?',
    }


async def test_the_plan_says_when_the_search_ends_by_itself() -> None:
    search = {"stop": {"remaining_gain": "3%", "confidence": "90%"}}
    tuned = {**SIMULATED, "parameters": {"max-running-requests": [4, 8]}, "search": search}
    made = parse_study(tuned, source="s.yaml", folder=Path("/")).spec
    plan = await make_plan(await prepare(made, planning=True))
    (check,) = [c for c in plan.checks if c.name == "search.stop"]
    assert "with 90% confidence, no untried configuration is more than 3% better" in check.detail
