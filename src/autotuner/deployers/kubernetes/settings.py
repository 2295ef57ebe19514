"""Settings of the deployers that use pods; checked when the study file is read, before any cluster is contacted."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from autotuner.manifests.image_name import check_tags, image_name
from autotuner.manifests.labels import not_ours, valid_labels
from autotuner.manifests.pod import gpu_toleration
from autotuner.manifests.pod_settings import (
    DNS_LABEL,
    Name,
    PlainPod,
    Quantity,
    ServerPod,
    Tolerations,
)
from autotuner.manifests.security import CONTAINER_FIELDS, POD_FIELDS, check_fields
from autotuner.manifests.source_platform import Origin
from autotuner.study.launch import LaunchPlan
from autotuner.study.text.forms import Duration
from autotuner.study.trial import Trial

_QUICK_S = 5.0


class PodSettings(ServerPod):
    """Settings shared by all deployers that run servers in pods."""

    kubeconfig: str | None = Field(default=None, min_length=1)
    """Path of the configuration; unset: ``KUBECONFIG``, ``~/.kube/config``, else the pod that the tuner runs in."""
    context: str | None = Field(default=None, min_length=1)
    """Context in it; unset: the current one."""
    namespace: str | None = Field(default=None, pattern=DNS_LABEL)
    """Namespace; unset: the context's."""
    start_timeout: Duration | None = Field(default=None, gt=0)
    """Longest time from the server's start to ready; unset: the engine's."""
    schedule_timeout: Duration = Field(default=600.0, gt=0)
    """Longest wait for a node with enough free resources."""
    pull_timeout: Duration = Field(default=1800.0, gt=0)
    """Longest time between scheduling and the server's start: pulling images, mounting volumes."""
    stop_grace: Duration = Field(default=5.0, ge=0)
    """Time between SIGTERM and SIGKILL."""
    api_patience: Duration = Field(default=60.0, ge=0)
    """How long to wait for an API server that does not respond."""
    load: Literal["job", "port-forward", "direct"] = "job"
    """Where the load comes from: a Job in the cluster, or this machine, through a tunnel or directly."""
    loadgen_image: str | None = Field(default=None, min_length=1)
    """Image of the Job, with this version of autotuner installed."""
    loadgen_python: str = Field(default="python3", min_length=1)
    """Python interpreter in that image that has autotuner."""
    loadgen_cpu: Quantity = "1"
    loadgen_cpu_limit: Quantity | None = None
    loadgen_memory: Quantity = "1Gi"
    loadgen_ephemeral_storage: Quantity | None = None
    loadgen_node_selector: Mapping[str, str] = Field(default_factory=dict)
    """Labels of nodes for the Job, to keep it off the server's node."""
    loadgen_tolerations: Tolerations | None = None
    """As in a pod's specification. This and the following settings default to the server's."""
    loadgen_labels: Mapping[str, str] | None = None
    loadgen_annotations: Mapping[str, str] | None = None
    loadgen_service_account: Name | None = None
    loadgen_priority_class: Name | None = None
    loadgen_security_context: Mapping[str, Any] | None = None
    loadgen_container_security_context: Mapping[str, Any] | None = None
    url_template: str | None = Field(default=None, pattern=r"^https?://")
    """For ``load: direct``: the server's address as seen from here, with ``{ip}``, ``{port}``, ``{name}``,
    ``{namespace}``; unset: ``http://{ip}:{port}``."""

    @field_validator("loadgen_labels")
    @classmethod
    def _loadgen_labels(cls, value: Mapping[str, str] | None) -> Mapping[str, str] | None:
        return None if value is None else not_ours(valid_labels(value))

    @field_validator("loadgen_annotations")
    @classmethod
    def _loadgen_annotations(cls, value: Mapping[str, str] | None) -> Mapping[str, str] | None:
        return None if value is None else not_ours(value)

    @field_validator("loadgen_security_context")
    @classmethod
    def _loadgen_pod_security(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return None if value is None else check_fields(value, POD_FIELDS)

    @field_validator("loadgen_container_security_context")
    @classmethod
    def _loadgen_container_security(cls, value: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        return None if value is None else check_fields(value, CONTAINER_FIELDS)

    def load_pod(self) -> ServerPod:
        """Returns the settings of the load generator's pod: the server's unless overridden.

        It gets neither the server's node selector, since GPU nodes are for servers, nor the Secrets in its environment.
        """
        tolerations = self.loadgen_tolerations
        context = self.loadgen_security_context
        container_context = self.loadgen_container_security_context
        return ServerPod(
            image_pull_policy=self.image_pull_policy,
            image_pull_secrets=self.image_pull_secrets,
            cpu=self.loadgen_cpu,
            cpu_limit=self.loadgen_cpu_limit,
            memory=self.loadgen_memory,
            ephemeral_storage=self.loadgen_ephemeral_storage,
            gpu_resource=self.gpu_resource,
            node_selector=self.loadgen_node_selector,
            # The server tolerates nodes reserved for GPUs; without other nodes, the load generator must run there too.
            tolerations=(*self.tolerations, gpu_toleration(self.gpu_resource)) if tolerations is None else tolerations,
            service_account=self.loadgen_service_account or self.service_account,
            priority_class=self.loadgen_priority_class or self.priority_class,
            labels=self.labels if self.loadgen_labels is None else self.loadgen_labels,
            annotations=self.annotations if self.loadgen_annotations is None else self.loadgen_annotations,
            security=self.security,
            security_context=self.security_context if context is None else context,
            container_security_context=self.container_security_context
            if container_context is None
            else container_context,
        )

    def impatient(self) -> Self:
        """Returns the settings with a short patience, for calls that a user waits for."""
        return self.model_copy(update={"api_patience": min(self.api_patience, _QUICK_S)})

    @model_validator(mode="after")
    def _load(self) -> Self:
        if self.url_template is not None:
            if self.load != "direct":
                raise ValueError(f"url_template needs load: direct, not {self.load}")
            try:
                self.url_template.format(ip="", port=1, name="", namespace="")
            except (KeyError, IndexError, ValueError):
                raise ValueError("url_template may contain only {ip}, {port}, {name} and {namespace}") from None
        return self


class ServerSettings(PodSettings):
    """Settings shared by all deployers whose servers are pods."""

    image: str | None = Field(default=None, min_length=1)
    """Repository or full name; unset: the engine's own, or that of the cluster's runtime."""
    image_tag: str | None = Field(default=None, pattern=r"^[\w][\w.-]{0,127}$")
    """Tag of the image, in place of its own."""
    gpus: int | None = Field(default=None, ge=1)
    """Total number of GPUs to use; unset: those of the nodes. Set it for clusters that add nodes on demand."""
    queue_timeout: Duration = Field(default=24 * 3600.0, gt=0)
    """Longest wait in a queue, or for room in the namespace's quota."""

    @model_validator(mode="after")
    def _tags(self) -> Self:
        check_tags(self.image, self.image_tag)
        return self

    def image_name(self, default: str | None) -> str | None:
        """Returns the image to run, with its tag, or None. ``default`` is the engine's or the runtime's."""
        return image_name(self.image, self.image_tag, default)


class KubernetesSettings(PlainPod, ServerSettings):
    """Settings of the deployer ``kubernetes`` in a study file."""

    def origin(self, plan: LaunchPlan, trial: Trial) -> Origin:
        """Returns the pod settings of the study."""
        return Origin(pod=self, namespace=self.namespace)
