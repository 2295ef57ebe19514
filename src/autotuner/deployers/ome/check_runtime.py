"""Checks of a runtime of OME: whether it can be tuned, and whether it serves the model.

OME accepts almost all of these faults without an error, and then creates no server.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.deployers.ome.resources import OmeResource, engine_config, runner
from autotuner.deployers.ome.runtime_matching import why_not
from autotuner.errors import did_you_mean
from autotuner.manifests.ome_command_line import CONTAINER, RuntimeLine, RuntimeLineError, template_problems
from autotuner.manifests.text import amount
from autotuner.study.check import Check

NAME = "runtime"
_ONE_POD = "choose a runtime whose server is one pod"
_LONGEST_NAME = 63
_DISAGGREGATED = "disaggregation-mode"


def absent(
    name: str | None, namespace: str, known: Sequence[str], serving: Sequence[str], elsewhere: Sequence[str]
) -> Check:
    """Returns the failed check for an unknown runtime, or for none. ``serving``: runtimes that serve the model."""
    remedy = f"these serve the model: {', '.join(serving)}" if serving else ""
    if name is None:
        return Check.fail(
            NAME,
            "deploy.runtime is not set",
            remedy=f"set deploy.runtime; {remedy}" if remedy else "set deploy.runtime",
        )
    if elsewhere:
        detail = f"ServingRuntime {name} is in namespace {elsewhere[0]}, not in {namespace}"
        return Check.fail(
            NAME, detail, remedy=remedy or "set deploy.namespace to it, or create a ClusterServingRuntime"
        )
    detail = f"{name} is neither a ServingRuntime of {namespace} nor a ClusterServingRuntime"
    return Check.fail(
        NAME, detail, remedy=remedy or did_you_mean(name, list(known)) or "create a ServingRuntime with this name"
    )


def checks(runtime: OmeResource, model: OmeResource | None, gpu_resource: str) -> list[Check]:
    """Makes all checks of a runtime, with the model if there is one."""
    found = [
        Check.fail(NAME, f"{runtime.kind} {runtime.name} {why}", remedy=remedy)
        for why, remedy in faults(runtime, gpu_resource)
    ]
    reasons = why_not(runtime, model) if model else []
    if model and reasons:
        why = f"{runtime.kind} {runtime.name} does not serve {model.name}: {'; '.join(reasons)}"
        found.append(
            Check.fail(NAME, why, remedy="choose another runtime, or correct the formats in model and runtime")
        )
    found += _accelerators(runtime)
    if any(check.name == NAME and check.remedy for check in found):
        return found
    serves = f", serves {model.name}" if model else ""
    return [Check.ok(NAME, f"{runtime.kind} {runtime.name}{serves}"), *found]


def _accelerators(runtime: OmeResource) -> list[Check]:
    classes = (runtime.spec.get("acceleratorRequirements") or {}).get("acceleratorClasses") or []
    if not classes:
        return []
    why = f"{runtime.name} names accelerator classes ({', '.join(map(str, classes))}), which may override parallelism"
    return [
        Check.warn(
            "accelerators",
            why,
            remedy="see acceleratorConfig of its formats: settings that it overrides cannot be tuned",
        )
    ]


def faults(runtime: OmeResource, gpu_resource: str) -> list[tuple[str, str]]:
    """Returns (why, remedy) of each fault that prevents tuning; ``why`` continues after the runtime's name."""
    config = engine_config(runtime)
    own = runner(runtime)
    found = []
    if len(runtime.name) > _LONGEST_NAME:
        found.append(("has a name that is too long for a label: no pod could be created", "use at most 63 characters"))
    if config.get("leader") or config.get("worker"):
        found.append(("runs on several nodes (leader, worker), which is not supported", _ONE_POD))
    if runtime.spec.get("decoderConfig"):
        found.append(("splits prefill from decode (decoderConfig), which is not supported", _ONE_POD))
    if not own:
        return found or [("has no engineConfig.runner, from which OME makes the server", _ONE_POD)]
    if own.get("name") != CONTAINER:
        why = f"calls its server's container {own.get('name') or 'nothing'}, but OME looks for {CONTAINER}"
        found.append((why, f"set engineConfig.runner.name to {CONTAINER}"))
    return [*found, *_line(own), *_templates(own), *_extended(own, gpu_resource)]


def _line(own: Mapping[str, Any]) -> list[tuple[str, str]]:
    try:
        words = RuntimeLine.of(own).words
    except RuntimeLineError as error:
        return [(error.why, error.remedy)]
    if any(w.lstrip("-").replace("_", "-").startswith(_DISAGGREGATED) and w.startswith("-") for w in words):
        return [(f"splits prefill from decode (--{_DISAGGREGATED}), which is not supported", _ONE_POD)]
    return []


def _templates(own: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns faults for templates other than the service's metadata, at which OME stops silently."""
    words = {f"{part}[{i}]": word for part in ("command", "args") for i, word in enumerate(own.get(part) or ())}
    words |= {f"env {one.get('name')}": one.get("value") for one in own.get("env") or ()}
    wrong = template_problems({where: str(word or "") for where, word in words.items()})
    remedy = "put the text into a file in the image or the model folder, and pass the file"
    return [(f"has {{{{ in {where}, which OME reads as a template", remedy) for where in wrong]


def _extended(own: Mapping[str, Any], gpu_resource: str) -> list[tuple[str, str]]:
    """Returns faults for devices with different request and limit; GPUs are set by the study."""
    resources = own.get("resources") or {}
    requests = resources.get("requests") or {}
    limits = resources.get("limits") or {}
    found = []
    for name in sorted({*requests, *limits}):
        if "/" not in name or name == gpu_resource or name not in requests:
            continue
        requested = requests[name]
        limit = limits.get(name)
        if limit is None or amount(requested) != amount(limit):
            why = f"requests {name} {requested} with {'no limit' if limit is None else f'a limit of {limit}'}"
            found.append((f"{why}: no pod could be created", "set request and limit to the same value"))
    return found


def overview(names: Sequence[str]) -> Check:
    """Counts the runtimes that servers of the namespace could use, for a diagnosis without a study."""
    if not names:
        return Check.warn("runtimes", "none found", remedy="create a ServingRuntime or a ClusterServingRuntime")
    return Check.ok("runtimes", f"{len(names)}")
