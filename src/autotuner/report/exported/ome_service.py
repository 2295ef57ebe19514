"""The winner as an InferenceService of OME, for a runtime and a model in the cluster.

OME accepts some objects without ever creating anything for them and without an event. What is known to end that way is
rejected here. OME replaces ``command`` and ``args`` of a runtime as a whole, so both are written complete.
"""

from itertools import pairwise

from autotuner.errors import Problem, UsageError
from autotuner.manifests import inference_service as manifests_inference_service
from autotuner.manifests.ome_command_line import CONTAINER, MODEL_PATH, PORT, template_problems
from autotuner.manifests.platform_translation import CONTAINER_IN_SERVICE, POD_IN_SERVICE, as_pod, notes
from autotuner.manifests.pod import probe
from autotuner.manifests.pod_settings import ServerPod
from autotuner.manifests.text import literal
from autotuner.report.exported.options import Form, ManifestOptions, Named, name_of, parse_options
from autotuner.report.exported.pod_parts import Json, metadata_of, resources_of, runner_env, secrets_left_out
from autotuner.report.exported.winner import Winner

_HERE = "/autotuner-model-path"
"""Placeholder for the model's path until everything else has been escaped."""
_GRACE_S = 10


def inference_service(winner: Winner, options: ManifestOptions) -> tuple[list[Json], list[str]]:
    """Builds the InferenceService.

    Returns:
        The service as the only object, and notes for the reader.

    Raises:
        UsageError: If options are missing, or OME would ignore a part of the service.
    """
    found = _with_study(winner, options)
    runtime, model = _needed(found)
    pod = as_pod(winner.origin)
    runner = runner_of(winner, found, pod, port_of(winner, found))
    remarks = secrets_left_out(winner, found.env_secret)
    if options.image or winner.ran_in_image:
        runner = {"name": runner.pop("name"), "image": options.image or winner.image, **runner}
    else:
        remarks.append(
            f"the image is the runtime's; the trial's engine is {winner.spec.kind}: {winner.image or 'no image'}"
        )
    service = manifests_inference_service.inference_service(
        found.name or name_of(winner.result.spec.name, Form.INFERENCE_SERVICE),
        pod,
        runner,
        namespace=found.namespace,
        metadata=metadata_of(winner, pod),
        model={"name": model.name, "kind": _kind(model, "BaseModel")},
        runtime={"name": runtime.name, "kind": _kind(runtime, "ServingRuntime")},
        grace_s=_GRACE_S,
    )
    if pod.tolerations:
        remarks.append("OME uses these tolerations instead of the runtime's; add those that the runtime has")
    return [service], [*remarks, *notes(winner.origin, POD_IN_SERVICE, CONTAINER_IN_SERVICE)]


def runner_of(winner: Winner, options: ManifestOptions, pod: ServerPod, port: int) -> Json:
    """Builds the server's container without image and ports."""
    moved = winner.with_model_at(_HERE)
    command, args = (
        [literal(word).replace(_HERE, MODEL_PATH) for word in words] for words in (moved.command(), moved.args(port))
    )
    env = runner_env(winner, pod, options.env_secret)
    refuse_templates(command, args, env)
    return manifests_inference_service.runner(
        CONTAINER,
        pod,
        command=command,
        args=args,
        env=env,
        resources=resources_of(winner, pod),
        probes={"readinessProbe": probe(winner.plan.readiness.path, port, periodSeconds=5)},
    )


def port_of(winner: Winner, options: ManifestOptions) -> int:
    """Returns the port of ``--port``, the one that the runtime used in the trial, or OME's default."""
    if options.port is None and winner.origin.runtime is not None:
        argv = winner.trial.argv
        values = [value for flag, value in pairwise(argv) if flag == winner.plan.port_flag]
        return int(values[-1]) if values and values[-1].isdigit() else PORT
    return options.port or PORT


def refuse_templates(command: list[str], args: list[str], env: list[Json]) -> None:
    """Rejects ``{{`` in a container: OME treats it as a template and silently stops at one that it does not know."""
    texts = {**{f"argument {i}": w for i, w in enumerate((*command, *args))}}
    texts |= {f"variable {v['name']}": str(v.get("value", "")) for v in env}
    if wrong := template_problems(texts):
        why = "contains {{, which OME treats as a template and then creates nothing"
        remedy = "put the text into a file in the image or the model, and pass its path"
        raise UsageError(Problem(where=wrong[0], value=texts[wrong[0]][:80], why=why, remedy=remedy))


def _kind(named: Named, kind: str) -> str:
    return kind if named.namespaced else f"Cluster{kind}"


def _needed(options: ManifestOptions) -> tuple[Named, Named]:
    problems = [
        Problem(where=f"--{what}", why=f"is missing; it names a {kind} of the cluster", remedy=f"add --{what} NAME")
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
    """Adds what the study knows about OME; options take precedence."""
    origin = winner.origin
    if origin.runtime_image_tag and options.image is None:
        why = f"is missing; the winner was measured with the runtime's image and tag {origin.runtime_image_tag}"
        raise UsageError(Problem(where="--image", why=why, remedy="add --image REPOSITORY:TAG"))
    model = winner.result.spec.model.path if origin.runtime is not None else None
    known = {"runtime": origin.runtime, "namespace": origin.namespace, "model": model}
    texts = {key: text for key, text in known.items() if text and getattr(options, key) is None}
    of_study = parse_options(Form.INFERENCE_SERVICE, texts)
    return options.model_copy(update={key: getattr(of_study, key) for key in texts})
