"""The winner as a Deployment and a Service of plain Kubernetes."""

import math
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.manifests.pod import container_fields, gpu_toleration, pod_fields
from autotuner.manifests.pod_settings import QUEUE, StoredPod
from autotuner.manifests.text import literal, root_of
from autotuner.report.manifests.options import Claim, Form, ManifestOptions, SecretKey, name_of
from autotuner.report.manifests.pod_parts import (
    SHM_SIZE,
    TOKEN,
    Json,
    env_of,
    folder_of_files,
    is_file,
    no_gpus,
    pod_metadata,
    probe,
    resources_of,
    scratch_of,
    stored_pod,
)
from autotuner.report.manifests.winner import Winner
from autotuner.study.spec import is_local

PORT = 8000
_KIND = "kubernetes"
"""The deployer whose settings say where models and credentials are."""
_MODELS = "/models"
"""Where that deployer shows a claim unless it is told."""
_CONTAINER = "server"
_HUB = "/hub-cache"
_GRACE_S = 30
_PULL_S = 1800
"""What a start may take on top of the engine's own time before the Deployment counts as stuck: images are large."""


def kubernetes(winner: Winner, options: ManifestOptions) -> tuple[list[Json], list[str]]:
    """The objects, and what the reader should know. Raises ``UsageError`` for what a pod cannot have."""
    options = _with_study(winner, options)
    name = options.name or name_of(winner.result.spec.name, Form.KUBERNETES)
    port = options.port or stored_pod(winner).container_port or PORT
    of_pod = pod_metadata(winner)
    selector = {"app.kubernetes.io/name": name}
    labels = of_pod["labels"] = {**selector, **of_pod["labels"], **selector}  # first, and not to be overridden
    pod, notes = _pod(winner, options, port)
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(name, options, labels),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": math.ceil(winner.plan.readiness.timeout_s) + _PULL_S,
            "selector": {"matchLabels": selector},
            "template": {"metadata": of_pod, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(name, options, labels),
        "spec": {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": "http"}]},
    }
    return [deployment, service], notes


def _with_study(winner: Winner, options: ManifestOptions) -> ManifestOptions:
    """Where the study itself ran on Kubernetes: its namespace, claims and Secret, unless others were typed."""
    deploy = winner.result.spec.deploy
    settings = deploy.settings
    found = dict[str, Any]()
    if deploy.kind != _KIND:
        return options
    if isinstance(claim := settings.get("pvc"), Mapping) and winner.plan.needs_files:
        place = claim.get("mount_path", _MODELS)
        found["pvc"] = Claim(name=claim["claim"], sub_path=claim.get("sub_path"), mount_path=place)
    if isinstance(secret := settings.get("hub_token_secret"), Mapping) and winner.plan.hub_models:
        found["hub_token_secret"] = SecretKey(name=secret["name"], key=secret.get("key", "token"))
    if winner.plan.hub_models:
        found["cache_pvc"] = settings.get("cache_pvc")
    found["namespace"] = settings.get("namespace")
    return options.model_copy(update={key: value for key, value in found.items() if getattr(options, key) is None})


def _metadata(name: str, options: ManifestOptions, labels: dict[str, str]) -> Json:
    namespace = {"namespace": options.namespace} if options.namespace else {}
    return {"name": name, **namespace, "labels": dict(labels)}


def _pod(winner: Winner, options: ManifestOptions, port: int) -> tuple[Json, list[str]]:
    if winner.image is None and options.image is None:
        raise UsageError(
            Problem(
                where="image",
                why=f"the engine {winner.spec.kind} has no container image of its own",
                remedy="name one that has the server: --image REPOSITORY:TAG",
            )
        )
    stored = stored_pod(winner)
    secrets = dict(options.env_secret)
    if options.hub_token_secret:
        secrets.setdefault(TOKEN, options.hub_token_secret)
    hub = {"HF_HOME": _HUB} if winner.plan.hub_models else {}
    env, notes = env_of(winner, secrets, first={**no_gpus(winner), **hub})
    volumes = list(_volumes(winner, options))
    resources = resources_of(winner)
    container: Json = {
        "name": _CONTAINER,
        "image": options.image or winner.image,
        "command": [literal(word) for word in winner.command()],
        "args": [literal(word) for word in winner.args(port)],
        **({"env": env} if env else {}),
        "ports": [{"name": "http", "containerPort": port}],
        **({"resources": resources} if resources else {}),
        "readinessProbe": probe(winner, port, periodSeconds=5, timeoutSeconds=5, failureThreshold=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount for _, mount in volumes],
        **container_fields(stored),
    }
    own = [gpu_toleration(stored.gpu_resource)] if winner.gpus else []
    pod: Json = {
        "enableServiceLinks": False,  # a Service called vllm would set VLLM_PORT, which vLLM reads
        "automountServiceAccountToken": stored.service_account is not None,
        "terminationGracePeriodSeconds": _GRACE_S,
        "containers": [container],
        "volumes": [volume for volume, _ in volumes],
        **pod_fields(stored, tolerations=[*stored.tolerations, *own]),
    }
    return pod, [*notes, *_absent_files(winner), *_queue(stored)]


def _queue(stored: StoredPod) -> list[str]:
    if stored.kueue_queue is None:
        return []
    return [f"servers were queued by Kueue; to queue this one, label the Deployment {QUEUE}: {stored.kueue_queue}"]


def _volumes(winner: Winner, options: ManifestOptions) -> Iterator[tuple[Json, Json]]:
    """(volume, mount) of each."""
    stored = stored_pod(winner)
    shm = {"medium": "Memory", "sizeLimit": stored.shm_size or SHM_SIZE}
    yield {"name": "shm", "emptyDir": shm}, {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 - of the container
    yield from scratch_of(winner)
    local = [path for path in winner.plan.needs_files if path.startswith("/")]
    if options.pvc:
        yield (claimed := _claimed(winner, options.pvc))
        inside = PurePosixPath(claimed[1]["mountPath"])
        local = [path for path in local if path != winner.model and not PurePosixPath(path).is_relative_to(inside)]
    elif is_local(winner.model) and not winner.model.startswith("/"):
        raise _unreachable(winner.model, "is no absolute path, so a node cannot show it", "--pvc CLAIM[:folder]")
    # As the trial had it: the whole root, since links inside it may lead out of the model's folder.
    shown = [root_of(path, stored.model_roots) or folder_of_files(path) for path in local]
    for number, path in enumerate(dict.fromkeys(shown)):
        name = "model" if number == 0 and not options.pvc else f"files-{number}"
        kind = "File" if is_file(path) else "Directory"
        volume = {"name": name, "hostPath": {"path": path, "type": kind}}
        yield volume, {"name": name, "mountPath": path, "readOnly": True}
    if winner.plan.hub_models:
        claim = {"persistentVolumeClaim": {"claimName": options.cache_pvc}} if options.cache_pvc else {"emptyDir": {}}
        yield {"name": "hub-cache", **claim}, {"name": "hub-cache", "mountPath": _HUB}
    elif options.cache_pvc:
        raise _unreachable(winner.model, "is no hub's id: there is nothing to cache", "--pvc holds a model's files")


def _claimed(winner: Winner, pvc: Claim) -> tuple[Json, Json]:
    """The claim at the model's own path, so that the command line stays as it was measured."""
    path = winner.model
    if not is_local(path):
        raise _unreachable(path, "is a hub's id, which the server fetches", "--cache-pvc CLAIM keeps what it fetches")
    if not path.startswith("/"):
        raise _unreachable(path, "is no absolute path", "write the model's whole path in the study")
    folder = pvc.mount_path or (str(PurePosixPath(path).parent) if is_file(path) else path)
    mount: Json = {"name": "model", "mountPath": folder, "readOnly": True}
    if pvc.sub_path:
        mount["subPath"] = pvc.sub_path
    claim = {"claimName": pvc.name, "readOnly": True}
    return {"name": "model", "persistentVolumeClaim": claim}, mount


def _absent_files(winner: Winner) -> list[str]:
    absent = [path for path in winner.plan.needs_files if not path.startswith("/") and path != winner.model]
    return [f"{path} is looked for in the image's own working folder" for path in absent]


def _unreachable(path: str, why: str, remedy: str) -> UsageError:
    return UsageError(Problem(where="model.path", value=path, why=why, remedy=remedy))
