"""InferenceServices of OME, for trials and for exported winners.

OME merges a service over its runtime: maps by key, volumes and mounts by name, other lists whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from autotuner.manifests.kubernetes import queue_label
from autotuner.manifests.ome_command_line import OME
from autotuner.manifests.pod import container_fields, pod_fields, scratch_of, set_only
from autotuner.manifests.pod_settings import ServerPod

Json = dict[str, Any]

_NO_AUTOSCALER = {"ome.io/autoscalerClass": "external"}
"""Keeps OME from scaling the service: one server is measured, and one is exported."""


def inference_service(
    name: str,
    settings: ServerPod,
    runner: Mapping[str, Any],
    *,
    namespace: str | None = None,
    metadata: Mapping[str, Mapping[str, str]],
    model: Mapping[str, str],
    runtime: Mapping[str, str],
    grace_s: int,
    tolerations: Sequence[Mapping[str, Any]] | None = None,
) -> Json:
    """Returns the InferenceService of one server.

    Args:
        name: Name of the service.
        settings: The study's settings of the pod.
        runner: The server's container, as :func:`runner` returns it.
        namespace: Namespace in the manifest; None: the namespace in which it is applied.
        metadata: ``labels`` and ``annotations`` of the service.
        model: Name and kind of the model. OME finds it by name alone and uses the kind afterward.
        runtime: Name and kind of the serving runtime.
        grace_s: Seconds between SIGTERM and SIGKILL.
        tolerations: Replace the study's. OME replaces the runtime's list as a whole, so this one must contain both.
    """
    labels = {**metadata["labels"], **queue_label(settings.kueue_queue)}
    engine = {
        "minReplicas": 1,
        "maxReplicas": 1,
        "deploymentStrategy": {"type": "Recreate"},
        "terminationGracePeriodSeconds": grace_s,
        **pod_fields(settings, tolerations=tolerations),
        **set_only({"volumes": [volume for volume, _ in scratch_of(settings)]}),
        "runner": dict(runner),
    }
    return {
        "apiVersion": OME,
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            "labels": labels,
            "annotations": {**metadata.get("annotations", {}), **_NO_AUTOSCALER},
        },
        "spec": {"model": dict(model), "runtime": dict(runtime), "engine": engine},
    }


def runner(
    name: str,
    settings: ServerPod,
    *,
    command: Sequence[str],
    args: Sequence[str],
    env: Sequence[Json],
    resources: Mapping[str, Any],
    probes: Mapping[str, Json],
) -> Json:
    """Returns the server's container in a service or a runtime, without image and ports."""
    return {
        "name": name,
        "command": [*command],
        "args": [*args],
        **({"env": [*env]} if env else {}),
        **({"resources": dict(resources)} if resources else {}),
        **probes,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **container_fields(settings),
        **set_only({"volumeMounts": [mount for _, mount in scratch_of(settings)]}),
    }
