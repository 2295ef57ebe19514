"""BenchmarkJob of one benchmark run, and the volume with its results.

All names are unique, so that files of another run cannot be mistaken for those of this one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, field_validator

from autotuner.deployers.kubernetes.trial_objects import Disk, Json, unique_name
from autotuner.invalid_value import InvalidValueError
from autotuner.manifests.labels import GROUP, trial_annotations, trial_labels
from autotuner.manifests.ome_command_line import OME
from autotuner.manifests.pod_settings import Name, Quantity
from autotuner.plugins.deployer import PlatformRun

ROLE = "benchmark"
JOB_LABEL = "benchmark"
"""OME's label of the pods, with the BenchmarkJob's name."""
RESULTS = "/autotuner/results"
_SYSTEM = frozenset(
    ("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "opt", "proc", "root", "run", "sbin", "srv", "sys",
     "tmp", "usr", "var")
)  # fmt: skip
_GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
"""OME's default toleration of these pods, which a job's own tolerations replace."""


class BenchmarkSettings(BaseModel):
    """A study's ``benchmark:`` section for this platform; every key is required."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: Name
    sub_path: str
    image: str | None
    cpu: Quantity | None
    memory: Quantity | None
    node_selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    start_timeout: float = Field(gt=0)
    extra_time: float = Field(gt=0)

    def with_default_tolerations(self, tolerations: Sequence[Mapping[str, Any]]) -> "BenchmarkSettings":
        """Returns the settings with the servers' tolerations if they have none: the pod runs on the same nodes."""
        return self if self.tolerations else self.model_copy(update={"tolerations": tuple(tolerations)})

    @field_validator("sub_path")
    @classmethod
    def _folder(cls, value: str) -> str:
        """OME mounts it as ``/sub_path``, which must not hide a system folder of the image."""
        parts = value.split("/")
        if PurePosixPath(value).is_absolute() or not all(parts) or {".", ".."} & set(parts):
            raise ValueError("must be a folder inside the volume, e.g. autotuner/results")
        if parts[0] in _SYSTEM:
            raise InvalidValueError(
                f"OME mounts it as /{value}, which is a system folder", remedy="choose another folder, e.g. autotuner"
            )
        return value


@dataclass(frozen=True)
class Job:
    """Inputs of a BenchmarkJob."""

    service: str
    owner: Mapping[str, Any]
    """Reference to the InferenceService."""
    namespace: str
    run: PlatformRun
    settings: BenchmarkSettings
    name: str
    folder: str
    """Folder of the results, inside ``settings.sub_path``."""

    @classmethod
    def of(
        cls, service: str, owner: Mapping[str, Any], namespace: str, run: PlatformRun, settings: BenchmarkSettings
    ) -> "Job":
        """Returns a job with unique names."""
        name = unique_name(run.labels.study, run.labels.trial)
        return cls(service, owner, namespace, run, settings, name, f"{name}-{uuid4().hex}")

    def manifest(self) -> Json:
        """Returns the manifest of the BenchmarkJob."""
        labels = {**trial_labels(self.run.labels, self.name, ROLE), GROUP: self.service}
        metadata: Json = {"name": self.name, "labels": labels, "annotations": trial_annotations(self.run.labels)}
        if self.owner:
            metadata["ownerReferences"] = [dict(self.owner)]
        spec: Json = {
            "endpoint": {"inferenceService": {"name": self.service, "namespace": self.namespace}},
            "task": "text-to-text",
            "trafficScenarios": [self.run.scenario],
            "numConcurrency": [self.run.in_flight],
            "maxTimePerIteration": self.run.minutes,
            "maxRequestsPerIteration": self.run.requests,
            "outputLocation": {"storageUri": f"pvc://{self.settings.claim}/{self.settings.sub_path}"},
            "resultFolderName": self.folder,
        }
        if override := self._override():
            spec["podOverride"] = override
        return {"apiVersion": OME, "kind": "BenchmarkJob", "metadata": metadata, "spec": spec}

    def _override(self) -> Json:
        settings = self.settings
        sizes = {name: size for name, size in (("cpu", settings.cpu), ("memory", settings.memory)) if size}
        tolerations = [_GPU_TOLERATION, *map(dict, settings.tolerations)] if settings.tolerations else []
        wanted: Json = {
            "image": settings.image,
            "resources": {"requests": sizes, "limits": sizes} if sizes else None,
            "nodeSelector": dict(settings.node_selector),
            "tolerations": tolerations,
        }
        return {key: value for key, value in wanted.items() if value}

    def disk(self, modes: Sequence[str], pod: Json) -> Disk:
        """Returns the volume for a pod that reads the results.

        ``modes`` are the claim's access modes; ``pod`` is the one that wrote the results.
        """
        spec = pod.get("spec") or {}
        alone = "ReadWriteMany" not in modes
        node = str(spec.get("nodeName") or "") if alone else ""
        return Disk(self.settings.claim, self.settings.sub_path, RESULTS, node, tuple(spec.get("tolerations") or ()))
