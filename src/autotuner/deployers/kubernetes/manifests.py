"""From a launch plan to the objects that the API server is asked for.

A server is a Job of one pod that is never made again: its first end is kept with exit code and log, a lost node brings
no second server, and queues (Kueue) and policies that want no bare pods take it as it is. What a window of load needs
(a Job, a Secret) belongs to the server's Job, so that the garbage collector removes it with that even when we cannot.
"""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from autotuner.deployers.kubernetes.settings import KubernetesSettings, PodSettings
from autotuner.manifests.pod import (
    GPU_NODES,
    NO_SIDECAR_ANNOTATIONS,
    NO_SIDECAR_LABELS,
    container_fields,
    gpu_toleration,
    pod_fields,
    resources,
    wants_scratch,
)
from autotuner.manifests.pod_settings import OWN, QUEUE, ServerPod
from autotuner.manifests.security import scratch, scratch_env
from autotuner.manifests.text import label_value, literal, root_of
from autotuner.study.launch import Labels, LaunchPlan

Json = dict[str, Any]

BATCH = "batch/v1"
SERVER = "server"
LOADGEN = "loadgen"
LEASE = "lease"
"""Names of the containers."""
STUDY = f"{OWN}study"
TRIAL = f"{OWN}trial"
OWNER = f"{OWN}owner"
ROLE = f"{OWN}role"
GROUP = f"{OWN}server"
"""On the pods of a server and of all load on it: the server's name."""
INSTANCE = "app.kubernetes.io/instance"
MANAGED_BY = "app.kubernetes.io/managed-by"
SPEC_FOLDER = "/autotuner/spec"
_CACHE = "/hub-cache"
_SLUG = 24
_KEPT_S = 600
"""How long the cluster keeps a server's Job that ended, where its tuner did not remove it."""
_KEPT_LOAD_S = 300
LONGEST_S = 24 * 3600.0
"""How long anything of ours may run where nobody moves its deadline, waits for a node included."""
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_AWAY_FROM_GPUS: Json = {
    "weight": 1,
    "preference": {"matchExpressions": [{"key": GPU_NODES, "operator": "NotIn", "values": ["true"]}]},
}
"""The load tolerates nodes with GPUs, since a cluster may have no others, and takes another one where there is one."""
_NO_GPUS = "NVIDIA_VISIBLE_DEVICES"
"""Images of CUDA ask for all GPUs by it; ``void`` keeps the NVIDIA runtime from handing out any."""


def unique_name(study: str, trial: int) -> str:
    """A name that was never used: a DNS label of at most 48 characters, so that a pod's fits behind it."""
    slug = re.sub(r"[^a-z0-9]+", "-", study.lower()).strip("-")[:_SLUG].strip("-") or "study"
    return f"at-{slug}-{trial}-{uuid4().hex[:8]}"


def labels_of(labels: Labels, name: str, role: str) -> dict[str, str]:
    """By which an object is found; the exact texts are in its annotations."""
    return {
        MANAGED_BY: "autotuner",
        INSTANCE: name,
        STUDY: label_value(labels.study),
        TRIAL: str(labels.trial),
        OWNER: label_value(labels.owner),
        ROLE: role,
    }


def annotations_of(labels: Labels) -> dict[str, str]:
    """Study and owner as they are."""
    return {STUDY: labels.study, OWNER: labels.owner}


def pod_metadata(pod: ServerPod, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Json:
    """Labels and annotations of a pod: ours, the study's, and those that keep a mesh's proxy out of it."""
    # Istio reads its key from both, the label first: what a study says in one place must not be undone in the other.
    off = {key: pod.annotations.get(key, value) for key, value in NO_SIDECAR_LABELS.items()}
    also_off = {key: pod.labels.get(key, value) for key, value in NO_SIDECAR_ANNOTATIONS.items()}
    return {
        "labels": {**off, **pod.labels, **labels},
        "annotations": {**also_off, **pod.annotations, **annotations},
    }


@dataclass(frozen=True)
class ServerJob:
    """All that decides a server's Job."""

    plan: LaunchPlan
    settings: KubernetesSettings
    image: str
    name: str
    labels: Labels
    deadline_s: float = LONGEST_S
    """The cluster ends the server after this time, unless it is told to wait longer."""

    @property
    def argv(self) -> tuple[str, ...]:
        """The server's command line."""
        return self.plan.argv(host="0.0.0.0", port=self.settings.container_port)  # noqa: S104 - a pod's own network

    def job(self) -> Json:
        """The whole Job."""
        settings = self.settings
        labels = {**labels_of(self.labels, self.name, SERVER), GROUP: self.name}
        annotations = annotations_of(self.labels)
        template = {"metadata": pod_metadata(settings, labels, annotations), "spec": self._pod()}
        spec: Json = {
            "backoffLimit": 0,
            "activeDeadlineSeconds": math.ceil(self.deadline_s),
            "ttlSecondsAfterFinished": _KEPT_S,
            "template": template,
        }
        own_labels = {**settings.labels, **labels}
        if settings.kueue_queue:
            own_labels[QUEUE] = settings.kueue_queue
            spec["suspend"] = True
        return _object(BATCH, "Job", self.name, own_labels, {**settings.annotations, **annotations}) | {"spec": spec}

    def _pod(self) -> Json:
        settings = self.settings
        pod: Json = {
            "restartPolicy": "Never",
            "enableServiceLinks": False,
            "automountServiceAccountToken": settings.service_account is not None,
            "terminationGracePeriodSeconds": math.ceil(settings.stop_grace),
            "containers": [self._container()],
            "volumes": [volume for volume, _ in self._volumes()],
        }
        own = [gpu_toleration(settings.gpu_resource)] if self.plan.gpus else []
        return pod | pod_fields(settings, tolerations=[*settings.tolerations, *own])

    def _container(self) -> Json:
        settings = self.settings
        plan = self.plan
        container: Json = {
            "name": SERVER,
            "image": self.image,
            "command": [literal(self.argv[0])],
            "args": [literal(word) for word in self.argv[1:]],
            "env": self._env(),
            "ports": [{"containerPort": settings.container_port, "name": "http"}],
            "resources": self.resources(),
            "readinessProbe": {
                "httpGet": {"path": plan.readiness.path, "port": settings.container_port},
                "periodSeconds": 1,
                "timeoutSeconds": 5,
                "failureThreshold": 3,
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [mount for _, mount in self._volumes()],
        }
        return container | container_fields(settings)

    def resources(self) -> Json:
        """Requests and limits."""
        return dict(resources(self.settings, self.plan.gpus))

    def _env(self) -> list[Json]:
        values = dict(self.plan.env)
        if self.plan.hub_models:
            values = {"HF_HOME": _CACHE, **values}
        if not self.plan.gpus:
            values = {_NO_GPUS: "void", **values}
        if wants_scratch(self.settings):
            values = {**scratch_env(), **values}
        env: list[Json] = [{"name": n, "value": literal(v)} for n, v in {**values, **self.labels.env()}.items()]
        token = self.settings.hub_token_secret
        if token and self.plan.hub_models and "HF_TOKEN" not in values:
            env.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": token.name, "key": token.key}}})
        return env

    def _volumes(self) -> list[tuple[Json, Json]]:
        """(volume, mount) of each."""
        settings = self.settings
        shm = {"medium": "Memory", "sizeLimit": settings.shm_size}
        found: list[tuple[Json, Json]] = [({"name": "shm", "emptyDir": shm}, {"name": "shm", "mountPath": "/dev/shm"})]  # noqa: S108
        if wants_scratch(settings):
            found += scratch()
        if self.plan.hub_models:
            cache: Json = (
                {"persistentVolumeClaim": {"claimName": settings.cache_pvc}} if settings.cache_pvc else {"emptyDir": {}}
            )
            found.append(({"name": "hub-cache", **cache}, {"name": "hub-cache", "mountPath": _CACHE}))
        if settings.pvc and self.plan.needs_files:
            mount: Json = {"name": "models", "mountPath": settings.pvc.mount_path, "readOnly": True}
            if settings.pvc.sub_path:
                mount["subPath"] = settings.pvc.sub_path
            claim = {"claimName": settings.pvc.claim, "readOnly": True}
            found.append(({"name": "models", "persistentVolumeClaim": claim}, mount))
        elif not settings.pvc:
            for number, root in enumerate(needed_roots(self.plan.needs_files, settings.model_roots)):
                name = f"models-{number}"
                volume = {"name": name, "hostPath": {"path": root, "type": "Directory"}}
                found.append((volume, {"name": name, "mountPath": root, "readOnly": True}))
        return found


def lease_job(labels: Labels, name: str, lease_s: float) -> Json:
    """A Job that never makes a pod, to own what has no deadline itself: once nobody moves its deadline, it fails, is
    deleted, and takes with it what it owns."""
    made = _object(BATCH, "Job", name, labels_of(labels, name, LEASE), annotations_of(labels))
    container = {"name": LEASE, "image": "none"}
    spec = {
        "parallelism": 0,
        "backoffLimit": 0,
        "activeDeadlineSeconds": math.ceil(lease_s),
        "ttlSecondsAfterFinished": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [container]}},
    }
    return made | {"spec": spec}


def needed_roots(files: Sequence[str], roots: Sequence[str]) -> list[str]:
    """The roots that these files lie under, each once."""
    return list(dict.fromkeys(root for file in files if (root := root_of(file, roots))))


@dataclass(frozen=True)
class Disk:
    """A folder of a PersistentVolumeClaim, writable, for a pod beside the one that had it before."""

    claim: str
    folder: str
    path: str
    """Where the pod sees it."""
    node: str = ""
    """The only node that has the volume; empty: any has it."""
    tolerations: Sequence[Mapping[str, Any]] = ()
    """Of the pod that had it."""


@dataclass(frozen=True)
class Load:
    """One run of a load generator, or of another worker of ours."""

    module: str
    settings: PodSettings
    name: str
    labels: Labels
    owner: Mapping[str, Any] | None
    """Reference to the server's object, which all this belongs to."""
    disk: Disk | None = None

    def secrets(self, parts: Sequence[bytes]) -> list[Json]:
        """The packed spec, which may hold credentials."""
        return [
            self._owned("v1", "Secret", f"{self.name}-{number}")
            | {"immutable": True, "data": {f"{number:03d}": base64.b64encode(part).decode()}}
            for number, part in enumerate(parts)
        ]

    def job(self, secrets: Sequence[str], image: str) -> Json:
        """The Job."""
        settings = self.settings
        own = self.settings.load_pod()
        command = [
            settings.loadgen_python,
            "-m",
            "autotuner.deployers.kubernetes.load.worker",
            self.module,
            SPEC_FOLDER,
        ]
        extra = scratch() if wants_scratch(own) else []
        env = {**(scratch_env() if extra else {}), **self.labels.env()}
        container: Json = {
            "name": LOADGEN,
            "image": image,
            "command": command,
            "env": [{"name": n, "value": literal(v)} for n, v in env.items()],
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
        told = made["metadata"]
        spec = {
            "backoffLimit": 0,
            "activeDeadlineSeconds": math.ceil(LONGEST_S),
            "ttlSecondsAfterFinished": _KEPT_LOAD_S,
            "template": {"metadata": pod_metadata(own, told["labels"], told["annotations"]), "spec": pod},
        }
        # Policies look at the Job itself too.
        told["labels"] = {**own.labels, **told["labels"]}
        told["annotations"] = {**own.annotations, **told["annotations"]}
        return made | {"spec": spec}

    def _owned(self, version: str, kind: str, name: str) -> Json:
        labels = labels_of(self.labels, self.name, LOADGEN)
        if self.owner:
            labels[GROUP] = self.owner["name"]
        made = _object(version, kind, name, labels, annotations_of(self.labels))
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
    """A reference to an object that was made, for what is to go with it. It is called their controller, as which Kueue
    takes them for a part of it."""
    metadata = made["metadata"]
    named = {"kind": made["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    return {"apiVersion": made["apiVersion"], **named, "controller": True}


def _object(version: str, kind: str, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> Json:
    metadata = {"name": name, "labels": dict(labels), "annotations": dict(annotations)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
