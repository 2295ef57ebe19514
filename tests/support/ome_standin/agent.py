"""The model agent's part: labels on nodes, what each node says of its models, and the state that comes of it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx

from support.ome_standin.kube import ApiError, Object, key_of, log
from support.ome_standin.merging import model_label
from support.ome_standin.world import World

DAEMON_SET = "ome-model-agent-daemonset"
NAMESPACE = "ome"
_EVERY_S = 0.25
_FINALIZERS = {"ClusterBaseModel": "clusterbasemodels.ome.io/finalizer", "BaseModel": "basemodels.ome.io/finalizer"}
_READY = "Ready"
_FAILED = "Failed"
_UPDATING = "Updating"
_CRASH = (
    "import sys; sys.exit(\"Fatal: couldn't find shape  in the shape mapping: "
    'label beta.kubernetes.io/instance-type is not one of the known shapes")'
)


def daemon_set(image: str, python_image: str, *, crashing: bool = False) -> Object:
    """The agent's DaemonSet: its pods do nothing, or end at once with the words for which doctors look."""
    container: Object = {"name": "model-agent", "image": image, "imagePullPolicy": "IfNotPresent"}
    container["command"] = None
    if crashing:
        container |= {"image": python_image, "command": ["python3", "-c", _CRASH]}
    labels = {"app.kubernetes.io/component": "ome-model-agent-daemonset"}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1, "tolerations": [{"operator": "Exists"}]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    meta = {"name": DAEMON_SET, "namespace": NAMESPACE}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "spec": spec}


def outcome(model: Object, downloads: str) -> str:
    """State of a model on a node; empty if no agent handles it."""
    storage = model["spec"].get("storage") or {}
    scheme, _, rest = str(storage.get("storageUri", "")).partition("://")
    if scheme == "vendor":
        return _READY
    if scheme == "local":
        return _READY if Path("/" + rest.lstrip("/")).is_dir() else _FAILED
    if scheme in ("hf", "oci"):
        return {"done": _READY, "failed": _FAILED}.get(downloads, _UPDATING)
    return "" if scheme == "pvc" else _FAILED


def state_of(states: dict[str, str]) -> Object:
    """A model's status from what becomes of it on each node: ready is what is ready anywhere."""
    ready = sorted(node for node, state in states.items() if state == _READY)
    failed = sorted(node for node, state in states.items() if state == _FAILED)
    state = _READY if ready else _FAILED if failed else "In_Transit"
    return {"state": state, "nodesReady": ready, "nodesFailed": failed}


def entry_name(model: Object) -> str:
    """A model's key in a node's ConfigMap."""
    namespace, name = key_of(model)
    return f"{namespace}.basemodel.{name}" if namespace else f"clusterbasemodel.{name}"


def _fits(model: Object, node: Object) -> bool:
    wanted = (model["spec"].get("storage") or {}).get("nodeSelector") or {}
    labels = node["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in wanted.items())


class Agent:
    """All nodes' agents in one."""

    def __init__(self, world: World, image: str, python_image: str, *, alone: bool = True) -> None:
        """``alone``: it does the controller's part too, which is to tell a model's state of what the nodes say."""
        self._world = world
        self._kube = world.kube
        self._image = image
        self._python = python_image
        self._alone = alone
        self._downloaded: dict[tuple[str, str], str] = {}
        """By the model's uid and node: a failed download is not tried again."""

    async def obey(self, fault: str) -> None:
        """Makes the DaemonSet be as the fault says."""
        await self._kube.ensure(daemon_set(self._image, self._python, crashing=fault == "crash"))

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                for model in list(self._models()):
                    await self._look_after(model)
            except (ApiError, httpx.HTTPError, OSError) as error:
                log(f"model agent: {error!r}")

    def _models(self) -> Iterator[Object]:
        for kind in _FINALIZERS:
            yield from self._world[kind].objects.values()

    def _works(self) -> bool:
        return self._world.faults.agent == "up"

    async def _look_after(self, model: Object) -> None:
        kind = model["kind"]
        namespace, name = key_of(model)
        finalizer = _FINALIZERS[kind]
        finalizers = model["metadata"].get("finalizers", [])
        nodes = list(self._world["Node"].objects.values())
        if model["metadata"].get("deletionTimestamp"):
            if not self._works():
                return  # the finalizer waits for every node
            for node in nodes:
                await self._tell(node, model, None)
            rest = {"metadata": {"finalizers": [one for one in finalizers if one != finalizer]}}
            if finalizer in finalizers and self._alone:
                await self._kube.merge(kind, name, namespace, rest)
            return
        if finalizer not in finalizers and self._alone:
            await self._kube.merge(kind, name, namespace, {"metadata": {"finalizers": [*finalizers, finalizer]}})
        states = {}
        for node in nodes:
            if _fits(model, node) and (state := self._state(model, node)):
                states[node["metadata"]["name"]] = state
                if self._works():
                    await self._tell(node, model, state)
        told = state_of(states)
        if self._alone and (model.get("status") or {}) != told:
            await self._kube.merge(kind, name, namespace, {"status": told}, "status")

    def _state(self, model: Object, node: Object) -> str:
        key = (model["metadata"]["uid"], node["metadata"]["name"])
        if key not in self._downloaded:
            if not self._works():
                return ""
            state = outcome(model, self._world.faults.downloads)
            if state in ("", _UPDATING):
                return state
            self._downloaded[key] = state
        return self._downloaded[key]

    async def _tell(self, node: Object, model: Object, state: str | None) -> None:
        """Label of the node, and its ConfigMap; None takes both away."""
        label = model_label(model)
        name = node["metadata"]["name"]
        if node["metadata"].get("labels", {}).get(label) == state:
            return
        entry = {"name": model["metadata"]["name"], "status": state, "config": {}, "progress": None}
        data = {entry_name(model): None if state is None else json.dumps(entry)}
        meta = {"name": name, "namespace": NAMESPACE, "labels": {"models.ome/basemodel-status": "true"}}
        await self._kube.ensure({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
        await self._kube.merge("Node", name, "", {"metadata": {"labels": {label: state}}})
