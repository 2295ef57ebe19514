"""Installation and removal of the objects of OME that clients can see."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from support.ome_standin import real
from support.ome_standin.agent import DAEMON_SET, daemon_set
from support.ome_standin.benchmark import CONFIG
from support.ome_standin.crds import GROUP, crds
from support.ome_standin.kube import KINDS, ApiError, Kube, Object
from support.ome_standin.sample_objects import MODEL, model, runtime
from support.ome_standin.settings import Settings
from support.ome_standin.webhooks import uninstall

NAMESPACE = "ome"
MANAGER = "ome-controller-manager"
_KINDS = [kind for kind in KINDS.values() if kind.api.startswith(GROUP)]
_PATIENCE_S = 30.0
_EVERY_S = 0.05


async def install(kube: Kube, settings: Settings) -> None:
    """Installs kinds, namespace, manager and configuration; returns once the kinds are served."""
    place = Path(settings.real) if settings.real else None
    await asyncio.gather(*(kube.ensure(crd) for crd in (real.kinds(place) if place else crds())))
    await _settled(kube)
    await kube.ensure({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    ingress = {"disableIngressCreation": not settings.ingress, "ingressDomain": "svc.cluster.local"}
    own = [
        _config("inferenceservice-config", ingress=json.dumps(ingress)),
        _config("benchmarkjob-config", benchmarkjob=json.dumps(CONFIG)),
    ]
    for made in real.configuration(place) if place else own:
        await kube.ensure(made)
    await _until(lambda: _has_account(kube))
    await kube.ensure(_manager(settings))
    await kube.ensure(daemon_set(settings.manager_image, settings.engine_image))


async def create_samples(kube: Kube, settings: Settings) -> None:
    """Creates the model and the runtime of tests, once the webhooks run; returns when model and manager are ready."""
    for thing in (model(settings.model_path), runtime(settings.engine_image)):
        await kube.ensure(thing)
    await _until(lambda: _is(kube, "ClusterBaseModel", MODEL, "", "state", "Ready"))
    await _until(lambda: _is(kube, "Deployment", MANAGER, NAMESPACE, "readyReplicas", 1))


async def _is(kube: Kube, kind: str, name: str, namespace: str, field: str, wanted: object) -> bool:
    found = await kube.get(kind, name, namespace) or {}
    return bool((found.get("status") or {}).get(field) == wanted)


async def _until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(_PATIENCE_S):
        while not await true():  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(_EVERY_S)


async def remove(kube: Kube) -> None:
    """Removes everything, including finalizers; returns once the kinds are gone."""
    await uninstall(kube)
    # without pods the namespace is removed at once; otherwise the cluster only retries after many seconds
    await kube.delete("DaemonSet", DAEMON_SET, NAMESPACE)
    await kube.delete("Deployment", MANAGER, NAMESPACE)
    for kind in _KINDS:
        for thing in await _all(kube, kind.kind):
            await _forced(kube, thing)
    await asyncio.gather(
        *(kube.delete("CustomResourceDefinition", f"{kind.plural}.{GROUP}") for kind in _KINDS),
    )
    await _until(lambda: _deserted(kube))
    await kube.delete("Namespace", NAMESPACE)
    for node in await kube.list("Node"):
        mine = [key for key in node["metadata"].get("labels", {}) if key.startswith("models.ome.io/")]
        await kube.merge("Node", node["metadata"]["name"], "", {"metadata": {"labels": dict.fromkeys(mine)}})
    for crd in crds():
        await _until(lambda name=crd["metadata"]["name"]: _gone(kube, "CustomResourceDefinition", name))  # type: ignore[misc]
    await _until(lambda: _gone(kube, "Namespace", NAMESPACE))


async def _deserted(kube: Kube) -> bool:
    return not await kube.list("Pod", NAMESPACE)


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
    """Returns whether the namespace has its default account, without which no pod can be created."""
    return await kube.get("ServiceAccount", "default", NAMESPACE) is not None


def _config(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": NAMESPACE}, "data": data}


def _manager(settings: Settings) -> Object:
    labels = {"control-plane": MANAGER}
    container = {
        "name": "manager",
        "image": settings.manager_image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "10m"}},
    }
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    meta = {"name": MANAGER, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
