"""What an installed OME consists of, as far as clients can see it: put on a cluster, and taken away again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ome.agent import daemon_set
from ome.benchmark import CONFIG
from ome.crds import GROUP, crds
from ome.kube import KINDS, ApiError, Kube, Object
from ome.webhooks import uninstall

NAMESPACE = "ome"
MANAGER = "ome-controller-manager"
MODEL, RUNTIME = "sim-model", "srt-sim-model"
_KINDS = [kind for kind in KINDS.values() if kind.api.startswith(GROUP)]
_PATIENCE_S, _EVERY_S = 30.0, 0.05


@dataclass(frozen=True)
class Settings:
    """How the stand-in is set up; crosses to its process as JSON."""

    kubeconfig: str
    listen: str
    """Address of this machine that the API server reaches."""
    engine_image: str
    """Plays SGLang, and has a ``python3``."""
    manager_image: str
    """Sleeps; clients read its tag."""
    model_path: str
    """Folder on the node."""
    ingress: bool = False
    benchmark_pause_s: float = 60.0
    """Between two looks at what a BenchmarkJob waits for."""


async def install(kube: Kube, settings: Settings) -> None:
    """Kinds, namespace, manager and configuration; returns when the kinds are served."""
    await asyncio.gather(*(kube.ensure(crd) for crd in crds()))
    await _settled(kube)
    await kube.ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    ingress = {"disableIngressCreation": not settings.ingress, "ingressDomain": "svc.cluster.local"}
    await kube.ensure(_config("inferenceservice-config", ingress=json.dumps(ingress)))
    await kube.ensure(_config("benchmarkjob-config", benchmarkjob=json.dumps(CONFIG)))
    await _until(lambda: _has_account(kube))
    await kube.ensure(_manager(settings))
    await kube.ensure(daemon_set(settings.manager_image, settings.engine_image))


async def furnish(kube: Kube, settings: Settings) -> None:
    """The model and the runtime that tests use; the webhooks must be there. Returns when the model and the manager
    are ready."""
    for thing in (model(settings.model_path), runtime(settings.engine_image)):
        await kube.ensure(thing)
    await _until(lambda: _is(kube, "ClusterBaseModel", MODEL, "", "state", "Ready"))
    await _until(lambda: _is(kube, "Deployment", MANAGER, NAMESPACE, "readyReplicas", 1))


async def _is(kube: Kube, kind: str, name: str, namespace: str, field: str, wanted: object) -> bool:
    found = await kube.get(kind, name, namespace) or {}
    return bool((found.get("status") or {}).get(field) == wanted)


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not await true():  # noqa: ASYNC110 - the API server tells nobody
            await asyncio.sleep(_EVERY_S)


async def remove(kube: Kube) -> None:
    """Everything, by force: finalizers go, whoever waits for them. Returns when the kinds are no more."""
    await uninstall(kube)
    for kind in _KINDS:
        for thing in await _all(kube, kind.kind):
            await _forced(kube, thing)
    await asyncio.gather(
        *(kube.delete("CustomResourceDefinition", f"{kind.plural}.{GROUP}") for kind in _KINDS),
        kube.delete("Namespace", NAMESPACE),
    )
    for node in await kube.list("Node"):
        mine = [key for key in node["metadata"].get("labels", {}) if key.startswith("models.ome.io/")]
        await kube.merge("Node", node["metadata"]["name"], "", {"metadata": {"labels": dict.fromkeys(mine)}})
    for crd in crds():
        await _until(lambda name=crd["metadata"]["name"]: _gone(kube, "CustomResourceDefinition", name))  # type: ignore[misc]
    await _until(lambda: _gone(kube, "Namespace", NAMESPACE))


async def _gone(kube: Kube, kind: str, name: str) -> bool:
    return await kube.get(kind, name) is None


async def _all(kube: Kube, kind: str) -> list[Object]:
    try:
        return [{**thing, "kind": kind} for thing in await kube.list(kind)]
    except ApiError as error:
        if error.status != 404:
            raise
        return []


async def _forced(kube: Kube, thing: Object) -> None:
    meta = thing["metadata"]
    try:
        if meta.get("finalizers"):
            await kube.merge(thing["kind"], meta["name"], meta.get("namespace", ""), {"metadata": {"finalizers": None}})
        await kube.delete(thing["kind"], meta["name"], meta.get("namespace", ""))
    except ApiError as error:
        if error.status != 404:
            raise


async def _settled(kube: Kube) -> None:
    for crd in crds():
        await _until(lambda name=crd["metadata"]["name"]: _established(kube, name))  # type: ignore[misc]
    for kind in _KINDS:
        await _until(lambda name=kind.kind: _served(kube, name))  # type: ignore[misc]


async def _served(kube: Kube, kind: str) -> bool:
    try:
        await kube.list(kind)
    except ApiError:
        return False
    return True


async def _established(kube: Kube, name: str) -> bool:
    conditions = (await kube.get("CustomResourceDefinition", name) or {}).get("status", {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


async def _has_account(kube: Kube) -> bool:
    """A pod cannot be made before its namespace has the default account."""
    return await kube.get("ServiceAccount", "default", NAMESPACE) is not None


def _config(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}


def _manager(settings: Settings) -> Object:
    labels = {"control-plane": MANAGER}
    container = {
        "name": "manager", "image": settings.manager_image, "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "10m"}},
    }  # fmt: skip
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    meta = {"name": MANAGER, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def model(path: str, name: str = MODEL, **spec: Any) -> Object:
    """A model that lies on the node already."""
    made = {
        "storage": {"storageUri": f"local://{path}", "path": path},
        "modelFormat": {"name": "safetensors", "version": "1.0.0"},
        "modelFramework": {"name": "transformers", "version": "4.51.0"},
        "modelArchitecture": "LlamaForCausalLM", "modelParameterSize": "1B", "vendor": "simulated", **spec,
    }  # fmt: skip
    return {"apiVersion": "ome.io/v1beta1", "kind": "ClusterBaseModel", "metadata": {"name": name}, "spec": made}


def runtime(image: str, name: str = RUNTIME, **spec: Any) -> Object:
    """SGLang as OME's own runtimes start it: every flag in ``command``, no ``args``; small enough for a test's node."""
    command = [
        "python3", "-m", "sglang.launch_server", "--host", "0.0.0.0", "--port", "8080", "--enable-metrics",
        "--model-path", "$(MODEL_PATH)", "--tp-size", "1", "--mem-frac", "0.9", "--served-model-name", MODEL,
    ]  # fmt: skip
    sizes = {"cpu": "100m", "memory": "256Mi", "nvidia.com/gpu": "1"}
    health = {"httpGet": {"path": "/health", "port": 8080}}
    runner = {
        "name": "ome-container", "image": image, "command": command,
        "ports": [{"containerPort": 8080, "name": "http1", "protocol": "TCP"}],
        "volumeMounts": [{"mountPath": "/dev/shm", "name": "dshm"}],  # noqa: S108 - of the container
        "resources": {"requests": sizes, "limits": {**sizes, "cpu": "2", "memory": "1Gi"}},
        "readinessProbe": {**health, "failureThreshold": 3, "periodSeconds": 60, "timeoutSeconds": 200},
        "livenessProbe": {**health, "failureThreshold": 5, "periodSeconds": 60, "timeoutSeconds": 60},
        "startupProbe": {**health, "failureThreshold": 150, "periodSeconds": 6, "timeoutSeconds": 30},
    }  # fmt: skip
    engine = {
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080", "prometheus.io/path": "/metrics"},
        "labels": {"logging-forward": "enabled"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "volumes": [{"name": "dshm", "emptyDir": {"medium": "Memory"}}],
        "runner": runner,
    }  # fmt: skip
    supported = {
        "modelFramework": {"name": "transformers", "version": "4.51.0"},
        "modelFormat": {"name": "safetensors", "version": "1.0.0"},
        "modelArchitecture": "LlamaForCausalLM", "autoSelect": False, "priority": 1,
    }  # fmt: skip
    made = {
        "disabled": False, "supportedModelFormats": [supported], "protocolVersions": ["openAI"],
        "modelSizeRange": {"min": "0.5B", "max": "2B"}, "engineConfig": engine, **spec,
    }  # fmt: skip
    return {"apiVersion": "ome.io/v1beta1", "kind": "ClusterServingRuntime", "metadata": {"name": name}, "spec": made}


def ready_folder(path: Path) -> Path:
    """Makes a folder that passes for a model's."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text("{}")
    return path
