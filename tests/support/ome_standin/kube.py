"""Minimal asynchronous client of the Kubernetes API."""

import asyncio
import base64
import json
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from ruamel.yaml import YAML

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty for cluster-scoped objects) and name."""
_TRIES = 100
_PAUSE_S = 0.1


@dataclass(frozen=True)
class Kind:
    """One kind of object and its paths in the API."""

    kind: str
    api: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Returns the URL path of all objects, or of one."""
        root = f"/api/{self.api}" if "/" not in self.api else f"/apis/{self.api}"
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(part for part in (f"{root}{within}/{self.plural}", name, sub) if part)


def _kinds() -> Iterator[Kind]:
    for kind in ("Pod", "Service", "ConfigMap", "Secret", "Event", "ServiceAccount", "PersistentVolumeClaim"):
        yield Kind(kind, "v1", f"{kind.lower()}s")
    for kind in ("Namespace", "Node", "PersistentVolume"):
        yield Kind(kind, "v1", f"{kind.lower()}s", namespaced=False)
    yield from (Kind(kind, "apps/v1", f"{kind.lower()}s") for kind in ("Deployment", "DaemonSet", "ReplicaSet"))
    yield Kind("Job", "batch/v1", "jobs")
    yield Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers")
    yield Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets")
    yield Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices")
    yield Kind("Ingress", "networking.k8s.io/v1", "ingresses")
    for kind in ("Role", "RoleBinding"):
        yield Kind(kind, "rbac.authorization.k8s.io/v1", f"{kind.lower()}s")
    yield Kind("CustomResourceDefinition", "apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        yield Kind(kind, "admissionregistration.k8s.io/v1", f"{kind.lower()}s", namespaced=False)
    for kind in ("InferenceService", "ServingRuntime", "BaseModel", "BenchmarkJob"):
        yield Kind(kind, "ome.io/v1beta1", f"{kind.lower()}s")
    for kind in ("ClusterServingRuntime", "ClusterBaseModel", "FineTunedWeight"):
        yield Kind(kind, "ome.io/v1beta1", f"{kind.lower()}s", namespaced=False)
    yield Kind("AcceleratorClass", "ome.io/v1beta1", "acceleratorclasses", namespaced=False)


KINDS = {kind.kind: kind for kind in _kinds()}


class ApiError(Exception):
    """An error response of the API."""

    def __init__(self, status: int, message: str, reason: str = "") -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.message = message
        self.reason = reason


class Kube:
    """The API of one cluster, with the credentials of a kubeconfig file's current context."""

    def __init__(self, kubeconfig: Path) -> None:
        config = YAML(typ="safe", pure=True).load(kubeconfig)
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._client = httpx.AsyncClient(
            base_url=cluster["server"],
            headers=headers,
            verify=_tls(cluster, user),
            trust_env=False,
            timeout=httpx.Timeout(30, read=60),
            limits=httpx.Limits(max_connections=64),
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def call(self, method: str, path: str, content: Any = None, **more: Any) -> Object:
        """Sends a request, and repeats it while the API server is busy, as for a new kind. Raises :class:`ApiError`."""
        headers = {"Content-Type": more.pop("mime", "application/json")}
        body = None if content is None else json.dumps(content)
        for _ in range(_TRIES):
            answer = await self._client.request(method, path, content=body, headers=headers, **more)
            if answer.status_code != 429:
                break
            await asyncio.sleep(_PAUSE_S)
        parsed = answer.json() if "json" in answer.headers.get("content-type", "") else {"message": answer.text}
        if answer.is_error:
            raise ApiError(answer.status_code, parsed.get("message", ""), parsed.get("reason", ""))
        return dict(parsed)

    async def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Returns the object; None if it does not exist."""
        try:
            return await self.call("GET", KINDS[kind].path(namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Object]:
        """Returns all objects with the labels."""
        found = await self.call("GET", KINDS[kind].path(namespace), params={"labelSelector": labels} if labels else {})
        return list(found["items"])

    async def create(self, thing: Object) -> Object:
        """Creates an object."""
        return await self.call("POST", KINDS[thing["kind"]].path(thing["metadata"].get("namespace", "")), thing)

    async def ensure(self, thing: Object) -> Object:
        """Creates an object, or updates an existing one with a merge patch."""
        try:
            return await self.create(thing)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        meta = thing["metadata"]
        return await self.merge(thing["kind"], meta["name"], meta.get("namespace", ""), thing)

    async def merge(self, kind: str, name: str, namespace: str, patch: Object, sub: str = "") -> Object:
        """Applies a JSON merge patch."""
        path = KINDS[kind].path(namespace, name, sub)
        return await self.call("PATCH", path, patch, mime="application/merge-patch+json")

    async def delete(self, kind: str, name: str, namespace: str = "", propagation: str = "Background") -> None:
        """Deletes an object if it exists."""
        try:
            path = KINDS[kind].path(namespace, name)
            await self.call("DELETE", path, {"kind": "DeleteOptions", "propagationPolicy": propagation})
        except ApiError as error:
            if error.status != 404:
                raise

    async def changes(self, kind: str, version: str, labels: str) -> Any:
        """Yields the events of a watch from a resource version until the server ends it."""
        params = {"watch": "1", "resourceVersion": version, "labelSelector": labels, "timeoutSeconds": "300"}
        timeout = httpx.Timeout(30, read=None)
        async with self._client.stream("GET", KINDS[kind].path(), params=params, timeout=timeout) as answer:
            async for line in answer.aiter_lines():
                if line:
                    yield json.loads(line)


class Informer:
    """Cache of one kind, updated by list and watch. Listeners are called with every changed object."""

    def __init__(self, kube: Kube, kind: str, labels: str = "") -> None:
        self._kube = kube
        self._kind = kind
        self._labels = labels
        self.objects: dict[Key, Object] = {}
        self.listeners: list[Callable[[Object], None]] = []
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Runs until it is cancelled; a broken watch is restarted."""
        while True:
            try:
                await self._once()
            except (ApiError, httpx.HTTPError, OSError, ValueError) as error:
                log(f"watch of {self._kind}: {error!r}")
                await asyncio.sleep(0.5)

    async def _once(self) -> None:
        params = {"labelSelector": self._labels} if self._labels else {}
        listed = await self._kube.call("GET", KINDS[self._kind].path(), params=params)
        before = self.objects
        self.objects = {}
        for item in listed["items"]:
            self.objects[key_of(item)] = item
        for thing in [*listed["items"], *(old for key, old in before.items() if key not in self.objects)]:
            self._notify(thing)
        self.synced.set()
        async for event in self._kube.changes(self._kind, listed["metadata"]["resourceVersion"], self._labels):
            if event["type"] == "ERROR":
                return
            key = key_of(event["object"])
            if event["type"] == "DELETED":
                self.objects.pop(key, None)
            else:
                self.objects[key] = event["object"]
            self._notify(event["object"])

    def _notify(self, thing: Object) -> None:
        for listener in self.listeners:
            listener(thing)

    def get(self, name: str, namespace: str = "") -> Object | None:
        """Returns the cached object."""
        return self.objects.get((namespace, name))


def key_of(thing: Object) -> Key:
    """Returns namespace and name of an object."""
    return thing["metadata"].get("namespace", ""), thing["metadata"]["name"]


def log(text: str) -> None:
    """Writes a line to the stand-in's log."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _named(items: list[Object], name: str) -> Object:
    return next(item for item in items if item["name"] == name)


def _tls(cluster: Object, user: Object) -> ssl.SSLContext | bool:
    if cluster["server"].startswith("http://"):
        return True
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority"), cadata=_decoded(cluster, "certificate-authority-data")
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    if certificate := _decoded(user, "client-certificate-data"):
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(certificate + "\n" + (_decoded(user, "client-key-data") or ""))
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _decoded(holder: Object, name: str) -> str | None:
    return base64.b64decode(holder[name]).decode() if name in holder else None
