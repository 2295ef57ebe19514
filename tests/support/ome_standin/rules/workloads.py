"""Kubernetes objects that OME creates for a service. Pure functions."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from support.ome_standin.kube import Object
from support.ome_standin.rules.admission import AUTOSCALER, MODE
from support.ome_standin.rules.merging import accelerated, component, inject_model, parallelism, pod_fields, rendered

SERVICE_LABEL = "ome.io/inferenceservice"
PORT = 8080
_RUNNER = "ome-container"
_LONGEST_LABEL = 63
_OWN_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)


class NoSuchKindError(ValueError):
    """The model reference has another ``kind`` than the model."""


@dataclass(frozen=True)
class Resolved:
    """A service with its model and runtime."""

    service: Object
    model: Object
    runtime: Object

    @property
    def name(self) -> str:
        """The service's name."""
        return str(self.service["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """The service's namespace."""
        return str(self.service["metadata"]["namespace"])

    def merged(self, part: str) -> Object | None:
        """Returns a component, merged from runtime and service."""
        return component(self.runtime, self.service, part)


def mode(engine: Object) -> str:
    """Returns the deployment mode of the engine; the service's own annotation is ignored."""
    if annotated := engine.get("annotations", {}).get(MODE):
        return str(annotated)
    if engine.get("leader") is not None or engine.get("worker") is not None:
        return "MultiNode"
    return "Serverless" if engine.get("minReplicas") == 0 else "RawDeployment"


def label(text: str) -> str:
    """Returns a name as a label value, with a hash if it is too long."""
    if len(text) <= _LONGEST_LABEL:
        return text
    return f"{text[: _LONGEST_LABEL - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _meta(one: Resolved, name: str, labels: dict[str, str] | None = None) -> Object:
    meta = one.service["metadata"]
    owner = {
        "apiVersion": "ome.io/v1beta1",
        "kind": "InferenceService",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {"name": name, "namespace": meta["namespace"], "labels": labels or {}, "ownerReferences": [owner]}


def labels_of(one: Resolved, part: str, merged: Object) -> dict[str, str]:
    """Returns the labels of pods, Deployment, Service, HPA and PDB."""
    made = {
        **one.service["metadata"].get("labels", {}),
        **merged.get("labels", {}),
        SERVICE_LABEL: one.name,
        "component": part,
        "app": label(f"{one.name}-{part}"),
        "serving-runtime": one.runtime["metadata"]["name"],
        "base-model-name": one.model["metadata"]["name"],
    }
    vendor = one.model["spec"].get("vendor")
    return {**made, "base-model-vendor": vendor} if vendor else made


def model_config(one: Resolved) -> Object:
    """Returns the ConfigMap with the model's storage.

    Raises :class:`NoSuchKindError` for a wrong kind of the reference, which is only checked here.
    """
    kind = "BaseModel" if one.model["metadata"].get("namespace") else "ClusterBaseModel"
    if one.service["spec"]["model"].get("kind") != kind:
        raise NoSuchKindError(f"{one.service['spec']['model'].get('kind')} {one.model['metadata']['name']} not found")
    entry = {"modelName": one.model["metadata"]["name"], "modelSpec": one.model["spec"]}
    name = f"modelconfig-{one.name[-20:]}"
    meta = _meta(one, name, {SERVICE_LABEL: one.name})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"models.json": json.dumps([entry])}}


def runner_of(one: Resolved, merged: Object) -> Object:
    """Returns the first container, with model, probe and overrides. Raises ``TemplateError``."""
    runner: Object = rendered(merged.get("runner") or {}, one.service["metadata"])
    wanted = (one.service["spec"].get("acceleratorSelector") or {}).get("acceleratorClass")
    if wanted:
        for entry in one.runtime["spec"].get("supportedModelFormats") or []:
            runner = accelerated(runner, (entry.get("acceleratorConfig") or {}).get(wanted) or {})
    else:
        parallelism(runner, int((merged.get("worker") or {}).get("size") or 0))
    if runner.setdefault("name", "") == _RUNNER and not runner.get("readinessProbe"):
        runner["readinessProbe"] = {"tcpSocket": {"port": ports(runner)[0]["containerPort"]}, "timeoutSeconds": 1}
    return runner


def ports(container: Object) -> list[Object]:
    """Returns the container's ports, else port 8080."""
    return list(container.get("ports") or [{"containerPort": PORT, "name": "http", "protocol": "TCP"}])


def workload(one: Resolved, part: str, merged: Object, runner: Object) -> Object:
    """Returns Deployment X-engine (or -decoder, -router); ``replicas`` is left to the autoscaler."""
    pod = pod_fields(merged)
    if part == "router":
        pod.setdefault("serviceAccountName", f"{one.name}-router")
        config = [{"name": k, "value": v} for k, v in (merged.get("config") or {}).items()]
        runner = {**runner, "env": [*runner.get("env", []), *config]}
    else:
        inject_model(pod, runner, one.model)
    pod["containers"] = [runner, *pod.get("containers", [])]
    labels = labels_of(one, part, merged)
    annotations = {**one.service["metadata"].get("annotations", {}), **merged.get("annotations", {})}
    annotations = {k: v for k, v in annotations.items() if k not in _OWN_ANNOTATIONS}
    meta = {**_meta(one, f"{one.name}-{part}", labels), "annotations": annotations}
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
    spec = {
        "selector": {"matchLabels": {"app": labels["app"]}},
        "strategy": merged.get("deploymentStrategy") or rolling,
        "progressDeadlineSeconds": 600,
        "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def service(one: Resolved, part: str, merged: Object, runner: Object) -> Object:
    """Returns Service X-engine; with several nodes it selects every leader of the namespace."""
    labels = labels_of(one, part, merged)
    many_nodes = part == "engine" and mode(merged) == "MultiNode"
    selector = {"ray.io/node-type": "head"} if many_nodes else {"app": labels["app"]}
    found = [_port(number, port) for number, port in enumerate(ports(runner))]
    return _service(_meta(one, f"{one.name}-{part}", labels), selector, found)


def outer_service(one: Resolved, runner: Object) -> Object:
    """Returns Service X, which is created without ingress."""
    front = "router" if one.service["spec"].get("router") is not None else "engine"
    selector = {SERVICE_LABEL: one.name, "component": front}
    target = ports(runner)[0]["containerPort"]
    port = {"name": "http", "port": PORT, "targetPort": target, "protocol": "TCP"}
    return _service(_meta(one, one.name, {SERVICE_LABEL: one.name}), selector, [port])


def _port(number: int, port: Object) -> Object:
    name = port.get("name") or f"port-{number}"
    target = port["containerPort"]
    return {"name": name, "port": target, "targetPort": target, "protocol": port.get("protocol", "TCP")}


def _service(meta: Object, selector: dict[str, str], found: list[Object]) -> Object:
    spec = {"type": "ClusterIP", "selector": selector, "ports": found}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def budget(one: Resolved, part: str, merged: Object) -> Object:
    """Returns PodDisruptionBudget X-engine."""
    labels = labels_of(one, part, merged)
    given: Object = {name: merged[name] for name in ("minAvailable", "maxUnavailable") if name in merged}
    spec: Object = {**(given or {"maxUnavailable": 1}), "selector": {"matchLabels": {"app": labels["app"]}}}
    meta = _meta(one, f"{one.name}-{part}", labels)
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": spec}


def scaler(one: Resolved, part: str, merged: Object) -> Object | None:
    """Returns HorizontalPodAutoscaler X-engine at 80% CPU; None with an external autoscaler."""
    if one.service["metadata"].get("annotations", {}).get(AUTOSCALER, "hpa") != "hpa":
        return None
    target: Object = {"type": "Utilization", "averageUtilization": merged.get("scaleTarget", 80)}
    metric = {"type": "Resource", "resource": {"name": merged.get("scaleMetric", "cpu"), "target": target}}
    low = max(1, int(merged.get("minReplicas", 1)))
    spec: dict[str, Any] = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": f"{one.name}-{part}"},
        "minReplicas": low,
        "maxReplicas": max(low, int(merged.get("maxReplicas", 3))),
        "metrics": [metric],
    }
    meta = _meta(one, f"{one.name}-{part}", labels_of(one, part, merged))
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": meta, "spec": spec}


def router_rights(one: Resolved) -> list[Object]:
    """Returns ServiceAccount, Role and RoleBinding of a router."""
    name = f"{one.name}-router"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    rbac = "rbac.authorization.k8s.io"
    role = {"apiGroup": rbac, "kind": "Role", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": one.namespace}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _meta(one, name)},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": _meta(one, name), "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": _meta(one, name),
            "roleRef": role,
            "subjects": subjects,
        },
    ]


def ingress(one: Resolved) -> Object:
    """Returns Ingress X."""
    backend = {"service": {"name": f"{one.name}-engine", "port": {"number": PORT}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec = {"rules": [{"host": f"{one.name}.{one.namespace}.example.com", "http": {"paths": paths}}]}
    meta = _meta(one, one.name, {SERVICE_LABEL: one.name})
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": spec}
