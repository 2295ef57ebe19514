"""Checks of a model of OME: whether it is ready, and on which nodes. Pure functions from the API server's JSON."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from autotuner.deployers.kubernetes.client import Json
from autotuner.deployers.ome.resources import OmeResource, model_path, node_label
from autotuner.errors import did_you_mean
from autotuner.manifests.labels import is_label_value
from autotuner.manifests.pod_settings import DNS_LABEL
from autotuner.study.check import Check

NAME = "model"
_READY = "Ready"
_SHOWN = 8


def absent(name: str, namespace: str, known: Sequence[str], elsewhere: Sequence[str]) -> Check:
    """Returns the failed check for an unknown model. ``elsewhere``: namespaces that have a model with this name."""
    if elsewhere:
        detail = f"BaseModel {name} is in namespace {elsewhere[0]}, not in {namespace}"
        return Check.fail(NAME, detail, remedy="set deploy.namespace to it, or create a ClusterBaseModel")
    detail = f"{name} is neither a BaseModel of {namespace} nor a ClusterBaseModel"
    return Check.fail(
        NAME, detail, remedy=did_you_mean(name, list(known)) or "create a ClusterBaseModel with this name"
    )


def checks(model: OmeResource, nodes: Sequence[Json] | None, downloads: Mapping[str, str]) -> list[Check]:
    """Makes all checks of a model.

    Args:
        model: The model.
        nodes: All nodes of the cluster; None if they may not be listed.
        downloads: State of the model by node as its agent reports it, as far as it can be read.
    """
    return [*_faults(model), _state(model, holders(model, nodes), downloads)]


def _faults(model: OmeResource) -> list[Check]:
    """Returns failed checks for faults of the object itself."""
    storage = model.spec.get("storage") or {}
    uri = str(storage.get("storageUri", ""))
    vendor = str(model.spec.get("vendor") or "")
    found = []
    if model.body["metadata"].get("deletionTimestamp"):
        found.append(
            Check.fail(NAME, f"{model.kind} {model.name} is being deleted", remedy="create it again once it is gone")
        )
    if model.spec.get("disabled"):
        found.append(
            Check.fail(NAME, f"{model.kind} {model.name} is disabled", remedy="set its spec.disabled to false")
        )
    if model_path(model) is None:
        why = f"{model.kind} {model.name} has no storage.path, so its servers could not find it"
        found.append(Check.fail(NAME, why, remedy="set spec.storage.path to its folder on the nodes"))
    if uri.startswith("pvc://"):
        why = f"{model.kind} {model.name} is stored at {uri}, which OME's model agent ignores: never ready"
        found.append(
            Check.fail(NAME, why, remedy="keep it on the nodes: storageUri local:///FOLDER, or hf://ORG/MODEL")
        )
    if not re.fullmatch(DNS_LABEL, model.name):
        why = f"{model.name} is not a valid volume name, which OME makes of it: no pod could be created"
        found.append(
            Check.fail(NAME, why, remedy="give the model a name of at most 63 lowercase letters, digits and hyphens")
        )
    if not is_label_value(vendor):
        why = (
            f"vendor {vendor} of {model.name} is not a valid label value (OME uses it as one): no pod could be created"
        )
        found.append(Check.fail(NAME, why, remedy="set spec.vendor to letters, digits, hyphens and dots"))
    return found


def holds(model: OmeResource, node: Json) -> bool:
    """Returns whether a node has the model, by OME's label, or by the model's status if its name is too long."""
    metadata = node["metadata"]
    label = node_label(model)
    if not label:
        return metadata["name"] in (model.status.get("nodesReady") or ())
    return bool((metadata.get("labels") or {}).get(label) == _READY)


def holders(model: OmeResource, nodes: Sequence[Json] | None) -> list[str]:
    """Returns the names of the nodes that have the model, as far as they can be read."""
    if nodes is None:
        return sorted(model.status.get("nodesReady") or ())
    return sorted(str(node["metadata"]["name"]) for node in nodes if holds(model, node))


def _state(model: OmeResource, holders: Sequence[str], downloads: Mapping[str, str]) -> Check:
    state = model.status.get("state") or "without a state"
    failed = sorted(model.status.get("nodesFailed") or ())
    details = "".join(f"; {node}: {what}" for node, what in sorted(downloads.items()))
    where = f"{model.kind} {model.name}"
    broken = f"; failed on {_some(failed)}" if failed else ""
    if holders and state == _READY:
        return Check.ok(NAME, f"{where}, ready on {_some(holders)}{broken}")
    if holders:
        remedy = "see kubectl -n ome get pods: the model agent updates the state"
        return Check.warn(NAME, f"{where} is {state}, but {_some(holders)} may serve it{details}", remedy=remedy)
    if state == _READY:
        remedy = "check that the model agent runs there, and that the nodes still exist"
        return Check.fail(NAME, f"{where} is Ready, but no node has its label {node_label(model)}", remedy=remedy)
    if state == "Failed":
        remedy = "fix what the agent's log reports, then restart its pod on that node: a failed download is not retried"
        return Check.fail(NAME, f"{where} could not be downloaded to any node{broken}{details}", remedy=remedy)
    remedy = "wait for the download; if it makes no progress, see the model agent's log"
    return Check.fail(NAME, f"{where} is {state}: no node has it yet{details}", remedy=remedy)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def progress(model: OmeResource, config_maps: Iterable[Json]) -> dict[str, str]:
    """Returns the state of a model's download by node, e.g. ``Updating, 40% of 15.0 GB``."""
    namespace = model.body["metadata"].get("namespace")
    key = f"{namespace}.basemodel.{model.name}" if namespace else f"clusterbasemodel.{model.name}"
    found = {}
    for one in config_maps:
        try:
            entry = json.loads((one.get("data") or {})[key])
            found[str(one["metadata"]["name"])] = _progress_text(entry)
        except (KeyError, ValueError, TypeError, AttributeError):
            continue
    return found


def _progress_text(entry: Mapping[str, Any]) -> str:
    text = str(entry.get("status"))
    done = entry.get("progress") or {}
    total = float(done.get("totalBytes") or 0)
    completed = float(done.get("completedBytes") or 0)
    if total:
        return f"{text}, {completed / total:.0%} of {total / 1e9:.1f} GB"
    return f"{text}, {done['phase']}" if done.get("phase") else text


def overview(models: Sequence[Json]) -> Check:
    """Lists the models that servers of the namespace could use, for a diagnosis without a study."""
    states = {str(m["metadata"]["name"]): str((m.get("status") or {}).get("state") or "no state") for m in models}
    ready = sorted(name for name, state in states.items() if state == _READY)
    other = sorted(f"{name} ({state})" for name, state in states.items() if state != _READY)
    if not states:
        return Check.warn("models", "none found", remedy="create a ClusterBaseModel or a BaseModel")
    detail = f"{len(ready)} ready" + (f": {_some(ready)}" if ready else "")
    detail += f"; not ready: {_some(other)}" if other else ""
    return (
        Check.ok("models", detail)
        if ready
        else Check.warn("models", detail, remedy="see kubectl describe clusterbasemodel")
    )
