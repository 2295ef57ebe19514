"""Servers as InferenceServices of OME (Open Model Engine), by the settings alone: no study is known yet."""

from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from pydantic import BaseModel

from autotuner.deployers.kubernetes import preflight as kubernetes_preflight
from autotuner.deployers.kubernetes.client import Cluster, connected
from autotuner.deployers.kubernetes.inventory import NodeInventory
from autotuner.deployers.kubernetes.pods.leftovers import PodLeftovers
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.deployers.ome import preflight as ome_preflight
from autotuner.deployers.ome.benchmark_job import BenchmarkJobs
from autotuner.deployers.ome.service_server import INFERENCE_SERVICES
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.deployers.ome.study_deployer import BoundOmeDeployer
from autotuner.plugins.deployer import Deployer
from autotuner.plugins.engine import Engine
from autotuner.study.check import Check
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import Gpu, Hardware, LaunchPlan
from autotuner.study.spec import Model


class OmeDeployer(Deployer):
    """A cluster with OME. Which runtime and which model a study tunes is known once it is bound."""

    kind: ClassVar[str] = "ome"
    Settings: ClassVar[type[BaseModel]] = OmeSettings

    settings: OmeSettings

    def __init__(self, settings: OmeSettings) -> None:
        super().__init__(settings)
        self.platform_benchmark = BenchmarkJobs(settings)
        self._leftovers = PodLeftovers(settings, INFERENCE_SERVICES)
        self._nodes = NodeInventory(settings, self.kind, self._placing)

    def bind(self, engine: Engine, model: Model) -> BoundOmeDeployer:
        """For servers of this engine, of OME's model with this name."""
        return BoundOmeDeployer(self.settings, engine, model)

    async def _placing(self, _: Cluster) -> ServerSettings:
        return self.settings

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """The cluster, OME and the nodes. Changes nothing."""
        try:
            async with connected(self.settings.impatient()) as cluster:
                return await ome_preflight.checks(cluster, list(plans), self.settings)
        except TrialFailedError as error:
            return [kubernetes_preflight.unreachable(error.failure)]

    async def hardware(self) -> Hardware:
        """The largest node's. Raises :class:`UnusableTargetError`."""
        return await self._nodes.hardware()

    async def gpus(self) -> Sequence[Gpu]:
        """A place for each GPU of the usable nodes."""
        return await self._nodes.gpus()

    async def reap(self, is_dead: Callable[[str], bool], *, study: str | None = None) -> list[str]:
        """Removes the services of dead owners, and what belongs to them."""
        return await self._leftovers.reap(is_dead, study)

    def image(self, plan: LaunchPlan) -> str | None:
        """The settings' image; None: the runtime's, whatever that is."""
        return self.settings.image_name(None) if self.settings.image else None
