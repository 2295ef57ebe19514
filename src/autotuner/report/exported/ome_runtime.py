"""The winner as a (Cluster)ServingRuntime of OME: an existing one with the tuned command, or a new one.

A new runtime has its whole command line in ``command``, like OME's own, so that the ``args`` of an InferenceService are
appended to it.
"""

from collections.abc import Mapping
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.manifests.ome_command_line import CONTAINER, OME, PROGRAM, RuntimeLine, RuntimeLineError, same_engine
from autotuner.manifests.platform_translation import (
    CONTAINER_IN_NEW_RUNTIME,
    CONTAINER_IN_SERVICE,
    POD_IN_NEW_RUNTIME,
    POD_IN_RUNTIME,
    as_pod,
    notes,
    runtime_note,
)
from autotuner.manifests.pod import (
    container_fields,
    merged_resources,
    pod_fields,
    probe,
    scratch_of,
    set_only,
    shared_memory,
)
from autotuner.manifests.pod_settings import PlainPod
from autotuner.manifests.server import NO_GPUS
from autotuner.manifests.text import literal
from autotuner.manifests.yaml_text import yaml_objects
from autotuner.report.exported.ome_service import port_of, refuse_templates, runner_of
from autotuner.report.exported.options import Form, ManifestOptions, check_name, flag, name_of
from autotuner.report.exported.pod_parts import Json, labels_of, resources_of, runner_env, secrets_left_out
from autotuner.report.exported.winner import Winner
from autotuner.study.base import Value, with_texts

_KINDS = ("ServingRuntime", "ClusterServingRuntime")
_KEPT = ("name", "namespace", "labels", "annotations")
"""Metadata of an existing object to keep; the API server sets the rest."""
_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_NEEDED = (
    "--image REPOSITORY:TAG",
    "--model-format NAME:VERSION",
    "--model-framework NAME:VERSION",
    "--architecture NAME",
    "--size-range LOW-HIGH",
)
"""Required for a new runtime, because OME treats an attribute that only one side has as a mismatch."""
_PROBE_S = 10
_NOT_CHOSEN = "autoSelect is false: name the runtime in an InferenceService"


def serving_runtime(winner: Winner, options: ManifestOptions) -> tuple[list[Json], list[str]]:
    """Builds the runtime.

    Returns:
        The runtime as the only object, and notes for the reader.

    Raises:
        UsageError: If options are missing, or the given runtime cannot serve the winner.
    """
    if options.start_from is None:
        return _new_runtime(winner, options)
    facts = ("model_format", "model_framework", "architecture", "quantization", "size_range")
    if given := next((name for name in facts if getattr(options, name) is not None), None):
        why = "is already set by the runtime in --from"
        remedy = "leave it out, or edit the file"
        raise UsageError(Problem(where=flag(given), why=why, remedy=remedy))
    return _tuned(winner, options, _runtime_in(options.start_from))


def _new_runtime(winner: Winner, options: ManifestOptions) -> tuple[list[Json], list[str]]:
    image = options.image or winner.image
    kind = options.model_format
    framework = options.model_framework
    architecture = options.architecture
    sizes = options.size_range
    if image is None or kind is None or framework is None or architecture is None or sizes is None:
        given = (image, kind, framework, architecture, sizes)
        raise UsageError([_missing(o) for o, value in zip(_NEEDED, given, strict=True) if value is None])
    port = port_of(winner, options)
    pod = as_pod(winner.origin)
    runner = {"image": image, **runner_of(winner, options, pod, port)}
    spec: Json = {
        "disabled": False,
        "supportedModelFormats": [
            {
                "modelFramework": framework.fields,
                "modelFormat": kind.fields,
                "modelArchitecture": architecture,
                **({"quantization": options.quantization} if options.quantization else {}),
                "autoSelect": False,
                "priority": 1,
            }
        ],
        "protocolVersions": ["openAI"],
        "modelSizeRange": {"min": sizes[0], "max": sizes[1]},
        "engineConfig": _engine_config(winner, pod, runner, port),
    }
    namespaced = {"namespace": options.namespace} if options.namespace else {}
    runtime = {
        "apiVersion": OME,
        "kind": _KINDS[0] if namespaced else _KINDS[1],
        "metadata": {
            "name": options.name or name_of(winner.result.spec.name, Form.SERVING_RUNTIME),
            **namespaced,
            "labels": labels_of(winner),
        },
        "spec": spec,
    }
    remarks = [*secrets_left_out(winner, options.env_secret), _NOT_CHOSEN, *runtime_note(winner.origin)]
    return [runtime], [*remarks, *notes(winner.origin, POD_IN_NEW_RUNTIME, CONTAINER_IN_NEW_RUNTIME)]


def _engine_config(winner: Winner, pod: PlainPod, runner: Mapping[str, Any], port: int) -> Json:
    """Returns the configuration of the engine: the runner with port, shared memory and probes, and its pod."""
    start_s = winner.plan.readiness.timeout_s
    path = winner.plan.readiness.path
    env = [] if winner.gpus else [{"name": n, "value": v} for n, v in NO_GPUS.items()]
    shm = [shared_memory("dshm", pod.shm_size if "shm_size" in pod.model_fields_set else None)]
    whole = {
        "name": CONTAINER,
        "image": runner["image"],
        "ports": [{"name": "http1", "containerPort": port, "protocol": "TCP"}],
        "command": [*runner["command"], *runner["args"]],
        **({"env": found} if (found := [*env, *runner.get("env", [])]) else {}),
        "volumeMounts": [*(mount for _, mount in shm), *runner.get("volumeMounts", [])],
        **{name: runner[name] for name in ("imagePullPolicy", "envFrom", "securityContext") if name in runner},
        **({"resources": runner["resources"]} if "resources" in runner else {}),
        "startupProbe": probe(path, port, periodSeconds=_PROBE_S, failureThreshold=max(1, round(start_s / _PROBE_S))),
        "readinessProbe": probe(path, port, periodSeconds=5, failureThreshold=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    own = [{"key": pod.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}] if winner.gpus else []
    return {
        **set_only({"labels": dict(pod.labels), "annotations": dict(pod.annotations)}),
        **pod_fields(pod, tolerations=[*own, *pod.tolerations]),
        "volumes": [volume for volume, _ in (*shm, *scratch_of(pod))],
        "runner": whole,
    }


def _missing(option: str) -> Problem:
    return Problem(
        where=option.split()[0], why="is missing", remedy=f"add {option}, or --from FILE with a runtime to start from"
    )


def _runtime_in(text: str) -> Json:
    """Returns the only runtime in a file."""
    try:
        found = [thing for thing in yaml_objects(text) if isinstance(thing, dict) and thing.get("kind") in _KINDS]
    except ValueError as error:
        raise UsageError.at("--from", f"is not valid YAML: {error}") from None
    if len(found) != 1:
        why = f"contains {len(found)} runtimes" if found else "contains no ServingRuntime or ClusterServingRuntime"
        raise UsageError.at("--from", why, remedy="kubectl get clusterservingruntime NAME -o yaml > FILE")
    return found[0]


def _tuned(winner: Winner, options: ManifestOptions, runtime: Json) -> tuple[list[Json], list[str]]:
    """Returns the runtime with the winner's flags in its command line, under another name."""
    spec = runtime.get("spec") if isinstance(runtime.get("spec"), dict) else {}
    config = (spec or {}).get("engineConfig") or {}
    runner = config.get("runner") if isinstance(config, dict) else None
    if not isinstance(spec, dict) or not isinstance(runner, dict):
        raise UsageError.at(
            "--from", "has no spec.engineConfig.runner", remedy="use a runtime whose server runs on one machine"
        )
    if "leader" in config or "worker" in config:
        raise UsageError.at(
            "--from",
            "runs on several machines (leader, worker)",
            remedy="use a runtime whose server runs on one machine",
        )
    flags = winner.flags()
    _check_overrides(winner, spec, flags)
    command, args = _command_line(winner, runner, flags)
    pod = as_pod(winner.origin)
    env = runner_env(winner, pod, options.env_secret)
    remarks = secrets_left_out(winner, options.env_secret)
    refuse_templates([], [], env)
    replaced = {v["name"] for v in env}
    kept = [v for v in runner.get("env") or [] if v.get("name") not in replaced]
    changed = {**runner, **({"command": command} if command else {}), **({"args": args} if args else {})}
    changed |= {"env": [*kept, *env]} if kept or env else {}
    changed |= {"image": options.image} if options.image else {}
    if resources_of(winner, pod):
        changed["resources"] = merged_resources(runner.get("resources") or {}, pod, winner.gpus)
    changed |= container_fields(pod)
    if extra := [mount for _, mount in scratch_of(pod)]:
        changed["volumeMounts"] = [*(runner.get("volumeMounts") or []), *extra]
    if not winner.gpus and options.image is None and winner.image and winner.image != runner.get("image"):
        remarks.append(f"the image is the runtime's ({runner.get('image')}); the engine's own is {winner.image}")
    formats = [{**f, "autoSelect": False} for f in spec.get("supportedModelFormats") or []]
    made = {
        "apiVersion": OME,
        "kind": runtime["kind"],
        "metadata": _metadata(winner, options, runtime),
        "spec": {
            **spec,
            "supportedModelFormats": formats,
            "engineConfig": {**_with_pod(pod, config), "runner": changed},
        },
    }
    return [made], [*remarks, _NOT_CHOSEN, *notes(winner.origin, POD_IN_RUNTIME, CONTAINER_IN_SERVICE)]


def _metadata(winner: Winner, options: ManifestOptions, runtime: Json) -> Json:
    metadata = {key: value for key, value in (runtime.get("metadata") or {}).items() if key in _KEPT and value}
    old = str(metadata.get("name", "runtime"))
    name = options.name or f"{old}-tuned"
    try:
        check_name(name, Form.SERVING_RUNTIME)
    except ValueError as error:
        raise UsageError(Problem.refused("--name", error, value=name, remedy="--name NAME")) from None
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != _APPLIED}
    namespace = options.namespace or metadata.get("namespace")
    if namespace and runtime["kind"] == _KINDS[1]:
        why = "does not apply to a ClusterServingRuntime"
        remedy = "leave it out"
        raise UsageError(Problem(where="--namespace", value=str(namespace), why=why, remedy=remedy))
    return {
        "name": name,
        **({"namespace": namespace} if namespace else {}),
        "labels": {**(metadata.get("labels") or {}), **labels_of(winner)},
        **({"annotations": annotations} if annotations else {}),
    }


def _command_line(winner: Winner, runner: Json, flags: Mapping[str, Value]) -> tuple[list[str], list[str]]:
    """Returns ``command`` and ``args`` with the winner's flags in place of the runtime's."""
    spec = winner.spec
    values = {name: with_texts(value, literal) for name, value in flags.items()}
    try:
        line = RuntimeLine.of(runner)
        if not same_engine(line, spec.kind, spec.settings, winner.plan):
            raise UsageError.at(
                "--from", f"is not a runtime of {spec.kind}", remedy="use a runtime of the study's engine"
            )
        made = line.with_flags(winner.engine, values)
    except RuntimeLineError as error:
        raise UsageError.at("--from", error.why, remedy=error.remedy) from None
    refuse_templates(list(made.command), list(made.args), [])
    return list(made.command), list(made.args)


def _check_overrides(winner: Winner, spec: Json, flags: Mapping[str, Value]) -> None:
    """Rejects a runtime whose settings for an accelerator, which OME applies last, would override tuned flags."""
    for supported in spec.get("supportedModelFormats") or []:
        for accelerator, config in (supported.get("acceleratorConfig") or {}).items():
            words = [str(word) for word in config.get("runtimeArgsOverride") or []]
            named = [n for n in flags if winner.engine.flag_value((PROGRAM, *words), n) is not None]
            if named or config.get("tensorParallelismOverride"):
                what = named[0] if named else "tensorParallelismOverride"
                raise UsageError.at(
                    "--from",
                    f"overrides tuned flags for accelerator {accelerator} ({what})",
                    remedy="remove that override",
                )


def _with_pod(pod: PlainPod, config: Json) -> Json:
    """Returns the runtime's pod with the settings of the study's pod."""
    known = [*(config.get("tolerations") or [])]
    made = {**config, **pod_fields(pod)}
    made |= set_only(
        {
            "tolerations": [*known, *(t for t in map(dict, pod.tolerations) if t not in known)],
            "nodeSelector": {**(config.get("nodeSelector") or {}), **pod.node_selector},
            "labels": {**(config.get("labels") or {}), **pod.labels},
            "annotations": {**(config.get("annotations") or {}), **pod.annotations},
            "volumes": [*(config.get("volumes") or []), *(volume for volume, _ in scratch_of(pod))],
        }
    )
    return made
