"""Merging of services with runtimes, and the fields that OME adds to pods. Pure functions."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from support.ome_standin.kube import Object
from support.ome_standin.schemas import EMBEDDED

LONGEST_KEY = 32
"""Length above which model names are shortened in node labels."""
_MERGED_BY = {
    "env": "name", "volumeMounts": "mountPath", "ports": "containerPort", "volumes": "name", "initContainers": "name",
    "containers": "name", "imagePullSecrets": "name", "hostAliases": "ip",
}  # fmt: skip
_TEMPLATE = re.compile(r"\{\{\s*\.(Name|Namespace|Labels|Annotations)((?:\.[A-Za-z_]\w*)?)\s*\}\}")


class TemplateError(ValueError):
    """The fields of a container are not a valid template."""


def merge(base: Any, over: Any, field: str = "") -> Any:
    """Merges ``over`` into ``base``: objects deeply, a few lists by key; other lists, as ``args``, are replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        made = dict(base)
        for name, value in over.items():
            made[name] = merge(base[name], value, name) if name in base else copy.deepcopy(value)
        return made
    if field in _MERGED_BY and isinstance(base, list) and isinstance(over, list):
        return _merge_list(base, over, _MERGED_BY[field])
    return copy.deepcopy(over)


def _merge_list(base: list[Object], over: list[Object], key: str) -> list[Object]:
    made = {item.get(key): item for item in base}
    for item in over:
        known = made.get(item.get(key))
        made[item.get(key)] = merge(known, item) if known else copy.deepcopy(item)
    return list(made.values())


def component(runtime: Object, service: Object, name: str) -> Object | None:
    """Returns the merged ``engine``, ``decoder`` or ``router``; None if the service does not have it."""
    own = service["spec"].get(name)
    if own is None:
        return None
    merged: Object = merge(runtime["spec"].get(f"{name}Config") or {}, own)
    if "runner" in own:
        merged["runner"]["name"] = own["runner"].get("name", "")  # as in OME, not the runtime's name
    if selector := runtime["spec"].get("nodeSelector"):
        merged["nodeSelector"] = {**selector, **merged.get("nodeSelector", {})}
    return merged


def rendered(container: Object, meta: Object) -> Object:
    """Renders the container's JSON as a template with the service's name, namespace and labels.

    Raises :class:`TemplateError` for any other ``{{``; a single ``}}`` is allowed.
    """

    def value(found: re.Match[str]) -> str:
        holder = meta.get(found[1].lower(), "")
        if isinstance(holder, dict):
            holder = holder.get(found[2].removeprefix("."), "")
        return json.dumps(str(holder))[1:-1]

    text = _TEMPLATE.sub(value, json.dumps(container))
    if "{{" in text:
        at = text.index("{{")
        raise TemplateError(f"template: container:1: cannot execute {text[at : at + 20]!r}")
    return dict(json.loads(text))


def model_label(model: Object) -> str:
    """Returns the label of nodes that have the model."""
    meta = model["metadata"]
    namespace = meta.get("namespace")
    name = meta["name"]
    if len(name) > LONGEST_KEY:
        name = f"{name[: LONGEST_KEY - 8]}-{hashlib.sha256(name.encode()).hexdigest()[:7]}"
    return f"models.ome.io/{namespace}.basemodel.{name}" if namespace else f"models.ome.io/clusterbasemodel.{name}"


def inject_model(pod: Object, container: Object, model: Object) -> None:
    """Adds the model to the pod, in place: a read-only volume, ``MODEL_PATH``, and a selector of nodes that have it."""
    pod["nodeSelector"] = {**pod.get("nodeSelector", {}), model_label(model): "Ready"}
    path = (model["spec"].get("storage") or {}).get("path")
    if not path:
        return
    name = model["metadata"]["name"]
    pod["volumes"] = [*pod.get("volumes", []), {"name": name, "hostPath": {"path": path}}]
    mounts = container.setdefault("volumeMounts", [])
    mounts.append({"name": name, "mountPath": path, "readOnly": True})
    if all(entry["name"] != "MODEL_PATH" for entry in container.setdefault("env", [])):
        container["env"].append({"name": "MODEL_PATH", "value": path})


def pod_fields(merged: Object) -> Object:
    """Returns the fields of a component that belong to its pods."""
    return {name: copy.deepcopy(value) for name, value in merged.items() if name in EMBEDDED}


def gpus(container: Object) -> int:
    """Returns the number of GPUs in the container's limits."""
    return int(container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0))


def parallelism(container: Object, workers: int) -> None:
    """Sets ``PARALLELISM_SIZE``, in place, if the container has GPUs."""
    if count := gpus(container):
        size = str(count * (1 + workers))
        container["env"] = merge([{"name": "PARALLELISM_SIZE", "value": size}], container.get("env", []), "env")


def accelerated(container: Object, chosen: Mapping[str, Any]) -> Object:
    """Applies the overrides of an accelerator class, which only recognize a flag in their own spelling."""
    made = copy.deepcopy(container)
    overrides = list(chosen.get("runtimeArgsOverride") or [])
    if size := (chosen.get("tensorParallelismOverride") or {}).get("tensorParallelSize"):
        overrides += ["--tp-size", str(size)]
    if overrides:
        flags = _flags(made.get("args", []))
        flags.update(_flags(overrides))
        made["args"] = [word for name, values in flags.items() for word in (name, *values)]
    wanted = [{"name": name, "value": value} for name, value in (chosen.get("environmentOverride") or {}).items()]
    if wanted:
        made["env"] = merge(made.get("env", []), wanted, "env")
    return made


def _flags(args: list[str]) -> dict[str, list[str]]:
    """Returns arguments by flag; the last one of a repeated flag wins."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in args:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found[name] = [value] if equals else []
        else:
            found.setdefault(name, []).append(word)
    found.pop("", None)
    return found
