"""Conformance tests for deployers: subclass :class:`DeployerConformance` and provide a fixture ``case``.

Requires pytest and anyio's pytest plugin, which the package does not depend on.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import anyio
import pytest

from autotuner.plugins.deployer import BoundDeployer, DeployContext, Endpoint
from autotuner.study.check import CheckStatus
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchedObject, LaunchPlan
from autotuner.study.spec import Model
from autotuner.study.trial import Phase
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings

LABELS = Labels(study=f"kit-{uuid4().hex[:8]}", trial=7, owner="owner-of-the-kit")
"""Unique per test run, so that leftovers of one run are not attributed to another."""
PATIENCE_S = 30.0


class MemoryPorts:
    """Leases ports within one test; real leases apply to the whole host."""

    def __init__(self) -> None:
        self.leased: set[int] = set()

    @asynccontextmanager
    async def __call__(self, ports: range) -> AsyncIterator[int]:
        """Leases the first free port of the range."""
        port = next((p for p in ports if p not in self.leased), None)
        if port is None:
            message = f"all ports of {ports.start}-{ports.stop - 1} are leased"
            raise TrialFailedError.because(FailureCause.PORT_UNAVAILABLE, message)
        self.leased.add(port)
        try:
            yield port
        finally:
            self.leased.remove(port)


class Recorder:
    """Replaces the trial runner: provides a context and records the calls of its callbacks."""

    def __init__(self, folder: Path, *, ports: MemoryPorts | None = None, labels: Labels = LABELS) -> None:
        self.ports = ports or MemoryPorts()
        self.phases: list[Phase] = []
        self.loading = anyio.Event()
        self.ends: list[tuple[int | None, str, bool]] = []
        self.context = DeployContext(
            labels=labels, folder=folder, explain=self._explain, on_phase=self._on_phase, lease_port=self.ports
        )

    def _on_phase(self, phase: Phase) -> None:
        self.phases.append(phase)
        if phase is Phase.LOADING:
            self.loading.set()

    def _explain(self, exit_code: int | None, log_tail: str, ready: bool) -> Failure:
        self.ends.append((exit_code, log_tail, ready))
        cause = FailureCause.CRASH_UNDER_LOAD if ready else FailureCause.CRASH_LOADING
        return Failure(cause=cause, message="explained", exit_code=exit_code, log_tail=log_tail)


class DeployerCase(ABC):
    """A deployer under test, and one launch plan per outcome."""

    deployer: BoundDeployer
    phases: ClassVar[tuple[Phase, ...]] = (Phase.LAUNCHING, Phase.LOADING)
    """Phases of a server that becomes ready."""
    leases: ClassVar[int] = 1
    """Ports that one deployment leases; 0 if the platform assigns ports."""

    def argv(self, plan: LaunchPlan, leased: Collection[int]) -> tuple[str, ...]:
        """The expected command line of the plan's server; its address depends on the deployer."""
        (port,) = leased
        return plan.argv(host="127.0.0.1", port=port)

    @abstractmethod
    def good(self) -> LaunchPlan:
        """Becomes ready and keeps running. Its flags contain its tuned values, if any."""

    @abstractmethod
    def dies_loading(self) -> LaunchPlan:
        """Exits with code 3 before it is ready, with ``broken`` in its log."""

    @abstractmethod
    def never_ready(self) -> LaunchPlan:
        """Keeps running, but is not ready within its (short) start timeout."""

    @abstractmethod
    def dies_later(self) -> LaunchPlan:
        """Becomes ready, and exits with code 3 once it is provoked."""

    @abstractmethod
    async def provoke(self, endpoint: Endpoint) -> None:
        """Makes the server of :meth:`dies_later` exit."""

    @abstractmethod
    async def kill(self, endpoint: Endpoint) -> None:
        """Ends a ready server from outside, like SIGKILL."""

    @abstractmethod
    async def answers(self, url: str) -> bool:
        """Whether a server responds at the URL."""

    @abstractmethod
    def left(self) -> list[str]:
        """What remains of all deployments so far; empty if everything was removed."""


class DeployerConformance:
    """The contract of :class:`autotuner.plugins.deployer.BoundDeployer`, for deployers that launch servers."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def recorder(self, tmp_path: Path) -> Recorder:
        """The context of a trial with its own folder."""
        return Recorder(tmp_path / "trial")

    async def failure_of(self, case: DeployerCase, plan: LaunchPlan, recorder: Recorder) -> Failure:
        """The failure of a deployment, which leaves nothing behind."""
        with anyio.fail_after(PATIENCE_S), pytest.raises(TrialFailedError) as caught:
            async with case.deployer.deploy(plan, recorder.context):
                pytest.fail("must not get ready")
        assert case.left() == []
        assert recorder.ports.leased == set()
        return caught.value.failure

    async def test_a_ready_endpoint_responds(self, case: DeployerCase, recorder: Recorder) -> None:
        async with case.deployer.deploy(case.good(), recorder.context) as endpoint:
            assert not endpoint.url.endswith(("/", "/v1"))
            assert await case.answers(endpoint.url)
            assert endpoint.model == case.good().model
            phases = [phase for phase in recorder.phases if phase not in {Phase.QUEUED, Phase.PULLING}]
            assert tuple(dict.fromkeys(phases)) == case.phases, "each phase once; waits may come between"
            assert len(recorder.ports.leased) == case.leases
            assert case.left() != []
        assert not await case.answers(endpoint.url)
        assert case.left() == []
        assert recorder.ports.leased == set()
        assert recorder.ends == [], "a server that is stopped has not died"

    async def test_argv_is_the_plans(self, case: DeployerCase, recorder: Recorder) -> None:
        plan = case.good()
        async with case.deployer.deploy(plan, recorder.context) as endpoint:
            assert endpoint.argv == case.argv(plan, recorder.ports.leased)

    async def test_environment_is_the_plans(
        self, case: DeployerCase, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KIT_LEFT_OUT", "from the shell that the tuner runs in")
        tuned = {"KIT_TUNED": "two words $HOME", "KIT_LEFT_OUT": None}
        plan = case.good()
        given = {**plan.env, "KIT_TUNED": "two words $HOME", "KIT_FIXED": "1"}
        plan = plan.model_copy(update={"env": given, "tuned_env": tuned})
        async with case.deployer.deploy(plan, recorder.context) as endpoint:
            seen = await endpoint.environment()
        assert seen is not None
        assert (seen.get("KIT_TUNED"), seen.get("KIT_FIXED")) == ("two words $HOME", "1")
        assert "KIT_LEFT_OUT" not in seen

    async def test_identity_is_stable_and_its_own(self, case: DeployerCase, recorder: Recorder, tmp_path: Path) -> None:
        async with case.deployer.deploy(case.good(), recorder.context) as endpoint:
            first = await endpoint.identity()
            assert await endpoint.identity() == first
        other = Recorder(tmp_path / "other")
        async with case.deployer.deploy(case.good(), other.context) as endpoint:
            assert await endpoint.identity() != first

    async def test_died_waits_for_a_living_server(self, case: DeployerCase, recorder: Recorder) -> None:
        async with case.deployer.deploy(case.good(), recorder.context) as endpoint:
            with anyio.move_on_after(0.2) as scope:
                await endpoint.died()
            assert scope.cancelled_caught
        assert recorder.ends == []

    async def test_died_reports_a_kill_from_outside(self, case: DeployerCase, recorder: Recorder) -> None:
        async with case.deployer.deploy(case.good(), recorder.context) as endpoint:
            seen: list[Failure] = []

            async def watch() -> None:
                seen.append(await endpoint.died())

            with anyio.fail_after(PATIENCE_S):
                async with anyio.create_task_group() as watchers:
                    watchers.start_soon(watch)
                    watchers.start_soon(watch)
                    await anyio.sleep(0.05)
                    await case.kill(endpoint)
            assert [f.cause for f in seen] == [FailureCause.CRASH_UNDER_LOAD] * 2
            with pytest.raises(TrialFailedError) as caught:
                await endpoint.identity()
            assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
        assert case.left() == []

    async def test_died_explains_an_exit(self, case: DeployerCase, recorder: Recorder) -> None:
        async with case.deployer.deploy(case.dies_later(), recorder.context) as endpoint:
            await case.provoke(endpoint)
            with anyio.fail_after(PATIENCE_S):
                failure = await endpoint.died()
            assert failure.exit_code == 3
            assert recorder.ends[0][0] == 3
            assert recorder.ends[0][2] is True
        assert case.left() == []

    async def test_an_exit_while_loading_is_explained(self, case: DeployerCase, recorder: Recorder) -> None:
        failure = await self.failure_of(case, case.dies_loading(), recorder)
        assert failure.exit_code == 3
        assert "broken" in failure.log_tail

    async def test_start_timeout(self, case: DeployerCase, recorder: Recorder) -> None:
        failure = await self.failure_of(case, case.never_ready(), recorder)
        assert failure.cause is FailureCause.START_TIMEOUT

    async def test_nothing_is_left_after_an_exception(self, case: DeployerCase, recorder: Recorder) -> None:
        with pytest.raises(ZeroDivisionError):
            async with case.deployer.deploy(case.good(), recorder.context):
                raise ZeroDivisionError
        assert case.left() == []
        assert recorder.ports.leased == set()

    @pytest.mark.parametrize("plan_name", ["good", "never_ready"])
    async def test_nothing_is_left_after_cancellation(
        self, case: DeployerCase, recorder: Recorder, plan_name: str
    ) -> None:
        plan: Callable[[], LaunchPlan] = getattr(case, plan_name)
        with anyio.move_on_after(PATIENCE_S):
            async with anyio.create_task_group() as group:
                started = anyio.Event()

                async def trial() -> None:
                    async with case.deployer.deploy(plan(), recorder.context):
                        started.set()
                        await anyio.sleep_forever()

                group.start_soon(trial)
                await (started if plan_name == "good" else recorder.loading).wait()
                group.cancel_scope.cancel()
        assert case.left() == []
        assert recorder.ports.leased == set()

    async def test_two_deployments_do_not_interfere(self, case: DeployerCase, tmp_path: Path) -> None:
        ports = MemoryPorts()
        one = Recorder(tmp_path / "1", ports=ports)
        two = Recorder(tmp_path / "2", ports=ports)
        async with (
            case.deployer.deploy(case.good(), one.context) as first,
            case.deployer.deploy(case.good(), two.context) as second,
        ):
            assert first.url != second.url
            assert await first.identity() != await second.identity()
        assert case.left() == []

    async def test_log_tail_is_text(self, case: DeployerCase, recorder: Recorder) -> None:
        async with case.deployer.deploy(case.good(), recorder.context) as endpoint:
            assert len((await endpoint.log_tail(1)).splitlines()) <= 1

    async def test_preflight_of_a_good_plan_passes(self, case: DeployerCase) -> None:
        checks = await case.deployer.preflight([case.good()])
        assert checks
        assert [c for c in checks if c.status is CheckStatus.FAIL] == []
        assert case.left() == []

    async def test_binding_yields_a_deployer_that_launches(self, case: DeployerCase) -> None:
        engine = FakeEngine(FakeEngineSettings())
        assert isinstance(case.deployer.bind(engine, Model(path="another")), BoundDeployer)

    async def test_hardware_is_reported(self, case: DeployerCase) -> None:
        hardware = await case.deployer.hardware()
        assert hardware.cpus >= 1
        assert hardware.memory_gb > 0

    async def test_a_running_server_is_listed(self, case: DeployerCase, recorder: Recorder) -> None:
        def of_this_test(found: Sequence[LaunchedObject]) -> set[tuple[str, int | None, str]]:
            return {(one.study, one.trial, one.owner) for one in found if one.study == LABELS.study}

        async with case.deployer.deploy(case.good(), recorder.context):
            found = of_this_test(await case.deployer.launched_objects())
        assert found == {(LABELS.study, LABELS.trial, LABELS.owner)}
        assert of_this_test(await case.deployer.launched_objects()) == set()

    async def test_reap_spares_living_owners(self, case: DeployerCase, recorder: Recorder) -> None:
        async with case.deployer.deploy(case.good(), recorder.context) as endpoint:
            assert await case.deployer.reap(lambda _: False) == []
            assert await case.answers(endpoint.url)
