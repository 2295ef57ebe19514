"""Test namespace of a cluster with OME, also with a real one."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from support.ome_standin.kube import KINDS, Object
from support.ome_standin.sample_objects import MODEL, RUNTIME

Api = Callable[..., httpx.Response]
"""Takes (method, path, **options of httpx)."""
Found = TypeVar("Found")
_PATIENCE_S = 60.0
SERVER = ["python3", "-m", "sglang.launch_server"]
ARGS = ["--host", "0.0.0.0", "--port", "8080", "--model-path", "$(MODEL_PATH)", "--served-model-name", "vllm-model"]
LABEL = "ome.io/inferenceservice"


def eventually(look: Callable[[], Found | None], what: str = "") -> Found:
    """Returns the first true result of ``look``. Raises ``AssertionError`` after a minute."""
    until = time.monotonic() + _PATIENCE_S
    while not (found := look()):
        assert time.monotonic() < until, f"never: {what or look}"
        time.sleep(0.1)
    return found


class Lab:
    """A namespace of one test."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api = api
        self.namespace = namespace

    def service(self, name: str, *, args: list[str] | None = None, runner: Any = None, **more: Any) -> Object:
        """Returns a complete InferenceService; ``runner`` and other fields of ``spec`` override its own."""
        container = {
            "name": "ome-container",
            "command": SERVER,
            "args": ARGS if args is None else args,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "readinessProbe": {"periodSeconds": 1},
            "startupProbe": {"periodSeconds": 1},
            **(runner or {}),
        }
        engine = {
            "minReplicas": 1,
            "maxReplicas": 1,
            "deploymentStrategy": {"type": "Recreate"},
            "terminationGracePeriodSeconds": 1,
            "runner": container,
        }
        model = {"name": MODEL, "kind": "ClusterBaseModel"}
        runtime = {"name": RUNTIME, "kind": "ClusterServingRuntime"}
        return {
            "apiVersion": "ome.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {
                "name": name,
                "namespace": self.namespace,
                "labels": {"autotuner/trial": "7"},
                "annotations": {"ome.io/autoscalerClass": "external"},
            },
            "spec": {"model": model, "runtime": runtime, "engine": engine, **more},
        }

    def benchmark(self, name: str, service: str, **spec: Any) -> Object:
        """Returns a BenchmarkJob of one scenario that writes its results to the claim ``results``."""
        made = {
            "endpoint": {"inferenceService": {"name": service, "namespace": self.namespace}},
            "task": "text-to-text",
            "trafficScenarios": ["D(20,10)"],
            "numConcurrency": [1, 4],
            "maxTimePerIteration": 1,
            "maxRequestsPerIteration": 10,
            "outputLocation": {"storageUri": "pvc://results/out"},
            "resultFolderName": "trial-1",
            **spec,
        }
        meta = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "ome.io/v1beta1", "kind": "BenchmarkJob", "metadata": meta, "spec": made}

    def post(self, thing: Object, **params: str) -> httpx.Response:
        """Creates an object with strict validation; returns the response."""
        path = KINDS[thing["kind"]].path(thing["metadata"].get("namespace", ""))
        return self.api("POST", path, json=thing, params={"fieldValidation": "Strict", **params})

    def created(self, thing: Object) -> str:
        """Creates an object and returns its uid."""
        answer = self.post(thing)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["metadata"]["uid"])

    def get(self, kind: str, name: str) -> Object:
        """Returns the object; empty if it does not exist."""
        answer = self.api("GET", self._path(kind, name))
        assert answer.status_code in (200, 404), answer.text
        return dict(answer.json()) if answer.status_code == 200 else {}

    def all(self, kind: str, labels: str = "") -> list[Object]:
        """Returns the namespace's objects of a kind."""
        path = KINDS[kind].path(self.namespace)
        return list(self.api("GET", path, params={"labelSelector": labels}).raise_for_status().json()["items"])

    def patch(self, kind: str, name: str, change: Object) -> httpx.Response:
        """Applies a merge patch; returns the response."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.api("PATCH", self._path(kind, name), json=change, headers=headers)

    def delete(self, kind: str, name: str, propagation: str = "Background") -> None:
        """Deletes an object."""
        options = {"kind": "DeleteOptions", "propagationPolicy": propagation}
        self.api("DELETE", self._path(kind, name), json=options).raise_for_status()

    def _path(self, kind: str, name: str) -> str:
        return KINDS[kind].path(self.namespace if KINDS[kind].namespaced else "", name)

    def pods(self, service: str) -> list[Object]:
        """Returns the pods of a service."""
        return self.all("Pod", f"{LABEL}={service}")

    def events(self, uid: str) -> list[Object]:
        """Returns the events about one object."""
        path = KINDS["Event"].path(self.namespace)
        params = {"fieldSelector": f"involvedObject.uid={uid}"}
        return list(self.api("GET", path, params=params).raise_for_status().json()["items"])

    def event(self, uid: str, reason: str) -> Object | None:
        """Returns the first event with this reason; None if there is none."""
        return next((event for event in self.events(uid) if event["reason"] == reason), None)

    def condition(self, service: str, kind: str) -> tuple[str, str]:
        """Returns status and reason of a service's condition."""
        for found in self.get("InferenceService", service).get("status", {}).get("conditions", []):
            if found["type"] == kind:
                return found["status"], found.get("reason", "")
        return "", ""

    def ready(self, service: str) -> bool:
        """Returns whether the service reports that it is ready."""
        return self.condition(service, "Ready")[0] == "True"

    def state(self, service: str) -> Object:
        """Returns the status of the first pod's first container; empty before there is one."""
        for pod in self.pods(service):
            for status in pod["status"].get("containerStatuses", []):
                return dict(status)
        return {}
