"""What a study file can say about pods: checked when the file is read, before any cluster is asked."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from autotuner.deployers._image_name import check_tags, image_name
from autotuner.study.text import Duration

_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei)?")
_FACTORS = {"m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
            "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60}  # fmt: skip
_QUICK_S = 5.0
OWN = "autotuner/"
"""Prefix of the labels and annotations that say whose an object is."""


def amount(text: str | int | float) -> float:
    """A Kubernetes quantity (``500m``, ``16Gi``, ``4``) as a number. Raises ValueError."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text} is no quantity; write e.g. 500m, 4, 512Mi or 16Gi")
    return float(match[1]) * _FACTORS.get(match[2] or "", 1.0)


def _quantity(value: Any) -> Any:
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if isinstance(text, str) and amount(text) <= 0:
        raise ValueError("must be more than 0")
    return text


Name = Annotated[str, Field(pattern=_NAME)]
Quantity = Annotated[str, BeforeValidator(_quantity, json_schema_input_type=str | int | float)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(_Part):
    """A PersistentVolumeClaim that holds models."""

    claim: Name
    sub_path: str | None = Field(default=None, pattern=r"^[^/].*$")
    """Folder inside the volume; unset: all of it."""
    mount_path: str = Field(default="/models", pattern=r"^/.+$")
    """Where the server sees it; the model's path is below this."""


class SecretKey(_Part):
    """One value in a Secret of the namespace, by name: the value itself is never in a study."""

    name: Name
    key: str = Field(default="token", pattern=r"^[A-Za-z0-9._-]+$")


class EnvFrom(_Part):
    """Environment variables out of a Secret or a ConfigMap of the namespace."""

    secret: Name | None = None
    config_map: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret is None) == (self.config_map is None):
            raise ValueError("give either secret or config_map")
        return self

    @property
    def source(self) -> dict[str, Any]:
        """As in a container's ``envFrom``."""
        return {"secretRef": {"name": self.secret}} if self.secret else {"configMapRef": {"name": self.config_map}}


class PodSettings(_Part):
    """Settings that every deployer has whose servers run in pods."""

    kubeconfig: str | None = Field(default=None, min_length=1)
    """Path of the configuration; unset: ``KUBECONFIG``, ``~/.kube/config``, else the pod that the tuner runs in."""
    context: str | None = Field(default=None, min_length=1)
    """Context in it; unset: the current one."""
    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    """Unset: the context's."""
    start_timeout: Duration | None = Field(default=None, gt=0)
    """Longest time from the server's start to ready; unset: the engine's."""
    schedule_timeout: Duration = Field(default=600.0, gt=0)
    """Longest wait for a node with room."""
    pull_timeout: Duration = Field(default=1800.0, gt=0)
    """Longest time from a node to the server's start: images, volumes."""
    stop_grace: Duration = Field(default=5.0, ge=0)
    """Time between SIGTERM and SIGKILL."""
    api_patience: Duration = Field(default=60.0, ge=0)
    """How long an API server that does not answer is waited for."""
    load: Literal["job", "port-forward", "direct"] = "job"
    """Where the load comes from: a Job in the cluster, or this machine through a tunnel or straight."""
    loadgen_image: str | None = Field(default=None, min_length=1)
    """Image of the Job: any with this version of autotuner installed."""
    loadgen_python: str = Field(default="python3", min_length=1)
    """The Python in it that has autotuner."""
    loadgen_cpu: Quantity = "1"
    loadgen_memory: Quantity = "1Gi"
    loadgen_node_selector: Mapping[str, str] = Field(default_factory=dict)
    """Labels of nodes for the Job, to keep it off the server's."""
    url_template: str | None = Field(default=None, pattern=r"^https?://")
    """For ``load: direct``: the server's address as seen from here, with ``{ip}``, ``{port}``, ``{name}``,
    ``{namespace}``; unset: ``http://{ip}:{port}``."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Name, ...] = ()

    def impatient(self) -> Self:
        """The same for a call that a person waits for."""
        return self.model_copy(update={"api_patience": min(self.api_patience, _QUICK_S)})

    @model_validator(mode="after")
    def _load(self) -> Self:
        if self.url_template is not None:
            if self.load != "direct":
                raise ValueError(f"url_template needs load: direct, not {self.load}")
            try:
                self.url_template.format(ip="", port=1, name="", namespace="")
            except (KeyError, IndexError, ValueError):
                raise ValueError("url_template knows {ip}, {port}, {name} and {namespace} only") from None
        return self


class ServerSettings(PodSettings):
    """Settings that every deployer has whose pods are servers."""

    image: str | None = Field(default=None, min_length=1)
    """Repository or full name; unset: the engine's own, or that of the cluster's runtime."""
    image_tag: str | None = Field(default=None, pattern=r"^[\w][\w.-]{0,127}$")
    """Tag of the image, in place of its own."""
    cpu: Quantity | None = None
    """Requested CPUs."""
    memory: Quantity | None = None
    """Requested memory, and its limit."""
    gpu_resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    gpus: int | None = Field(default=None, ge=1)
    """GPUs to use together; unset: what the nodes have. To be given where nodes come on demand."""
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """As in a pod's specification."""
    service_account: Name | None = None
    priority_class: Name | None = None
    runtime_class: Name | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    env_from: tuple[EnvFrom, ...] = ()
    kueue_queue: Name | None = None
    """Kueue's local queue that servers wait in."""
    queue_timeout: Duration = Field(default=24 * 3600.0, gt=0)
    """Longest wait in a queue, or for others to leave room in the namespace's quota."""

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for key, text in value.items():
            if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(text):
                raise ValueError(f"{key}: {text} is no label of Kubernetes")
        return cls._not_ours(value)

    @field_validator("annotations")
    @classmethod
    def _not_ours(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for key in value:
            if key.startswith(OWN) or key == "app.kubernetes.io/managed-by":
                raise ValueError(f"{key} is how the tuner finds its own; choose another")
        return value

    @model_validator(mode="after")
    def _tags(self) -> Self:
        check_tags(self.image, self.image_tag)
        return self

    def image_name(self, others: str | None) -> str | None:
        """The image to run, with its tag; ``others`` is what engine or runtime propose. None where nobody names one."""
        return image_name(self.image, self.image_tag, others)


class KubernetesSettings(ServerSettings):
    """Settings of the deployer ``kubernetes`` in a study file."""

    model_roots: tuple[str, ...] = ()
    """Folders of the nodes that hold models; the one above the model is shown to the server, read-only."""
    pvc: Claim | None = None
    """Volume that holds models, in place of folders of the nodes."""
    cache_pvc: Name | None = None
    """Claim that keeps what a hub was asked for; unset: fetched again by every trial."""
    hub_token_secret: SecretKey | None = None
    shm_size: Quantity = "16Gi"
    """Size of ``/dev/shm``; it counts as memory. Tensor parallelism needs much of it."""
    container_port: int = Field(default=8000, ge=1, le=65535)

    @field_validator("model_roots")
    @classmethod
    def _roots(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for root in value:
            path = PurePosixPath(root)
            if not path.is_absolute() or ".." in path.parts or len(path.parts) == 1:
                raise ValueError(f"{root} is no root for models; write an absolute folder other than /")
        return value

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.pvc and self.model_roots:
            raise ValueError("models come from pvc or from model_roots, not from both")
        return self


class OmeSettings(ServerSettings):
    """Settings of the deployer ``ome`` in a study file. What is unset is the runtime's."""

    runtime: Name | None = None
    """ServingRuntime of the namespace, else ClusterServingRuntime. A study needs it; a diagnosis does not."""
    accept_timeout: Duration = Field(default=60.0, gt=0)
    """Longest wait for OME to make a Deployment of an InferenceService."""
    ome_namespace: Name = "ome"
    """Where OME itself runs."""
