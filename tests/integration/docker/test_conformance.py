"""Deployer conformance tests with scripted servers in real containers."""

import os
import socket
from collections.abc import Callable, Collection

import pytest

from autotuner.deployers.docker.deployer import DockerDeployer, DockerSettings
from autotuner.deployers.local.ports import Ports
from autotuner.plugins.deployer import Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import DeployerConformance, Recorder
from autotuner.testing.fake_plans import fake_plan
from autotuner.testing.scripted_case import ScriptedServerCase
from support.labs.docker_engine import OwnEngine
from support.second_listener import check_that_a_second_listener_changes_the_identity

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

Make = Callable[..., DockerDeployer]


class DockerCase(ScriptedServerCase):
    def __init__(self, engine: OwnEngine) -> None:
        self._engine = engine
        self.deployer = DockerDeployer(DockerSettings.model_validate(engine.settings(stop_grace="1s")))

    def argv(self, plan: LaunchPlan, leased: Collection[int]) -> tuple[str, ...]:
        return plan.argv(host="0.0.0.0", port=8000)

    def good(self) -> LaunchPlan:
        return fake_plan(parallel=3, note='two words {"a": "b c"}', child=True, daemon=True)

    def never_ready(self) -> LaunchPlan:
        return fake_plan(1.0, never_ready=True, ignore_sigterm=True, child=True)

    async def kill(self, endpoint: Endpoint) -> None:
        name = (await endpoint.identity()).id
        assert self._engine.api("POST", f"/containers/{name}/kill").status_code == 204

    def left(self) -> list[str]:
        return [container["Names"][0] for container in self._engine.containers()]


class TestDocker(DeployerConformance):
    @pytest.fixture
    def case(self, engine: OwnEngine) -> DockerCase:
        return DockerCase(engine)


class TestOnHostNetwork:
    """The container uses this machine's network: it gets a leased port, and the owner of the socket is checked."""

    @pytest.fixture
    def deployer(self, engine: OwnEngine) -> DockerDeployer:
        first = 26000 + os.getpid() % 2000
        changes = {"network": "host", "ports": (first, first + 40), "stop_grace": "1s"}
        return DockerDeployer(DockerSettings.model_validate(engine.settings(**changes)))

    async def test_server_on_a_leased_port(self, deployer: DockerDeployer, recorder: Recorder) -> None:
        async with deployer.deploy(fake_plan(), recorder.context) as endpoint:
            (port,) = recorder.ports.leased
            assert endpoint.url == f"http://127.0.0.1:{port}"
            assert endpoint.argv == fake_plan().argv(host="127.0.0.1", port=port)
            assert await endpoint.identity() == await endpoint.identity()
            assert "-p" not in endpoint.command
        assert recorder.ports.leased == set()

    async def test_second_listener_changes_the_identity(self, deployer: DockerDeployer, recorder: Recorder) -> None:
        async with deployer.deploy(fake_plan(reuse_port=True), recorder.context) as endpoint:
            (port,) = recorder.ports.leased
            await check_that_a_second_listener_changes_the_identity(endpoint, port)

    async def test_lost_port_causes_another_launch(
        self, deployer: DockerDeployer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Another process binds the port between the check and the server's own bind."""
        monkeypatch.setattr(Ports, "_free", lambda *_: True)
        first = deployer.settings.ports[0]
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", first))
            other.listen()
            async with deployer.deploy(fake_plan(), recorder.context) as endpoint:
                assert endpoint.url.endswith(f":{first + 1}")
        assert recorder.phases == [Phase.LAUNCHING, Phase.LOADING] * 2

    async def test_port_in_use_is_skipped(self, deployer: DockerDeployer, recorder: Recorder) -> None:
        first = deployer.settings.ports[0]
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", first))
            other.listen()
            async with deployer.deploy(fake_plan(), recorder.context) as endpoint:
                assert endpoint.url.endswith(f":{first + 1}")
