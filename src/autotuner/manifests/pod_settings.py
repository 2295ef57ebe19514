"""Settings of a server's pod, the same for every deployer; checked when the study file is read."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.labels import not_ours, valid_labels
from autotuner.manifests.security import CONTAINER_FIELDS, POD_FIELDS, check_fields
from autotuner.manifests.text import amount, positive

NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
"""Pattern of a DNS subdomain, the syntax of most object names in Kubernetes."""
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""Pattern of a DNS label, the syntax of a namespace's name."""
KEY = r"^[A-Za-z0-9._-]{1,253}$"
"""Pattern of a key in a Secret or a ConfigMap."""
_TOLERATION_FIELDS = frozenset({"key", "operator", "value", "effect", "tolerationSeconds"})

Name = Annotated[str, Field(pattern=NAME)]
Quantity = Annotated[str, BeforeValidator(positive, json_schema_input_type=str | int | float)]


def _tolerations(value: Any) -> Any:
    for toleration in value if isinstance(value, list | tuple) else ():
        unknown = sorted(set(toleration) - _TOLERATION_FIELDS) if isinstance(toleration, Mapping) else []
        if unknown:
            raise InvalidValueError(
                f"unknown field {unknown[0]}", remedy=f"a toleration has {', '.join(sorted(_TOLERATION_FIELDS))}"
            )
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
    """Where the volume is mounted; the model's path is below it."""


class SecretKey(Part):
    """One value in a Secret of the namespace, by reference: a study never contains the value itself."""

    name: Name
    key: str = Field(default="token", pattern=KEY)

    @property
    def reference(self) -> dict[str, Any]:
        """The reference as ``valueFrom`` of an environment variable."""
        return {"secretKeyRef": {"name": self.name, "key": self.key}}


class EnvFrom(Part):
    """Environment variables from a Secret or a ConfigMap of the namespace."""

    secret: Name | None = None
    config_map: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.secret is None) == (self.config_map is None):
            raise ValueError("give either secret or config_map")
        return self

    @property
    def source(self) -> dict[str, Any]:
        """The entry in a container's ``envFrom``."""
        return {"secretRef": {"name": self.secret}} if self.secret else {"configMapRef": {"name": self.config_map}}


class ServerPod(Part):
    """Settings of the server's pod that apply both to plain pods and to pods that an operator creates."""

    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    image_pull_secrets: tuple[Name, ...] = ()
    cpu: Quantity | None = None
    """Requested CPUs."""
    cpu_limit: Quantity | None = None
    """Limit of CPUs; unset: no limit, since a limit throttles."""
    memory: Quantity | None = None
    """Requested memory, and its limit."""
    ephemeral_storage: Quantity | None = None
    """Requested disk space on the node, and its limit."""
    gpu_resource: str = Field(default="nvidia.com/gpu", pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    tolerations: Tolerations = ()
    """Tolerations as in a pod's specification."""
    service_account: Name | None = None
    priority_class: Name | None = None
    runtime_class: Name | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    env_from: tuple[EnvFrom, ...] = ()
    security: Literal["restricted"] | None = None
    """``restricted``: the fields that Pod Security's strictest level and OpenShift's restricted-v2 require, without a
    user id."""
    security_context: Mapping[str, Any] = Field(default_factory=dict)
    """The pod's, as in Kubernetes; overrides what ``security`` sets."""
    container_security_context: Mapping[str, Any] = Field(default_factory=dict)
    """The server container's, as in Kubernetes; overrides what ``security`` sets."""
    kueue_queue: Name | None = None
    """LocalQueue of Kueue in which servers wait."""

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


class PlainPod(ServerPod):
    """Settings of a server's pod that is created without an operator."""

    model_roots: tuple[str, ...] = ()
    """Folders of the nodes that contain models; the one that contains the study's model is mounted read-only."""
    pvc: Claim | None = None
    """Volume that contains models, instead of folders of the nodes."""
    cache_pvc: Name | None = None
    """Claim that caches downloads from the Hub; unset: every pod downloads the model again."""
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
                raise InvalidValueError(
                    f"{root} is not a root for models", remedy="write an absolute folder other than /"
                )
        return value

    @model_validator(mode="after")
    def _models(self) -> Self:
        if self.pvc and self.model_roots:
            raise ValueError("models come from pvc or from model_roots, not from both")
        return self

    @classmethod
    def of(cls, pod: ServerPod) -> "PlainPod":
        """Returns the settings of ``pod`` for a plain pod; those that ``pod`` does not have keep their defaults."""
        return PlainPod(**{name: getattr(pod, name) for name in PlainPod.model_fields if hasattr(pod, name)})
