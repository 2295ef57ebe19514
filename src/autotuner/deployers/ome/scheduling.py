"""What a server of OME asks of nodes, and which nodes it may come to: runtime, model and study together. Pure."""

from collections.abc import Mapping
from typing import Any

from autotuner.deployers.kubernetes.client import Json
from autotuner.deployers.kubernetes.settings import OmeSettings
from autotuner.deployers.ome.resources import OmeResource, engine_config, node_label, runner
from autotuner.manifests.pod import resources as pod_resources
from autotuner.manifests.text import amount
from autotuner.study.launch import LaunchPlan

Resources = Mapping[str, Mapping[str, str]]


def resources(runtime: OmeResource, plan: LaunchPlan, settings: OmeSettings) -> dict[str, dict[str, str]]:
    """Requests and limits, merged as OME merges them: the study's over the runtime's. A limit is never below its
    request, with which Kubernetes would refuse the pod and OME tell nobody."""
    own: Mapping[str, Any] = runner(runtime).get("resources") or {}
    asked = {part: {k: str(v) for k, v in (own.get(part) or {}).items()} for part in ("requests", "limits")}
    requests = asked["requests"]
    limits = asked["limits"]
    of_study = pod_resources(settings, plan.gpus)
    requests |= of_study["requests"]
    limits |= of_study["limits"]
    for name, text in requests.items():
        if name in limits and amount(text) > amount(limits[name]):
            limits[name] = text
    return asked


def placing(settings: OmeSettings, runtime: OmeResource, model: OmeResource | None) -> OmeSettings:
    """The settings as they choose nodes, with what runtime and model add to them."""
    config = engine_config(runtime)
    label = node_label(model) if model else ""
    selector = {
        **(runtime.spec.get("nodeSelector") or {}),
        **(config.get("nodeSelector") or {}),
        **settings.node_selector,
        **({label: "Ready"} if label else {}),
    }
    tolerations = (*(config.get("tolerations") or ()), *settings.tolerations)
    return settings.model_copy(update={"node_selector": selector, "tolerations": tolerations})


def claims(runtime: OmeResource) -> list[str]:
    """The volumes that a runtime's pods mount from the servers' namespace."""
    volumes: list[Json] = engine_config(runtime).get("volumes") or []
    found = [str((v.get("persistentVolumeClaim") or {}).get("claimName") or "") for v in volumes]
    return [name for name in dict.fromkeys(found) if name]
