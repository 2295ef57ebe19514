"""Servers in pods of a Kubernetes cluster, without any operator: one Job a trial."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import BaseModel

from autotuner.deployers.kubernetes import manifests, model_location
from autotuner.deployers.kubernetes import preflight as kubernetes_preflight
from autotuner.deployers.kubernetes.client import Cluster, connected
from autotuner.deployers.kubernetes.manifests import LONGEST_S, ServerJob
from autotuner.deployers.kubernetes.pod_deployer import PodDeployer, Request
from autotuner.deployers.kubernetes.settings import KubernetesSettings
from autotuner.deployers.shared.failures import failed
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.labels import INSTANCE
from autotuner.manifests.pod import SERVER
from autotuner.plugins.deployer import DeployContext
from autotuner.study.check import Check
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.spec import Model


class KubernetesDeployer(PodDeployer):
    """Starts each server in a pod of its own."""

    kind: ClassVar[str] = "kubernetes"
    Settings: ClassVar[type[BaseModel]] = KubernetesSettings
    plural: ClassVar[str] = "jobs"
    group: ClassVar[str] = BATCH

    settings: KubernetesSettings

    async def request(self, cluster: Cluster, plan: LaunchPlan, context: DeployContext) -> Request:
        """The Job."""
        image = self.image(plan)
        if image is None:
            raise failed(FailureCause.IMAGE_MISSING, "the engine names no image", "set deploy.image")
        for file in plan.needs_files:
            if why := model_location.missing(file, self.settings):
                raise failed(
                    FailureCause.MODEL_MISSING, f"{file} {why}", "list a folder above it in deploy.model_roots"
                )
        name = manifests.unique_name(context.labels.study, context.labels.trial)
        lease_s = await self.lease_s(cluster)
        launch = ServerJob(plan, self.settings, image, name, context.labels, lease_s or LONGEST_S)
        return Request(
            plan=plan,
            name=name,
            body=launch.job(),
            selector=f"{INSTANCE}={name}",
            container=SERVER,
            port=self.settings.container_port,
            requests=launch.resources()["requests"],
            lease_s=lease_s,
        )

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """API server, rights, namespace, nodes, volumes, quotas, and what admission says; nothing is made."""
        try:
            async with connected(self.settings.impatient()) as cluster:
                return await kubernetes_preflight.checks(cluster, list(plans), self.settings)
        except TrialFailedError as error:
            return [kubernetes_preflight.unreachable(error.failure)]

    async def locate(self, model: Model) -> Model:
        """The model as pods find it: in the volume, under a root, or a hub's name."""
        return model_location.locate(model, self.settings)

    def image(self, plan: LaunchPlan) -> str | None:
        """The settings' image, else the engine's, with its tag."""
        return self.settings.image_name(plan.image)
