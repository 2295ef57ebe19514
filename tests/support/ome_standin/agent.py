"""Model agent: labels of nodes, the state of each model on each node, and the state of the model."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx

from support.ome_standin.kube import ApiError, Object, key_of, log
from support.ome_standin.rules.merging import model_label
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
    """Returns the agent's DaemonSet, whose pods do nothing, or crash with OME's message."""
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
    """Returns the state of a model on a node; empty if no agent handles it."""
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
    """Returns a model's status from its states by node; it is ready if it is ready on any node."""
    ready = sorted(node for node, state in states.items() if state == _READY)
    failed = sorted(node for node, state in states.items() if state == _FAILED)
    state = _READY if ready else _FAILED if failed else "In_Transit"
    return {"state": state, "nodesReady": ready, "nodesFailed": failed}


def entry_name(model: Object) -> str:
    """Returns a model's key in a node's ConfigMap."""
    namespace, name = key_of(model)
    return f"{namespace}.basemodel.{name}" if namespace else f"clusterbasemodel.{name}"


def _fits(model: Object, node: Object) -> bool:
    wanted = (model["spec"].get("storage") or {}).get("nodeSelector") or {}
    labels = node["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in wanted.items())


class Agent:
    """The agents of all nodes."""

    def __init__(self, world: World, image: str, python_image: str, *, alone: bool = True) -> None:
        """``alone``: whether it also sets the models' status, which is the controller's task."""
        self._world = world
        self._kube = world.kube
        self._image = image
        self._python = python_image
        self._alone = alone
        self._downloaded: dict[tuple[str, str], str] = {}
        """States by the model's uid and node; a failed download is not retried."""

    async def apply(self, fault: str) -> None:
        """Changes the DaemonSet according to the fault."""
        await self._kube.ensure(daemon_set(self._image, self._python, crashing=fault == "crash"))

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            try:
                for model in list(self._models()):
                    await self._update_model(model)
            except (ApiError, httpx.HTTPError, OSError) as error:
                log(f"model agent: {error!r}")

    def _models(self) -> Iterator[Object]:
        for kind in _FINALIZERS:
            yield from self._world[kind].objects.values()

    def _works(self) -> bool:
        return self._world.faults.agent == "up"

    async def _update_model(self, model: Object) -> None:
        kind = model["kind"]
        namespace, name = key_of(model)
        finalizer = _FINALIZERS[kind]
        finalizers = model["metadata"].get("finalizers", [])
        nodes = list(self._world["Node"].objects.values())
        if model["metadata"].get("deletionTimestamp"):
            if not self._works():
                return  # the finalizer is kept until every node has removed the model
            for node in nodes:
                await self._set_node_state(node, model, None)
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
                    await self._set_node_state(node, model, state)
        status = state_of(states)
        if self._alone and (model.get("status") or {}) != status:
            await self._kube.merge(kind, name, namespace, {"status": status}, "status")

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

    async def _set_node_state(self, node: Object, model: Object, state: str | None) -> None:
        """Sets the node's label and its entry in the ConfigMap; None removes both."""
        label = model_label(model)
        name = node["metadata"]["name"]
        if node["metadata"].get("labels", {}).get(label) == state:
            return
        entry = {"name": model["metadata"]["name"], "status": state, "config": {}, "progress": None}
        data = {entry_name(model): None if state is None else json.dumps(entry)}
        meta = {"name": name, "namespace": NAMESPACE, "labels": {"models.ome/basemodel-status": "true"}}
        await self._kube.ensure({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
        await self._kube.merge("Node", name, "", {"metadata": {"labels": {label: state}}})
