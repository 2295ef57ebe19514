"""Objects that a trial creates in the cluster: the server's Job, and the load generator's Job and Secrets.

A server is a Job with one pod that is never replaced: exit code and log of its first end are kept, a lost node does not
lead to a second server, and queues (Kueue) and policies against bare pods accept it. The objects of a load window (Job,
Secrets) are owned by the server's Job, so the garbage collector removes them even if the tuner cannot.
"""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from autotuner.deployers.kubernetes.settings import KubernetesSettings, PodSettings
from autotuner.manifests.kubernetes import BATCH, server_job
from autotuner.manifests.labels import GROUP, trial_annotations, trial_labels
from autotuner.manifests.pod import (
    GPU_NODES,
    container_fields,
    env_list,
    measured_metadata,
    pod_fields,
    pod_metadata,
    resources,
    scratch_of,
    wants_scratch,
)
from autotuner.manifests.security import scratch_env
from autotuner.manifests.server import ALL_INTERFACES, TOKEN, Server
from autotuner.manifests.volume import model_volumes
from autotuner.study.launch import Labels, LaunchPlan

Json = dict[str, Any]

LOADGEN = "loadgen"
LEASE = "lease"
"""Names of the containers."""
SPEC_FOLDER = "/autotuner/spec"
_SLUG = 24
_KEPT_LOAD_S = 300
LONGEST_S = 24 * 3600.0
"""How long objects of a trial may run unless their deadline is moved, including waits for a node."""
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_AWAY_FROM_GPUS: Json = {
    "weight": 1,
    "preference": {"matchExpressions": [{"key": GPU_NODES, "operator": "NotIn", "values": ["true"]}]},
}
"""The load generator tolerates nodes with GPUs, since a cluster may have no others, but prefers nodes without."""


def unique_name(study: str, trial: int) -> str:
    """Returns a new unique name: a DNS label of at most 48 characters, which leaves room for a pod's suffix."""
    slug = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")[:_SLUG].strip("-") or "study"
    return f"at-{slug}-{trial}-{uuid4().hex[:8]}"


@dataclass(frozen=True)
class ServerJob:
    """Inputs of a server's Job."""

    plan: LaunchPlan
    settings: KubernetesSettings
    image: str
    name: str
    labels: Labels
    deadline_s: float = LONGEST_S
    """The cluster ends the server after this time, unless the deadline is moved."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The server's command line."""
        return self.plan.argv(host=ALL_INTERFACES, port=self.settings.container_port)

    def job(self) -> Json:
        """Returns the manifest of the Job."""
        return server_job(
            self._server(),
            self.settings,
            self.name,
            self.labels,
            deadline_s=self.deadline_s,
            grace_s=self.settings.stop_grace,
        )

    def resources(self) -> Json:
        """Returns requests and limits of the server."""
        return dict(resources(self.settings, self.plan.gpus))

    def _server(self) -> Server:
        settings = self.settings
        plan = self.plan
        token = settings.hub_token_secret if plan.hub_models and TOKEN not in plan.env else None
        return Server(
            image=self.image,
            command=self.argv[:1],
            args=self.argv[1:],
            port=settings.container_port,
            ready_path=plan.readiness.path,
            gpus=plan.gpus,
            env={**plan.env, **self.labels.env()},
            secrets={TOKEN: token} if token else {},
            uses_hub=bool(plan.hub_models),
            claim=settings.pvc if plan.needs_files else None,
            volumes=() if settings.pvc else model_volumes(plan.needs_files, settings.model_roots),
        )


def lease_job(labels: Labels, name: str, lease_s: float) -> Json:
    """Returns a Job without pods that owns objects that have no deadline of their own.

    Once its deadline is no longer moved, it fails and is deleted with everything that it owns.
    """
    made = _object(BATCH, "Job", name, trial_labels(labels, name, LEASE), trial_annotations(labels))
    container = {"name": LEASE, "image": "none"}
    spec = {
        "parallelism": 0,
        "backoffLimit": 0,
        "activeDeadlineSeconds": math.ceil(lease_s),
        "ttlSecondsAfterFinished": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
    }
    return made | {"spec": spec}


@dataclass(frozen=True)
class Disk:
    """A writable folder of a PersistentVolumeClaim that another pod has used before."""

    claim: str
    folder: str
    path: str
    """Mount path in the pod."""
    node: str = ""
    """The only node that can mount the volume; empty: any node can."""
    tolerations: Sequence[Mapping[str, Any]] = ()
    """Tolerations of the pod that used it before."""


@dataclass(frozen=True)
class Load:
    """One run of a load generator or another worker of autotuner."""

    module: str
    settings: PodSettings
    name: str
    labels: Labels
    owner: Mapping[str, Any] | None
    """Reference to the server's object, which owns the objects of the run."""
    disk: Disk | None = None

    def secrets(self, parts: Sequence[bytes]) -> list[Json]:
        """Returns Secrets with the packed spec, which may contain credentials."""
        return [
            self._owned("v1", "Secret", f"{self.name}-{number}")
            | {"immutable": True, "data": {f"{number:03d}": base64.b64encode(part).decode()}}
            for number, part in enumerate(parts)
        ]

    def job(self, secrets: Sequence[str], image: str) -> Json:
        """Returns the manifest of the Job."""
        settings = self.settings
        own = self.settings.load_pod()
        command = [
            settings.loadgen_python,
            "-m",
            "autotuner.deployers.kubernetes.load.worker",
            self.module,
            SPEC_FOLDER,
        ]
        extra = scratch_of(own)
        env = {**(scratch_env() if wants_scratch(own) else {}), **self.labels.env()}
        container: Json = {
            "name": LOADGEN,
            "image": image,
            "command": command,
            "env": env_list(env),
            "resources": resources(own, 0),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "spec", "mountPath": SPEC_FOLDER, "readOnly": True},
                *(mount for _, mount in extra),
            ],
            **container_fields(own),
        }
        spec_volume = {"name": "spec", "projected": {"sources": [{"secret": {"name": n}} for n in secrets]}}
        pod: Json = {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
            "volumes": [spec_volume, *(volume for volume, _ in extra)],
            "affinity": {"nodeAffinity": {_PREFERRED: [_AWAY_FROM_GPUS]}},
            **pod_fields(own),
        }
        if self.disk:
            _put_disk(pod, container, self.disk)
        made = self._owned(BATCH, "Job", self.name)
        metadata = made["metadata"]
        pod_meta = measured_metadata(own, metadata["labels"], metadata["annotations"])
        spec = {
            "backoffLimit": 0,
            "activeDeadlineSeconds": math.ceil(LONGEST_S),
            "ttlSecondsAfterFinished": _KEPT_LOAD_S,
            "template": {"metadata": pod_meta, "spec": pod},
        }
        # Policies may apply to the Job itself too.
        made["metadata"] |= pod_metadata(own, metadata["labels"], metadata["annotations"])
        return made | {"spec": spec}

    def _owned(self, version: str, kind: str, name: str) -> Json:
        labels = trial_labels(self.labels, self.name, LOADGEN)
        if self.owner:
            labels[GROUP] = self.owner["name"]
        made = _object(version, kind, name, labels, trial_annotations(self.labels))
        if self.owner:
            made["metadata"]["ownerReferences"] = [dict(self.owner)]
        return made


def _put_disk(pod: Json, container: Json, disk: Disk) -> None:
    pod["volumes"].append({"name": "disk", "persistentVolumeClaim": {"claimName": disk.claim}})
    container["volumeMounts"].append({"name": "disk", "mountPath": disk.path, "subPath": disk.folder})
    known = pod.get("tolerations", [])
    pod["tolerations"] = [*known, *(dict(one) for one in disk.tolerations if dict(one) not in known)]
    if disk.node:
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [disk.node]}]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
        pod["affinity"] = {"nodeAffinity": required}
        pod.pop("nodeSelector", None)


def owner_of(made: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an owner reference to a created object, for objects that are to be removed with it.

    It is marked as their controller, so that Kueue counts them as part of it.
    """
    metadata = made["metadata"]
    named = {"kind": made["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {"apiVersion": made["apiVersion"], **named, "controller": True}


def _object(version: str, kind: str, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Json:
    metadata = {"name": name, "labels": dict(labels), "annotations": dict(annotations)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
