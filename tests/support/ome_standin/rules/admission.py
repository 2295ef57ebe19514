"""Defaults and rejections of OME's admission webhooks, with its messages. Pure functions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from support.ome_standin.kube import Object
from support.ome_standin.rules.matching import UnsuitableError, select

SERVICE_NAME = "[a-z]([-a-z0-9]*[a-z0-9])?"
_SERVICE_NAME = re.compile(SERVICE_NAME)
_NUMBERS = r"\d+"
_PAIR = rf"\({_NUMBERS},\s*{_NUMBERS}\)"
_SCENARIOS = {
    "text-to-text": re.compile(rf"(N{_PAIR}/{_PAIR}|U{_PAIR}(/{_PAIR})?|D{_PAIR})"),
    "text-to-embeddings": re.compile(rf"E{_PAIR}"),
    "image-to-text": re.compile(r"I\(.+\)"),
    "image-to-embeddings": re.compile(r"I\(.+\)"),
}
_AUTOSCALERS = ("hpa", "keda", "external")
_STORES = ("oci://", "pvc://", "s3://", "az://", "gs://", "github://")
_SYSTEM_FOLDERS = ("bin", "boot", "dev", "etc", "lib", "proc", "root", "run", "sbin", "sys", "tmp", "usr", "var")
AUTOSCALER = "ome.io/autoscalerClass"
MODE = "ome.io/deploymentMode"


class DeniedError(Exception):
    """A denial by the webhook, with its message."""


@dataclass
class Catalog:
    """Models and runtimes in a webhook's cache."""

    models: dict[tuple[str, str], Object] = field(default_factory=dict)
    runtimes: dict[tuple[str, str], Object] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()

    def model(self, namespace: str, name: str) -> Object | None:
        """Returns the namespace's model, else the cluster's; the reference's ``kind`` is ignored."""
        return self.models.get((namespace, name)) or self.models.get(("", name))

    def runtime(self, namespace: str, name: str) -> Object | None:
        """Returns the namespace's runtime, else the cluster's."""
        return self.runtimes.get((namespace, name)) or self.runtimes.get(("", name))

    def candidates(self, namespace: str) -> list[Object]:
        """Returns the runtimes that a service of the namespace may use."""
        return [runtime for (place, _), runtime in self.runtimes.items() if place in ("", namespace)]


def default_service(service: Object) -> None:
    """Sets the defaults of a service, in place."""
    spec = service.setdefault("spec", {})
    for reference, kind in (("model", "ClusterBaseModel"), ("runtime", "ClusterServingRuntime")):
        if reference in spec:
            spec[reference].setdefault("kind", kind)
            spec[reference].setdefault("apiGroup", "ome.io")
    for name, highest in (("engine", 3), ("decoder", 3), ("router", 2)):
        if spec.get(name) is not None:
            spec[name].setdefault("minReplicas", 1)
            spec[name].setdefault("maxReplicas", highest)
    if spec.get("decoder") is not None and spec.get("engine") is not None:
        service["metadata"].setdefault("annotations", {}).setdefault(MODE, "PDDisaggregated")


def check_service(service: Object, catalog: Catalog) -> None:
    """Raises :class:`DeniedError`. If ``spec.runtime`` is set, only the model's existence is checked."""
    meta = service["metadata"]
    spec = service["spec"]
    name = meta["name"]
    namespace = meta["namespace"]
    if not _SERVICE_NAME.fullmatch(name):
        raise DeniedError(f'invalid InferenceService name "{name}", must match "{SERVICE_NAME}"')
    scaler = meta.get("annotations", {}).get(AUTOSCALER, "hpa")
    if scaler not in _AUTOSCALERS:
        raise DeniedError(f"[{scaler}] is not a supported autoscaler class type")
    if spec.get("decoder") is not None and spec.get("engine") is None:
        raise DeniedError("decoder cannot be specified without engine")
    if len((spec.get("model") or {}).get("fineTunedWeights") or []) > 1:
        raise DeniedError("stacked fine-tuned serving is not supported yet")
    _check_model(spec, namespace, catalog)


def _check_model(spec: Object, namespace: str, catalog: Catalog) -> None:
    complete = bool(((spec.get("engine") or {}).get("runner") or {}).get("image"))
    named = (spec.get("model") or {}).get("name")
    chosen = (spec.get("runtime") or {}).get("name")
    if not named:
        if not chosen and not complete:
            raise DeniedError(
                "model reference is required when runtime is not specified and engine does not have complete runner "
                "configuration"
            )
        return
    model = catalog.model(namespace, named)
    if model is None:
        raise DeniedError(
            f'referenced model "{named}" not found in namespace "{namespace}": ensure a BaseModel exists in this '
            "namespace or a ClusterBaseModel exists cluster-wide with this name"
        )
    if chosen:
        return
    if model["spec"].get("disabled"):
        raise DeniedError(f"model {named} is disabled")
    if complete:
        return
    try:
        select(catalog.candidates(namespace), model)
    except UnsuitableError as error:
        raise DeniedError(
            f"no supporting runtime found for model {named} and engine does not have complete runner configuration: "
            f"{error}"
        ) from None


def check_runtime(runtime: Object, catalog: Catalog) -> None:
    """Raises :class:`DeniedError` for a priority that another runtime has, or an unknown accelerator class."""
    name = runtime["metadata"]["name"]
    namespace = runtime["metadata"].get("namespace", "")
    own = dict(_priorities(runtime))
    for (place, other), known in catalog.runtimes.items():
        if place != namespace or other == name:
            continue
        for key, model_format in _priorities(known):
            if key in own:
                where = f"servingruntimes {name} and {other} in namespace {namespace}"
                raise DeniedError(f"same priority assigned for the model format {model_format} in the {where}")
    named = (runtime["spec"].get("acceleratorRequirements") or {}).get("acceleratorClasses") or []
    if unknown := [one for one in named if one not in catalog.classes]:
        raise DeniedError(f"unknown accelerator classes referenced in AcceleratorRequirements: [{' '.join(unknown)}]")


def _priorities(runtime: Object) -> Iterator[tuple[tuple[Any, ...], str]]:
    spec = runtime["spec"]
    if spec.get("disabled"):
        return
    bounds = spec.get("modelSizeRange") or {}
    common = (tuple(spec.get("protocolVersions") or ()), bounds.get("min"), bounds.get("max"))
    for entry in spec.get("supportedModelFormats") or []:
        if entry.get("autoSelect") and entry.get("priority") is not None:
            parts = (str(sorted((entry.get(part) or {}).items())) for part in ("modelFormat", "modelFramework"))
            key = (*common, *parts, entry.get("modelArchitecture"), entry.get("quantization"), entry["priority"])
            yield key, (entry.get("modelFormat") or {}).get("name", "")


def check_benchmark(job: Object) -> None:
    """Raises :class:`DeniedError`."""
    spec = job["spec"]
    endpoint = spec["endpoint"]
    named = [name for name in ("endpoint", "inferenceService") if endpoint.get(name)]
    if not named:
        raise DeniedError("invalid endpoint: endpoint or InferenceService must be specified")
    if len(named) > 1:
        raise DeniedError("invalid endpoint: endpoint and InferenceService cannot be specified together")
    task = spec["task"]
    for scenario in spec.get("trafficScenarios") or []:
        if not _SCENARIOS[task].match(scenario):  # as in OME, the end of the text is not checked
            why = f"failed to validate scenario '{scenario}': invalid scenario format for task {task}"
            raise DeniedError(f"invalid traffic scenarios: {why}")
    _check_store(spec["outputLocation"]["storageUri"])
    ignore = (spec.get("additionalRequestParams") or {}).get("ignore_eos", "true")
    if ignore not in ("true", "false"):
        raise DeniedError("invalid additional request parameters: ignore_eos must be 'true' or 'false'")


def _check_store(uri: str) -> None:
    if not uri.startswith(_STORES):
        raise DeniedError(f"invalid storage: unknown storage type: {uri}")
    if uri.startswith("pvc://"):
        _, _, sub = uri.removeprefix("pvc://").partition("/")
        if not sub or sub.split("/")[0] in _SYSTEM_FOLDERS:
            raise DeniedError(f"invalid storage: invalid PVC sub-path: {uri}")
