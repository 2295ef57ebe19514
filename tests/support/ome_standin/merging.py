"""How a service's own fields are laid over its runtime's, and what is put into the pod unasked. Pure functions."""

import copy
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from support.ome_standin.kube import Object
from support.ome_standin.schemas import EMBEDDED

LONGEST_KEY = 32
"""Model names beyond this are shortened in the node's label."""
_MERGED_BY = {
    "env": "name", "volumeMounts": "mountPath", "ports": "containerPort", "volumes": "name", "initContainers": "name",
    "containers": "name", "imagePullSecrets": "name", "hostAliases": "ip",
}  # fmt: skip
_TEMPLATE = re.compile(r"\{\{\s*\.(Name|Namespace|Labels|Annotations)((?:\.[A-Za-z_]\w*)?)\s*\}\}")


class TemplateError(ValueError):
    """A container's fields do not pass as a template."""


def merge(base: Any, over: Any, field: str = "") -> Any:
    """``over`` laid over ``base``: objects deeply, a few lists by their key, and every other list replaced whole,
    ``args`` and ``command`` among them."""
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
    """The merged ``engine``, ``decoder`` or ``router``; None where the service does not name it."""
    own = service["spec"].get(name)
    if own is None:
        return None
    merged: Object = merge(runtime["spec"].get(f"{name}Config") or {}, own)
    if "runner" in own:
        merged["runner"]["name"] = own["runner"].get("name", "")  # one that is left out is not the runtime's
    if selector := runtime["spec"].get("nodeSelector"):
        merged["nodeSelector"] = {**selector, **merged.get("nodeSelector", {})}
    return merged


def rendered(container: Object, meta: Object) -> Object:
    """The container after its JSON has passed through the template of the service's name, namespace and labels.

    Raises :class:`TemplateError` for any other ``{{``; a ``}}`` alone passes.
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
    """Key of the label that nodes carry where the model is."""
    meta = model["metadata"]
    namespace = meta.get("namespace")
    name = meta["name"]
    if len(name) > LONGEST_KEY:
        name = f"{name[: LONGEST_KEY - 8]}-{hashlib.sha256(name.encode()).hexdigest()[:7]}"
    return f"models.ome.io/{namespace}.basemodel.{name}" if namespace else f"models.ome.io/clusterbasemodel.{name}"


def inject_model(pod: Object, container: Object, model: Object) -> None:
    """Gives the pod the model: a read-only volume of the node, ``MODEL_PATH``, and nodes that have it. In place."""
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
    """The fields of a component that are its pods'."""
    return {name: copy.deepcopy(value) for name, value in merged.items() if name in EMBEDDED}


def gpus(container: Object) -> int:
    """GPUs that the container's limits name."""
    return int(container.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 0))


def parallelism(container: Object, workers: int) -> None:
    """``PARALLELISM_SIZE``, where there are GPUs. In place."""
    if count := gpus(container):
        size = str(count * (1 + workers))
        container["env"] = merge([{"name": "PARALLELISM_SIZE", "value": size}], container.get("env", []), "env")


def accelerated(container: Object, chosen: Mapping[str, Any]) -> Object:
    """What an accelerator class of the runtime dictates, over the user's values: by a flag's spelling only."""
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
    """Arguments by flag; of a repeated flag the last remains."""
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
