"""Servers in pods of a Kubernetes cluster, without any operator: one Job per trial."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

from pydantic import BaseModel

from autotuner.deployers.kubernetes import model_location
from autotuner.deployers.kubernetes import preflight as kubernetes_preflight
from autotuner.deployers.kubernetes.client import Cluster
from autotuner.deployers.kubernetes.cluster_target import ClusterTarget
from autotuner.deployers.kubernetes.pod_deployer import PodDeployer
from autotuner.deployers.kubernetes.pods.job_server import JOBS, JobServer
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.plugins.deployer import BoundDeployer, DeployContext, Endpoint
from autotuner.study.check import Check
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.spec import Model


class KubernetesDeployer(ClusterTarget, BoundDeployer):
    """Starts each server in a pod of its own."""

    kind: ClassVar[str] = "kubernetes"
    Settings: ClassVar[type[BaseModel]] = KubernetesSettings

    settings: KubernetesSettings

    def __init__(self, settings: KubernetesSettings) -> None:
        super().__init__(settings, JOBS)
        self._pods = PodDeployer(settings, JOBS, self._job)

    def deploy(self, plan: LaunchPlan, context: DeployContext) -> AbstractAsyncContextManager[Endpoint]:
        """Starts a pod; see :meth:`autotuner.plugins.deployer.BoundDeployer.deploy`."""
        return self._pods.deploy(plan, context)

    async def _job(
        self, cluster: Cluster, plan: LaunchPlan, context: DeployContext, lease_s: float | None
    ) -> JobServer:
        image = self.image(plan)
        if image is None:
            raise TrialFailedError.because(
                FailureCause.IMAGE_MISSING, "no image is set, and the engine has no default", remedy="set deploy.image"
            )
        for file in plan.needs_files:
            if why := model_location.missing(file, self.settings):
                remedy = "add a folder that contains it to deploy.model_roots"
                raise TrialFailedError.because(FailureCause.MODEL_MISSING, f"{file} {why}", remedy=remedy)
        return JobServer(cluster, self.settings, plan, context.labels, image=image, lease_s=lease_s)

    async def checks(self, cluster: Cluster, plans: Sequence[LaunchPlan]) -> list[Check]:
        """Checks API server, permissions, namespace, nodes, volumes, quotas, and admission by dry runs."""
        return await kubernetes_preflight.checks(cluster, plans, self.settings)

    async def locate(self, model: Model) -> Model:
        """Returns the model as pods find it: in the volume, under a root, or by its name on the Hub."""
        return model_location.locate(model, self.settings)

    def image(self, plan: LaunchPlan) -> str | None:
        """Returns the settings' image, else the engine's, with the settings' tag."""
        return self.settings.image_name(plan.image)
