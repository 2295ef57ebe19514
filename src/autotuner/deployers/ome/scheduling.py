"""Resource requests and node selection of a server of OME, from runtime, model and study."""

from collections.abc import Mapping
from typing import Any

from autotuner.deployers.kubernetes.client import Json
from autotuner.deployers.ome.resources import OmeResource, engine_config, node_label, runner
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.manifests.pod import merged_resources
from autotuner.study.launch import LaunchPlan

Resources = Mapping[str, Mapping[str, str]]


def resources(runtime: OmeResource, plan: LaunchPlan, settings: OmeSettings) -> dict[str, dict[str, str]]:
    """Returns requests and limits; the study's override the runtime's."""
    own: Mapping[str, Any] = runner(runtime).get("resources") or {}
    texts = {part: {k: str(v) for k, v in (own.get(part) or {}).items()} for part in ("requests", "limits")}
    return merged_resources(texts, settings, plan.gpus)


def placing(settings: OmeSettings, runtime: OmeResource, model: OmeResource | None) -> OmeSettings:
    """Returns the settings with the node selection that runtime and model add."""
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
    """Returns the PersistentVolumeClaims that a runtime's pods mount."""
    volumes: list[Json] = engine_config(runtime).get("volumes") or []
    found = [str((v.get("persistentVolumeClaim") or {}).get("claimName") or "") for v in volumes]
    return [name for name in dict.fromkeys(found) if name]
