"""What a study file can say about its pods, whatever makes them; checked when the file is read."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from autotuner.manifests.security import CONTAINER_FIELDS, POD_FIELDS, check_fields
from autotuner.manifests.text import amount, positive

OWN = "autotuner/"
"""Prefix of the labels and annotations that say whose an object is."""
QUEUE = "kueue.x-k8s.io/queue-name"
"""Label that names Kueue's local queue."""
_MANAGED_BY = "app.kubernetes.io/managed-by"
_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_TOLERATION_FIELDS = frozenset({"key", "operator", "value", "effect", "tolerationSeconds"})

Name = Annotated[str, Field(pattern=_NAME)]
Quantity = Annotated[str, BeforeValidator(positive, json_schema_input_type=str | int | float)]


def _tolerations(value: Any) -> Any:
    for toleration in value if isinstance(value, list | tuple) else ():
        unknown = sorted(set(toleration) - _TOLERATION_FIELDS) if isinstance(toleration, Mapping) else []
        if unknown:
            raise ValueError(f"unknown field {unknown[0]}; a toleration has {', '.join(sorted(_TOLERATION_FIELDS))}")
    return value


Tolerations = Annotated[tuple[Mapping[str, Any], ...], BeforeValidator(_tolerations)]


class Part(BaseModel):
    """A part of a study's ``deploy`` section."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Claim(Part):
    """A PersistentVolumeClaim that holds models."""

    claim: Name
    sub_path: str | None = Field(default=None, pattern=r"^[^/].*$")
    """Folder inside the volume; unset: all of it."""
    mount_path: str = Field(default="/models", pattern=r"^/.+$")
    """Where the server sees it; the model's path is below this."""


class SecretKey(Part):
    """One value in a Secret of the namespace, by name: the value itself is never in a study."""

    name: Name
    key: str = Field(default="token", pattern=r"^[A-Za-z0-9._-]+$")


class EnvFrom(Part):
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


class ServerPod(Part):
    """The server's pod, as far as the study decides it."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Name, ...] = ()
    cpu: Quantity | None = None
    """Requested CPUs."""
    cpu_limit: Quantity | None = None
    """Limit of CPUs; unset: none, since a limit throttles."""
    memory: Quantity | None = None
    """Requested memory, and its limit."""
    ephemeral_storage: Quantity | None = None
    """Requested room on the node's disk, and its limit."""
    gpu_resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    tolerations: Tolerations = ()
    """As in a pod's specification."""
    service_account: Name | None = None
    priority_class: Name | None = None
    runtime_class: Name | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    env_from: tuple[EnvFrom, ...] = ()
    security: Literal["restricted"] | None = None
    """``restricted``: what Pod Security's strictest level and OpenShift's restricted-v2 demand, without a user."""
    security_context: Mapping[str, Any] = Field(default_factory=dict)
    """Of the pod, as in Kubernetes; over what ``security`` sets."""
    container_security_context: Mapping[str, Any] = Field(default_factory=dict)
    """Of the server's container, as in Kubernetes; over what ``security`` sets."""

    @model_validator(mode="after")
    def _cpus(self) -> Self:
        if self.cpu and self.cpu_limit and amount(self.cpu) > amount(self.cpu_limit):
            raise ValueError(f"cpu {self.cpu} is more than cpu_limit {self.cpu_limit}")
        return self

    @field_validator("labels")
    @classmethod
    def _labels(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        return not_ours(valid_labels(value))

    @field_validator("annotations")
    @classmethod
    def _annotations(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        return not_ours(value)

    @field_validator("security_context")
    @classmethod
    def _pod_security(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        return check_fields(value, POD_FIELDS)

    @field_validator("container_security_context")
    @classmethod
    def _container_security(cls, value: Mapping[str, Any]) -> Mapping[str, Any]:
        return check_fields(value, CONTAINER_FIELDS)


class StoredPod(ServerPod):
    """A server's pod as a stored study has it, with the fields that only plain pods have. Other settings are not of
    interest here."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    shm_size: Quantity | None = None
    container_port: int | None = None
    model_roots: tuple[str, ...] = ()
    kueue_queue: str | None = None
    KINDS: ClassVar[frozenset[str]] = frozenset({"kubernetes", "ome"})
    """Deployers whose settings these are."""

    @classmethod
    def of(cls, kind: str, settings: Mapping[str, Any]) -> Self:
        """Of a study's ``deploy`` section; all unset where its servers do not run in pods."""
        return cls.model_validate(settings) if kind in cls.KINDS else cls()


def valid_labels(labels: Mapping[str, str]) -> Mapping[str, str]:
    """The labels. Raises ValueError for one that Kubernetes would refuse."""
    for key, text in labels.items():
        if not _LABEL_KEY.fullmatch(key) or not _LABEL_VALUE.fullmatch(text):
            raise ValueError(f"{key}: {text} is no label of Kubernetes")
    return labels


def not_ours(found: Mapping[str, str]) -> Mapping[str, str]:
    """Labels or annotations. Raises ValueError for one by which the tuner finds its own objects."""
    for key in found:
        if key.startswith(OWN) or key == _MANAGED_BY:
            raise ValueError(f"{key} is how the tuner finds its own; choose another")
    return found
