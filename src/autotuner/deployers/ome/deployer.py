"""Deployer for InferenceServices of OME (Open Model Engine), before it is bound to a study."""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import BaseModel

from autotuner.deployers.kubernetes.client import Cluster
from autotuner.deployers.kubernetes.cluster_target import ClusterTarget
from autotuner.deployers.ome import preflight as ome_preflight
from autotuner.deployers.ome.benchmark_job import BenchmarkJobs
from autotuner.deployers.ome.service_server import INFERENCE_SERVICES
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.deployers.ome.study_deployer import BoundOmeDeployer
from autotuner.plugins.engine import Engine
from autotuner.study.check import Check
from autotuner.study.launch import LaunchPlan
from autotuner.study.spec import Model


class OmeDeployer(ClusterTarget):
    """A cluster with OME. Engine and model are known once the deployer is bound."""

    kind: ClassVar[str] = "ome"
    Settings: ClassVar[type[BaseModel]] = OmeSettings

    settings: OmeSettings

    def __init__(self, settings: OmeSettings) -> None:
        super().__init__(settings, INFERENCE_SERVICES)
        self.platform_benchmark = BenchmarkJobs(settings)

    def bind(self, engine: Engine, model: Model) -> BoundOmeDeployer:
        """Binds the deployer to servers of this engine with OME's model of this name."""
        return BoundOmeDeployer(self.settings, engine, model)

    async def checks(self, cluster: Cluster, plans: Sequence[LaunchPlan]) -> list[Check]:
        """Checks the cluster, OME and the nodes."""
        return await ome_preflight.checks(cluster, plans, self.settings)

    def image(self, plan: LaunchPlan) -> str | None:
        """Returns the settings' image; None: the runtime decides."""
        return self.settings.image_name(None) if self.settings.image else None
