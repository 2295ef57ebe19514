"""Servers in real containers of a real engine, with a scripted server."""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import ClassVar

import httpx
import pytest

from autotuner.deployers.docker import DockerDeployer, DockerSettings
from autotuner.seams.deployer import Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.testing.deployer_kit import DeployerCase, DeployerConformance
from autotuner.testing.docker_engine import OwnEngine
from autotuner.testing.fake_plans import fake_plan

pytestmark = [pytest.mark.anyio, pytest.mark.docker]

Make = Callable[..., DockerDeployer]


class DockerCase(DeployerCase):
    leases: ClassVar[int] = 0

    def __init__(self, engine: OwnEngine) -> None:
        self._engine = engine
        self.deployer = DockerDeployer(DockerSettings.model_validate(engine.settings(stop_grace="1s")))

    def argv(self, plan: LaunchPlan, leased: Collection[int]) -> tuple[str, ...]:
        return plan.argv(host="0.0.0.0", port=8000)

    def good(self) -> LaunchPlan:
        return fake_plan(parallel=3, note='two words {"a": "b c"}', child=True, daemon=True)

    def dies_loading(self) -> LaunchPlan:
        return fake_plan(never_ready=True, exit_after=0.1, exit_code=3, say="broken", child=True)

    def never_ready(self) -> LaunchPlan:
        return fake_plan(1.0, never_ready=True, ignore_sigterm=True, child=True)

    def dies_later(self) -> LaunchPlan:
        return fake_plan(exit_requests=1, exit_code=3)

    async def provoke(self, endpoint: Endpoint) -> None:
        async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as client:
            with suppress(httpx.HTTPError):
                await client.post("/v1/completions", json={"max_tokens": 1})

    async def kill(self, endpoint: Endpoint) -> None:
        name = (await endpoint.identity()).id
        assert self._engine.api("POST", f"/containers/{name}/kill").status_code == 204

    async def answers(self, url: str) -> bool:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            with suppress(httpx.HTTPError):
                return (await client.get("/health")).status_code == 200
        return False

    def left(self) -> list[str]:
        return [container["Names"][0] for container in self._engine.containers()]


class TestDocker(DeployerConformance):
    @pytest.fixture
    def case(self, engine: OwnEngine) -> DockerCase:
        return DockerCase(engine)


class OnHostCase(DockerCase):
    """The container shares this machine's network."""

    leases: ClassVar[int] = 1

    def __init__(self, engine: OwnEngine) -> None:
        super().__init__(engine)
        first = 26000 + os.getpid() % 2000
        changes = {"network": "host", "ports": (first, first + 40), "stop_grace": "1s"}
        self.deployer = DockerDeployer(DockerSettings.model_validate(engine.settings(**changes)))

    def argv(self, plan: LaunchPlan, leased: Collection[int]) -> tuple[str, ...]:
        return DeployerCase.argv(self, plan, leased)


class TestDockerOnHostNetwork(DeployerConformance):
    @pytest.fixture
    def case(self, engine: OwnEngine) -> OnHostCase:
        return OnHostCase(engine)
