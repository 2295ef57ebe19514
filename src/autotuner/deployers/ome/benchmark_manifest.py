"""BenchmarkJob of one benchmark run, and the disk that holds its results.

Everything that is its own has a name that was never used, so that no file of another run can be taken for one of its.
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
"""OME's own, on the pods; with the BenchmarkJob's name."""
RESULTS = "/autotuner/results"
_SYSTEM = frozenset(
    ("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "opt", "proc", "root", "run", "sbin", "srv", "sys",
     "tmp", "usr", "var")
)  # fmt: skip
_GPU_TOLERATION = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
"""What OME gives these pods, unless the job names tolerations, which replace it."""


class BenchmarkSettings(BaseModel):
    """A study's ``benchmark:`` section as this platform reads it; every key is given."""

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

    def beside(self, tolerations: Sequence[Mapping[str, Any]]) -> "BenchmarkSettings":
        """The same with the servers' tolerations where it has none of its own: its pod runs on the same nodes."""
        return self if self.tolerations else self.model_copy(update={"tolerations": tuple(tolerations)})

    @field_validator("sub_path")
    @classmethod
    def _folder(cls, value: str) -> str:
        """It is mounted as ``/sub_path`` in an image that nobody here knows."""
        parts = value.split("/")
        if PurePosixPath(value).is_absolute() or not all(parts) or {".", ".."} & set(parts):
            raise ValueError("must be a folder inside the volume, like autotuner/results")
        if parts[0] in _SYSTEM:
            raise InvalidValueError(
                f"OME mounts it as /{value}, which is the system's", remedy="choose another, like autotuner"
            )
        return value


@dataclass(frozen=True)
class Job:
    """All that decides a BenchmarkJob."""

    service: str
    owner: Mapping[str, Any]
    """Reference to the InferenceService."""
    namespace: str
    run: PlatformRun
    settings: BenchmarkSettings
    name: str
    folder: str
    """Of the results, inside ``settings.sub_path``."""

    @classmethod
    def of(
        cls, service: str, owner: Mapping[str, Any], namespace: str, run: PlatformRun, settings: BenchmarkSettings
    ) -> "Job":
        """One with names of its own."""
        name = unique_name(run.labels.study, run.labels.trial)
        return cls(service, owner, namespace, run, settings, name, f"{name}-{uuid4().hex}")

    def manifest(self) -> Json:
        """The BenchmarkJob."""
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
        """The results as a pod of ours sees them. ``modes`` are the claim's; ``pod`` is the one that wrote them."""
        spec = pod.get("spec") or {}
        alone = "ReadWriteMany" not in modes
        node = str(spec.get("nodeName") or "") if alone else ""
        return Disk(self.settings.claim, self.settings.sub_path, RESULTS, node, tuple(spec.get("tolerations") or ()))
