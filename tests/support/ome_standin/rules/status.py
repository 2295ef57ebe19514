"""Status of services, as late and misleading as OME's. Pure functions."""

from datetime import UTC, datetime
from typing import Any

from support.ome_standin.kube import Object
from support.ome_standin.rules.workloads import PORT

_RUNNER = "ome-container"


def now() -> str:
    """Returns the present time as the API formats it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def virtual() -> Object:
    """Returns the status of a service that creates nothing and is ready."""
    kinds = ("EngineReady", "IngressReady", "Ready")
    return {"conditions": [_condition(kind, "True", "") for kind in kinds], "modelStatus": _loaded(1)}


def compute(
    service: Object,
    deployments: dict[str, Object | None],
    pods: list[Object],
    *,
    ingress: bool,
    many_nodes: bool = False,
) -> Object:
    """Returns the status that one reconcile writes. ``deployments``: by component; None for a missing one."""
    before = service.get("status") or {}
    ready = {part: _available(found) for part, found in deployments.items()}
    host = f"{service['metadata']['name']}.{service['metadata']['namespace']}.svc.cluster.local"
    status: Object = {"conditions": _conditions(ready, ingress=ingress, first=not before)}
    if not ingress:
        status["url"] = f"http://{host}:{PORT}"
        status["address"] = {"url": status["url"]}
    elif ready["engine"]:
        status["url"] = f"http://{host.replace('.svc.cluster.local', '.example.com')}"
        status["address"] = {"url": f"http://{host}"}
    status["components"] = {part: _component(service, part, found) for part, found in deployments.items()}
    engine = deployments["engine"]
    if engine is not None:
        status["observedGeneration"] = engine.get("status", {}).get("observedGeneration", 0)
    status["modelStatus"] = _model(before.get("modelStatus") or {}, pods, ready["engine"] and not many_nodes)
    return status


def same(one: Object, other: Object) -> bool:
    """Returns whether two statuses only differ in times."""
    return bool(_timeless(one) == _timeless(other))


def is_ready(status: Object) -> bool:
    """Returns whether the condition Ready is true."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def _timeless(status: Any) -> Any:
    if isinstance(status, dict):
        return {k: _timeless(v) for k, v in status.items() if k not in ("lastTransitionTime", "time")}
    return [_timeless(item) for item in status] if isinstance(status, list) else status


def _condition(kind: str, status: str, reason: str, message: str = "") -> Object:
    made = {"type": kind, "status": status, "lastTransitionTime": now()}
    return {**made, **({"reason": reason} if reason else {}), **({"message": message} if message else {})}


def _available(deployment: Object | None) -> bool:
    conditions = (deployment or {}).get("status", {}).get("conditions", [])
    return any(c["type"] == "Available" and c["status"] == "True" for c in conditions)


def _conditions(ready: dict[str, bool], *, ingress: bool, first: bool) -> list[Object]:
    """Returns the conditions. The reason is Initializing for any fault, and Ready only depends on the engine."""
    found = []
    for part, good in ready.items():
        kind = f"{part.capitalize()}Ready"
        found.append(_condition(kind, "True", "") if good else _condition(kind, "False", "Initializing"))
    if not ingress:
        found.append(_condition("IngressReady", "True", "IngressDisabled"))
    elif ready["engine"]:
        found.append(_condition("IngressReady", "True", ""))
    else:
        found.append(_condition("IngressReady", "False", "ComponentNotReady"))
    if ready["engine"]:
        found.append(_condition("Ready", "True", ""))
    elif first:
        found.append(_condition("Ready", "Unknown", ""))
    else:
        reason = "ComponentNotReady" if ingress else "Initializing"
        found.append(_condition("Ready", "False", reason, "engine component initializing"))
    return sorted(found, key=lambda condition: condition["type"])


def _component(service: Object, part: str, deployment: Object | None) -> Object:
    meta = service["metadata"]
    made = {"url": f"http://{meta['name']}-{part}.{meta['namespace']}.svc.cluster.local"}
    revision = (deployment or {}).get("metadata", {}).get("annotations", {}).get("deployment.kubernetes.io/revision")
    return {**made, "latestCreatedRevision": revision} if revision else made


def _loaded(copies: int) -> Object:
    states = {"activeModelState": "Loaded", "targetModelState": "Loaded"}
    copied = {"failedCopies": 0, "totalCopies": copies}
    return {"transitionStatus": "UpToDate", "modelRevisionStates": states, "modelCopies": copied}


def _model(before: Object, pods: list[Object], ready: bool) -> Object:
    """Returns the model's status: a failure is only seen while a pod has ended or backs off, and is kept forever."""
    kept = {"lastFailureInfo": before["lastFailureInfo"]} if "lastFailureInfo" in before else {}
    if ready:
        return {**_loaded(len(pods)), **kept}
    copied = {"failedCopies": 0, "totalCopies": len(pods)}
    states = {"activeModelState": "", "targetModelState": "Pending"}
    for pod in pods:
        if failure := _failure(pod):
            states["targetModelState"] = "FailedToLoad"
            return {
                "transitionStatus": "BlockedByFailedLoad",
                "modelRevisionStates": states,
                "modelCopies": {**copied, "failedCopies": 1},
                "lastFailureInfo": failure,
            }
    return {"transitionStatus": "InProgress", "modelRevisionStates": states, "modelCopies": copied, **kept}


def _failure(pod: Object) -> Object | None:
    for container in pod.get("status", {}).get("containerStatuses", []):
        state = container.get("state", {})
        ended = state.get("terminated") or {}
        if container["name"] != _RUNNER:
            continue
        if (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff":
            ended = container.get("lastState", {}).get("terminated") or {}
        elif ended.get("reason") != "Error":
            continue
        return {
            "location": pod["metadata"]["name"],
            "reason": "ModelLoadFailed",
            "message": ended.get("message", ""),
            "modelRevisionName": "",
            "time": now(),
            "exitCode": ended.get("exitCode", 0),
        }
    return None
