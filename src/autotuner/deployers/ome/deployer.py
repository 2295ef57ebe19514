"""Servers as InferenceServices of OME (Open Model Engine), by the settings alone: no study is known yet."""

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
    """A cluster with OME. Which runtime and which model a study tunes is known once it is bound."""

    kind: ClassVar[str] = "ome"
    Settings: ClassVar[type[BaseModel]] = OmeSettings

    settings: OmeSettings

    def __init__(self, settings: OmeSettings) -> None:
        super().__init__(settings, INFERENCE_SERVICES)
        self.platform_benchmark = BenchmarkJobs(settings)

    def bind(self, engine: Engine, model: Model) -> BoundOmeDeployer:
        """For servers of this engine, of OME's model with this name."""
        return BoundOmeDeployer(self.settings, engine, model)

    async def checks(self, cluster: Cluster, plans: Sequence[LaunchPlan]) -> list[Check]:
        """The cluster, OME and the nodes."""
        return await ome_preflight.checks(cluster, plans, self.settings)

    def image(self, plan: LaunchPlan) -> str | None:
        """The settings' image; None: the runtime's, whatever that is."""
        return self.settings.image_name(None) if self.settings.image else None
