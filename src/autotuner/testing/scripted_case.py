"""A deployer's case whose servers are :mod:`autotuner.testing.fake_server`, wherever they run."""

from contextlib import suppress
from typing import ClassVar

import httpx

from autotuner.plugins.deployer import Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.testing.deployer_kit import DeployerCase
from autotuner.testing.fake_plans import fake_plan


class ScriptedServerCase(DeployerCase):
    """Subclasses add a good plan, killing a server from outside, and finding leftovers."""

    leases: ClassVar[int] = 0
    patience_s: ClassVar[float] = 5.0
    """Seconds to wait for a response; an unassigned address may drop packets silently."""

    def dies_loading(self) -> LaunchPlan:
        """Exits by itself, and has a child."""
        return fake_plan(never_ready=True, exit_after=0.1, exit_code=3, say="broken", child=True)

    def never_ready(self) -> LaunchPlan:
        """Ignores SIGTERM as well."""
        return fake_plan(1.0, never_ready=True, ignore_sigterm=True)

    def dies_later(self) -> LaunchPlan:
        """Exits at its first request."""
        return fake_plan(exit_requests=1, exit_code=3)

    async def provoke(self, endpoint: Endpoint) -> None:
        """Sends that request."""
        async with httpx.AsyncClient(base_url=endpoint.url, trust_env=False) as client:
            with suppress(httpx.HTTPError):
                await client.post("/v1/completions", json={"max_tokens": 1})

    async def answers(self, url: str) -> bool:
        """Whether ``/health`` returns 200."""
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=self.patience_s) as client:
            with suppress(httpx.HTTPError):
                return (await client.get("/health")).status_code == 200
        return False
