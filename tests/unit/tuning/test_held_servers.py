"""Studies whose engine can change a tuned flag at run time: fewer launches, and never another trial's values."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import anyio
import pytest

from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.events.follow import read
from autotuner.events.types import Notice
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.engine import Engine
from autotuner.store import Store
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Flag, LaunchPlan, without_flags
from autotuner.study.measurement import Measurement
from autotuner.study.spec import EngineSpec, Model
from autotuner.study.trial import TrialRole
from autotuner.testing.fake_deployer import FakeDeployer, FakeEndpoint
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.tuning.trials.held_servers import changes
from support.study_runs import by_slots, run

pytestmark = pytest.mark.anyio
RATES = {"default": 100.0, "1": 100.0, "2": 100.0, "8": 100.0}


class ChangingEngine(FakeEngine):
    """Can change ``parallel`` at run time, and needs a GPU."""

    runtime_flags: ClassVar[frozenset[str]] = frozenset({"parallel"})

    def gpus(self, values: Any) -> int:
        return 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Value]]:
    """What servers are asked to change, which they do: the double answers no requests."""
    found: list[Mapping[str, Value]] = []

    async def change(_: Endpoint, __: Engine, flags: Mapping[str, Value]) -> str:
        found.append(flags)
        return ""

    monkeypatch.setattr("autotuner.tuning.trials.held_servers.change_server", change)
    return found


def engine() -> ChangingEngine:
    return ChangingEngine(FakeEngineSettings())


def notices(store: Store) -> list[str]:
    return [e.text for e in read(store, "s") if isinstance(e, Notice)]


async def test_one_launch_for_all_values(loop: Any, store: Store, asked: list[Mapping[str, Value]]) -> None:
    deployer = FakeDeployer()
    seen: list[tuple[str, ...]] = []

    def script(endpoint: Endpoint, window: Window) -> Measurement:
        seen.append(endpoint.argv)
        return by_slots(RATES)(endpoint, window)

    prepared = loop.prepared(deployer=deployer, engine=engine(), gpus=1, script=script)
    outcome = await run(prepared, store)
    assert [t.state for t in outcome.trials] == ["done"] * 4
    assert [labels.trial for labels, _ in deployer.deployed] == [0, 1], "the default's flag has no known value"
    assert asked == [{"parallel": 2}, {"parallel": 8}]
    assert [t.server_of for t in outcome.trials] == [None, None, 1, 1]
    assert [next((a for a in argv if "parallel" in a), "") for argv in seen] == [
        "",
        "--parallel=1",
        "--parallel=2",
        "--parallel=8",
    ]
    assert [t.argv for t in outcome.trials] == seen
    planned = [prepared.launch(t.configuration).argv(host="", port=0) for t in outcome.trials]
    assert [without_flags(t.argv, t.address_flags) for t in outcome.trials] == [
        without_flags(argv, outcome.trials[0].address_flags) for argv in planned
    ], "a winner is exported only if its command is the planned one"
    assert len({t.identity for t in outcome.trials}) == 2
    assert deployer.live == []
    assert len(deployer.released) == 2
    assert store.leases.all() == []


async def test_proof_launches_anew(loop: Any, store: Store, asked: list[Mapping[str, Value]]) -> None:
    deployer = FakeDeployer()
    rates = RATES | {"8": 150.0}
    prepared = loop.prepared(loop.spec(repeats=2), deployer=deployer, engine=engine(), gpus=1, script=by_slots(rates))
    outcome = await run(prepared, store)
    repeats = [t.number for t in outcome.trials if t.role is TrialRole.CONFIRM]
    assert len(repeats) >= 4
    assert [labels.trial for labels, _ in deployer.deployed] == [0, 1, *repeats]
    assert {t.server_of for t in outcome.trials if t.number in repeats} == {None}
    assert len(asked) == 2


async def test_server_that_refuses_is_launched_anew(loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> str:
        return "parallel is 1 instead of 2"

    monkeypatch.setattr("autotuner.tuning.trials.held_servers.change_server", refuse)
    deployer = FakeDeployer(max_live=1)
    prepared = loop.prepared(deployer=deployer, engine=engine(), gpus=1, script=by_slots(RATES))
    outcome = await run(prepared, store)
    assert [labels.trial for labels, _ in deployer.deployed] == [0, 1, 2, 3]
    assert {t.server_of for t in outcome.trials} == {None}
    assert notices(store)[0] == (
        "launched anew, because the server of trial 1 was not changed: parallel is 1 instead of 2"
    )


@pytest.mark.parametrize("during", ["the trial", "the choice of the next"])
async def test_server_that_died(
    loop: Any, store: Store, asked: list[Mapping[str, Value]], monkeypatch: pytest.MonkeyPatch, during: str
) -> None:
    deployer = FakeDeployer(max_live=1)

    async def script(endpoint: FakeEndpoint, window: Window) -> Measurement:
        if window.labels.trial == 1 and during == "the trial":
            endpoint.kill()
            await anyio.sleep(5)
        return by_slots(RATES)(endpoint, window)

    if during != "the trial":
        first = iter([True])
        answers = FakeEndpoint.identity

        async def identity(endpoint: FakeEndpoint) -> Any:
            found = await answers(endpoint)
            # The third question to the server of trial 1 is whether it may stay.
            if deployer.deployed[-1][0].trial == 1 and endpoint._calls == 3 and next(first, False):
                endpoint.kill()
            return found

        monkeypatch.setattr(FakeEndpoint, "identity", identity)
    prepared = loop.prepared(deployer=deployer, engine=engine(), gpus=1, script=script)
    outcome = await run(prepared, store)
    assert [labels.trial for labels, _ in deployer.deployed] == [0, 1, 2]
    assert [t.server_of for t in outcome.trials] == [None, None, None, 2]
    assert asked == [{"parallel": 8}]
    assert deployer.live == []
    assert store.leases.all() == []


async def test_launch_that_fails_does_not_wait(loop: Any, store: Store, asked: list[Mapping[str, Value]]) -> None:
    """Errors of a held server's task are those of its trial."""
    deployer = FakeDeployer()

    def script(_: Endpoint, window: Window) -> Measurement:
        if window.labels.trial == 1:
            raise TrialFailedError.because(FailureCause.OUT_OF_MEMORY, "too large")
        return by_slots(RATES)(_, window)

    outcome = await run(loop.prepared(deployer=deployer, engine=engine(), gpus=1, script=script), store)
    assert [t.state for t in outcome.trials] == ["done", "failed", "done", "done"]
    assert [labels.trial for labels, _ in deployer.deployed] == [0, 1, 2]
    assert [t.server_of for t in outcome.trials] == [None, None, None, 2]


@pytest.mark.parametrize("trial", [1, 2])
async def test_cancelled_run_releases_the_server(
    loop: Any, store: Store, asked: list[Mapping[str, Value]], trial: int
) -> None:
    deployer = FakeDeployer()

    async def script(endpoint: Endpoint, window: Window) -> Measurement:
        if window.labels.trial == trial:
            scope.cancel()
            await anyio.sleep_forever()
        return by_slots(RATES)(endpoint, window)

    with anyio.CancelScope() as scope:
        await run(loop.prepared(deployer=deployer, engine=engine(), gpus=1, script=script), store)
    assert scope.cancelled_caught
    assert deployer.live == []
    assert len(deployer.released) == 2
    assert store.leases.all() == []


def plan(**values: Value) -> LaunchPlan:
    built: Callable[..., LaunchPlan] = Sglang(SglangSettings()).plan
    return built(Model(path="m"), EngineSpec(kind="sglang"), Configuration(values=values))


async def test_trial_that_is_cut_off_while_the_server_changes(
    loop: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the search ends; the run goes on, and nothing may be left."""

    async def hang(*_: object) -> str:
        await anyio.sleep_forever()
        return ""

    monkeypatch.setattr("autotuner.tuning.trials.held_servers.change_server", hang)
    deployer = FakeDeployer()
    spec = loop.spec(time_s=1.0)
    prepared = loop.prepared(spec, deployer=deployer, engine=engine(), gpus=1, script=by_slots(RATES))
    with anyio.fail_after(60):
        outcome = await run(prepared, store)
    assert [t.state for t in outcome.trials] == ["done", "done", "void"]
    assert deployer.live == []
    assert store.leases.all() == []


MICRO = "pp-max-micro-batch-size"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({MICRO: 1}, {MICRO: 2}, {MICRO: 2}),
        ({MICRO: 1, "tp-size": 2}, {MICRO: 2, "tp-size": 2}, {MICRO: 2}),
        ({MICRO: 1, "tp-size": 1}, {MICRO: 2, "tp-size": 2}, {}),
        ({MICRO: 1}, {}, {}),
        ({}, {MICRO: 1}, {}),
        ({MICRO: 1}, {MICRO: 1}, {}),
        ({"tp-size": 1}, {"tp-size": 2}, {}),
    ],
)
def test_what_a_running_server_can_become(
    before: dict[str, Value], after: dict[str, Value], expected: dict[str, Value]
) -> None:
    assert changes(Sglang(SglangSettings()), plan(**before), plan(**after)) == expected


def test_another_environment_is_another_server() -> None:
    wanted = plan(**{MICRO: 2})
    other = wanted.model_copy(
        update={"tuned_env": {"A": "1"}, "env": {"A": "1"}, "flags": (*wanted.flags, Flag(name="-x"))}
    )
    assert changes(Sglang(SglangSettings()), plan(**{MICRO: 1}), other) == {}
