"""The deployer double fulfills the contract of real deployers."""

from pathlib import Path

import pytest

from autotuner.plugins.deployer import Endpoint
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import Flag, LaunchPlan
from autotuner.testing.deployer_kit import DeployerCase, DeployerConformance, Recorder
from autotuner.testing.fake_deployer import Behavior, FakeDeployer, FakeEndpoint

pytestmark = pytest.mark.anyio

BROKEN = Failure(cause=FailureCause.CRASH_LOADING, message="x", exit_code=3, log_tail="broken")
LATE = Failure(cause=FailureCause.START_TIMEOUT, message="x")
BEHAVIORS = {
    "good": Behavior(),
    "dies_loading": Behavior(fails=BROKEN),
    "never_ready": Behavior(ready_after_s=0.2, fails=LATE),
    "dies_later": Behavior(dies_after_s=0.05, exit_code=3),
}


def plan(name: str) -> LaunchPlan:
    return LaunchPlan(command=("fake", name), flags=(Flag(name="--x", value="1"),), model="m")


class FakeCase(DeployerCase):
    def __init__(self) -> None:
        self.deployer: FakeDeployer = FakeDeployer(behavior=lambda plan: BEHAVIORS[plan.command[1]])

    def good(self) -> LaunchPlan:
        return plan("good")

    def dies_loading(self) -> LaunchPlan:
        return plan("dies_loading")

    def never_ready(self) -> LaunchPlan:
        return plan("never_ready")

    def dies_later(self) -> LaunchPlan:
        return plan("dies_later")

    async def provoke(self, endpoint: Endpoint) -> None:
        """Its behavior makes it die."""

    async def kill(self, endpoint: Endpoint) -> None:
        assert isinstance(endpoint, FakeEndpoint)
        endpoint.kill()

    async def answers(self, url: str) -> bool:
        return any(e.url == url and not e.dead for e in self.deployer.live)

    def left(self) -> list[str]:
        return [e.url for e in self.deployer.live]


class TestFakeDeployer(DeployerConformance):
    @pytest.fixture
    def case(self) -> FakeCase:
        return FakeCase()


async def test_live_servers_are_counted(tmp_path: Path) -> None:
    deployer = FakeDeployer(max_live=1)
    recorder = Recorder(tmp_path)
    async with deployer.deploy(plan("good"), recorder.context):
        with pytest.raises(AssertionError, match="2 servers are live"):
            async with deployer.deploy(plan("good"), recorder.context):
                pytest.fail("too many")
    assert deployer.most_live == 2
    assert len(deployer.deployed) == len(deployer.released) == 2
    assert deployer.live == []
