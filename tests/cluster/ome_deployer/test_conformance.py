"""What every deployer must keep, as InferenceServices with a scripted server."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any, ClassVar

import httpx
import pytest

from autotuner.seams.deployer import Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.testing.deployer_kit import DeployerCase, DeployerConformance
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.testing.fake_plans import fake_plan

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]


class OmeCase(DeployerCase):
    leases: ClassVar[int] = 0

    def __init__(self, at: Any) -> None:
        self.deployer, self._at = at.deployer(), at

    def argv(self, plan: LaunchPlan, leased: Collection[int]) -> tuple[str, ...]:
        """The runtime's own words, then everything of the plan."""
        given = self._at.fake_runtime()["spec"]["engineConfig"]["runner"]
        engine = FakeEngine(FakeEngineSettings())
        flags = [word for flag in plan.flags for word in flag.argv() if not word.startswith("--model")]
        return engine.override((*given["command"], *given["args"]), engine.read(("program", *flags)).single)

    def good(self) -> LaunchPlan:
        return fake_plan(parallel=3, note='two words {"a": "b c"} $(HOME) $$')

    def dies_loading(self) -> LaunchPlan:
        return fake_plan(never_ready=True, exit_after=0.1, exit_code=3, say="broken", child=True)

    def never_ready(self) -> LaunchPlan:
        return fake_plan(1.0, never_ready=True, ignore_sigterm=True)

    def dies_later(self) -> LaunchPlan:
        return fake_plan(exit_requests=1, exit_code=3)

    async def provoke(self, endpoint: Endpoint) -> None:
        async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as client:
            with suppress(httpx.HTTPError):
                await client.post("/v1/completions", json={"max_tokens": 1})

    async def kill(self, endpoint: Endpoint) -> None:
        self._at.kill()

    async def answers(self, url: str) -> bool:
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=2) as client:
            with suppress(httpx.HTTPError):
                return (await client.get("/health")).status_code == 200
        return False

    def left(self) -> list[str]:
        return self._at.left()


class TestOme(DeployerConformance):
    @pytest.fixture
    def case(self, at: Any) -> OmeCase:
        return OmeCase(at)
