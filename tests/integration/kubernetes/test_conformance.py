"""Conformance of the Kubernetes deployer, with a scripted server in real pods."""

from collections.abc import Collection
from typing import Any, ClassVar

import pytest

from autotuner.plugins.deployer import Endpoint
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import DeployerConformance
from autotuner.testing.fake_plans import fake_plan
from autotuner.testing.scripted_case import ScriptedServerCase

pytestmark = [pytest.mark.anyio, pytest.mark.cluster]


class KubernetesCase(ScriptedServerCase):
    patience_s: ClassVar[float] = 2.0
    phases: ClassVar[tuple[Phase, ...]] = (Phase.LAUNCHING, Phase.SCHEDULED, Phase.LOADING)

    def __init__(self, kube: Any) -> None:
        self.deployer = kube.deployer()
        self._kube = kube

    def argv(self, plan: LaunchPlan, leased: Collection[int]) -> tuple[str, ...]:
        return plan.argv(host="0.0.0.0", port=8000)

    def good(self) -> LaunchPlan:
        return self._kube.polite(fake_plan(parallel=3, note='two words {"a": "b c"} $(HOME) $$'))

    async def kill(self, endpoint: Endpoint) -> None:
        self._kube.kill()

    def left(self) -> list[str]:
        return self._kube.left()


class TestKubernetes(DeployerConformance):
    @pytest.fixture
    def case(self, kube: Any) -> KubernetesCase:
        return KubernetesCase(kube)
