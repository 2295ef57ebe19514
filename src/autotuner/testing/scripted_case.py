"""A deployer's case whose servers are :mod:`autotuner.testing.fake_server`, wherever they run."""

from contextlib import suppress
from typing import ClassVar

import httpx

from autotuner.plugins.deployer import Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.testing.deployer_kit import DeployerCase
from autotuner.testing.fake_plans import fake_plan


class ScriptedServerCase(DeployerCase):
    """What is left to say: a good plan, how a server is killed from outside, and what is left."""

    leases: ClassVar[int] = 0
    patience_s: ClassVar[float] = 5.0
    """How long an answer is waited for; an address that is nobody's may swallow what is sent to it."""

    def dies_loading(self) -> LaunchPlan:
        """By itself, with a child."""
        return fake_plan(never_ready=True, exit_after=0.1, exit_code=3, say="broken", child=True)

    def never_ready(self) -> LaunchPlan:
        """And would outlive SIGTERM."""
        return fake_plan(1.0, never_ready=True, ignore_sigterm=True)

    def dies_later(self) -> LaunchPlan:
        """At its first request."""
        return fake_plan(exit_requests=1, exit_code=3)

    async def provoke(self, endpoint: Endpoint) -> None:
        """Sends that request."""
        async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as client:
            with suppress(httpx.HTTPError):
                await client.post("/v1/completions", json={"max_tokens": 1})

    async def answers(self, url: str) -> bool:
        """Whether it calls itself well."""
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=self.patience_s) as client:
            with suppress(httpx.HTTPError):
                return (await client.get("/health")).status_code == 200
        return False
