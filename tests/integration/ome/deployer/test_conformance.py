"""Conformance of the OME deployer, with a scripted server."""

from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import pytest

from autotuner.plugins.deployer import Endpoint, HasBaseArguments
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import DeployerConformance, Recorder
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from autotuner.testing.fake_plans import fake_plan
from autotuner.testing.scripted_case import ScriptedServerCase

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]


class OmeCase(ScriptedServerCase):
    patience_s: ClassVar[float] = 2.0
    phases: ClassVar[tuple[Phase, ...]] = (Phase.LAUNCHING, Phase.ACCEPTED, Phase.SCHEDULED, Phase.LOADING)

    def __init__(self, at: Any) -> None:
        self.deployer = at.deployer()
        self._at = at

    def argv(self, plan: LaunchPlan, leased: Collection[int]) -> tuple[str, ...]:
        """The runtime's command line, then the plan's flags."""
        given = self._at.fake_runtime()["spec"]["engineConfig"]["runner"]
        engine = FakeEngine(FakeEngineSettings())
        flags = [word for flag in plan.flags for word in flag.argv() if not word.startswith("--model")]
        return engine.override((*given["command"], *given["args"]), engine.read(("program", *flags)).single)

    def good(self) -> LaunchPlan:
        return fake_plan(parallel=3, note='with spaces {"a": "b c"} $(HOME) $$')

    async def kill(self, endpoint: Endpoint) -> None:
        self._at.kill()

    def left(self) -> list[str]:
        return self._at.left()


class TestOme(DeployerConformance):
    @pytest.fixture
    def case(self, at: Any) -> OmeCase:
        return OmeCase(at)

    async def test_reading_base_arguments_does_not_change_launches(
        self, case: OmeCase, recorder: Recorder, tmp_path: Path
    ) -> None:
        async with case.deployer.deploy(case.good(), recorder.context) as endpoint:
            before = endpoint.argv
        assert isinstance(case.deployer, HasBaseArguments)
        base = await case.deployer.base_arguments()
        assert await case.deployer.base_arguments() == base
        async with case.deployer.deploy(case.good(), Recorder(tmp_path / "again").context) as endpoint:
            assert endpoint.argv == before
