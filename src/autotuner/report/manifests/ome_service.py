"""The winner as an InferenceService of OME, for a runtime and a model that the cluster has.

OME admits much that it then drops without a word. What is known to end so is refused here. It replaces a runtime's
``command`` and ``args`` whole, so both are sent complete.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.manifests.ome_command_line import CONTAINER, MODEL_PATH, PORT, template_problems
from autotuner.manifests.ome_command_line import OME as API
from autotuner.manifests.pod import container_fields, pod_fields, set_only
from autotuner.manifests.text import literal
from autotuner.report.manifests.options import Form, ManifestOptions, Named, name_of, parse_options
from autotuner.report.manifests.pod_parts import Json, env_of, pod_metadata, probe, resources_of, scratch_of, stored_pod
from autotuner.report.manifests.winner import OME, Winner

_HERE = "/autotuner-model-path"
"""Stands for the model's path until everything else is made literal."""
_GRACE_S = 10


def inference_service(winner: Winner, options: ManifestOptions) -> tuple[list[Json], list[str]]:
    """The object, and what the reader should know. Raises ``UsageError`` for what OME would swallow."""
    found = _with_study(winner, options)
    runtime, model = _needed(found)
    name = found.name or name_of(winner.result.spec.name, Form.INFERENCE_SERVICE)
    runner, notes = runner_of(winner, found, port_of(winner, found))
    if options.image or winner.ran_in_image:
        runner = {"name": runner.pop("name"), "image": options.image or winner.image, **runner}
    else:
        notes.append(
            f"the image is the runtime's; the trial's engine is {winner.spec.kind}: {winner.image or 'no image'}"
        )
    namespace = {"namespace": found.namespace} if found.namespace else {}
    stored = stored_pod(winner)
    of_pod = pod_metadata(winner)
    service = {
        "apiVersion": API,
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            **namespace,
            "labels": of_pod["labels"],
            "annotations": {**of_pod.get("annotations", {}), "ome.io/autoscalerClass": "external"},
        },
        "spec": {
            "model": {"name": model.name, "kind": _kind(model, "BaseModel")},
            "runtime": {"name": runtime.name, "kind": _kind(runtime, "ServingRuntime")},
            "engine": {
                "minReplicas": 1,
                "maxReplicas": 1,
                "deploymentStrategy": {"type": "Recreate"},
                "terminationGracePeriodSeconds": _GRACE_S,
                **pod_fields(stored),
                **set_only({"volumes": [volume for volume, _ in scratch_of(winner)]}),
                "runner": runner,
            },
        },
    }
    if stored.tolerations:
        notes.append("OME takes these tolerations in place of the runtime's: add those that the runtime has")
    return [service], notes


def runner_of(winner: Winner, options: ManifestOptions, port: int) -> tuple[Json, list[str]]:
    """The server's container without image, ports and volumes, and what the reader should know."""
    moved = winner.with_model_at(_HERE)
    command, args = (
        [literal(word).replace(_HERE, MODEL_PATH) for word in words] for words in (moved.command(), moved.args(port))
    )
    env, notes = env_of(winner, options.env_secret)
    refuse_templates(command, args, env)
    resources = resources_of(winner)
    runner: Json = {
        "name": CONTAINER,
        "command": command,
        "args": args,
        **({"env": env} if env else {}),
        **({"resources": resources} if resources else {}),
        "readinessProbe": probe(winner, port, periodSeconds=5),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **container_fields(stored_pod(winner)),
        **set_only({"volumeMounts": [mount for _, mount in scratch_of(winner)]}),
    }
    return runner, notes


def port_of(winner: Winner, options: ManifestOptions) -> int:
    """The port that was asked for, the one that OME's own runtime used in the trial, or OME's usual one."""
    if options.port is None and winner.result.spec.deploy.kind == OME:
        argv = winner.trial.argv
        told = [b for a, b in pairwise(argv) if a == winner.plan.port_flag]
        return int(told[-1]) if told and told[-1].isdigit() else PORT
    return options.port or PORT


def refuse_templates(command: list[str], args: list[str], env: list[Json]) -> None:
    """OME reads a container as a template of its own: it stops at any other ``{{``, and tells nobody."""
    texts = {**{f"argument {i}": w for i, w in enumerate((*command, *args))}}
    texts |= {f"variable {v['name']}": str(v.get("value", "")) for v in env}
    if wrong := template_problems(texts):
        why = "holds {{, which OME reads as a template of its own and then builds nothing"
        remedy = "put the text into a file of the image or the model, and name the file"
        raise UsageError(Problem(where=wrong[0], value=texts[wrong[0]][:80], why=why, remedy=remedy))


def _kind(named: Named, kind: str) -> str:
    return kind if named.namespaced else f"Cluster{kind}"


def _needed(options: ManifestOptions) -> tuple[Named, Named]:
    problems = [
        Problem(where=f"--{what}", why=f"is missing: which {kind} of the cluster is it for?", remedy=f"--{what} NAME")
        for what, kind, given in (
            ("runtime", "(Cluster)ServingRuntime", options.runtime),
            ("model", "(Cluster)BaseModel", options.model),
        )
        if given is None
    ]
    if options.runtime is None or options.model is None:
        raise UsageError(problems)
    return options.runtime, options.model


def _with_study(winner: Winner, options: ManifestOptions) -> ManifestOptions:
    """What the study says of OME, where it was measured there; what was typed wins."""
    spec = winner.result.spec
    if spec.deploy.kind != OME:
        return options
    settings: Mapping[str, Any] = spec.deploy.settings
    if (tag := settings.get("image_tag")) and not settings.get("image") and options.image is None:
        why = f"is missing: it was measured with the runtime's image under tag {tag}"
        raise UsageError(Problem(where="--image", why=why, remedy="--image REPOSITORY:TAG"))
    told = {"runtime": settings.get("runtime"), "namespace": settings.get("namespace"), "model": spec.model.path}
    texts = {key: str(text) for key, text in told.items() if text and getattr(options, key) is None}
    of_study = parse_options(Form.INFERENCE_SERVICE, texts)
    return options.model_copy(update={key: getattr(of_study, key) for key in texts})
