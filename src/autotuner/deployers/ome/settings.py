"""Settings of the deployer ``ome``; checked when the study file is read, before any cluster is contacted."""

from pydantic import Field

from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.manifests.pod_settings import Name
from autotuner.manifests.source_platform import Origin
from autotuner.study.launch import LaunchPlan
from autotuner.study.text.forms import Duration
from autotuner.study.trial import Trial


class OmeSettings(ServerSettings):
    """Settings of the deployer ``ome`` in a study file. Unset settings are the runtime's."""

    runtime: Name | None = None
    """ServingRuntime of the namespace, else ClusterServingRuntime. Required for studies only."""
    accept_timeout: Duration = Field(default=60.0, gt=0)
    """Longest wait for OME to create a Deployment for an InferenceService."""
    ome_namespace: Name = "ome"
    """Namespace in which OME itself runs."""

    def origin(self, plan: LaunchPlan, trial: Trial) -> Origin:
        """Returns the pod settings of the study, and the runtime that provides the rest."""
        return Origin(
            pod=self,
            namespace=self.namespace,
            runtime=self.runtime,
            runtime_image_tag=None if self.image else self.image_tag,
        )
