"""Objects of plain Kubernetes: a trial's Job, and the Deployment and Service of a winner."""

import math
from collections.abc import Mapping
from typing import Any

from autotuner.manifests.labels import GROUP, NAME, QUEUE, trial_annotations, trial_labels
from autotuner.manifests.pod import SERVER, measured_metadata, pod_metadata, server_pod
from autotuner.manifests.pod_settings import PlainPod
from autotuner.manifests.server import Server
from autotuner.study.launch import Labels

Json = dict[str, Any]

BATCH = "batch/v1"
_KEPT_S = 600
"""Seconds for which the cluster keeps a server's Job that ended and was not removed by its tuner."""
_GRACE_S = 30
"""Seconds between SIGTERM and SIGKILL of an exported server: Kubernetes' default."""
_PULL_S = 1800
"""Seconds in addition to the engine's start timeout before the Deployment counts as stuck: images are large."""


def server_job(
    server: Server, settings: PlainPod, name: str, labels: Labels, *, deadline_s: float, grace_s: float
) -> Json:
    """A trial's server: a Job of one pod that is never replaced.

    Args:
        server: What the pod starts.
        settings: What the study says about its pods.
        name: Of the Job.
        labels: Study, trial and owner.
        deadline_s: Seconds after which the cluster ends it.
        grace_s: Seconds between SIGTERM and SIGKILL.
    """
    own = {**trial_labels(labels, name, SERVER), GROUP: name}
    notes = trial_annotations(labels)
    metadata = pod_metadata(settings, own, notes)
    pod = {"restartPolicy": "Never", **server_pod(server, settings, probe_period_s=1, grace_s=math.ceil(grace_s))}
    spec: Json = {
        "backoffLimit": 0,
        "activeDeadlineSeconds": math.ceil(deadline_s),
        "ttlSecondsAfterFinished": _KEPT_S,
        "template": {"metadata": measured_metadata(settings, own, notes), "spec": pod},
    }
    if settings.kueue_queue:
        metadata["labels"] |= queue_label(settings.kueue_queue)
        spec["suspend"] = True
    return {"apiVersion": BATCH, "kind": "Job", "metadata": {"name": name, **metadata}, "spec": spec}


def queue_label(queue: str | None) -> dict[str, str]:
    """The label that puts an object into a queue of Kueue."""
    return {QUEUE: queue} if queue else {}


def deployment(
    server: Server,
    settings: PlainPod,
    name: str,
    *,
    namespace: str | None,
    labels: Mapping[str, str],
    start_timeout_s: float,
) -> list[Json]:
    """A winner in service: a Deployment of one pod, and a Service in front of it."""
    selector = {NAME: name}
    of_pod = pod_metadata(settings, labels, {})
    # Ours first for the reader, and again last: a label of the study must not take the pod from its Service.
    of_pod["labels"] = {**selector, **of_pod["labels"], **selector}
    pod = server_pod(server, settings, probe_period_s=5, grace_s=_GRACE_S)
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "progressDeadlineSeconds": math.ceil(start_timeout_s) + _PULL_S,
        "selector": {"matchLabels": selector},
        "template": {"metadata": of_pod, "spec": pod},
    }
    # Queues and policies read the labels of the Deployment itself too.
    of_all = {**of_pod, "labels": {**of_pod["labels"], **queue_label(settings.kueue_queue)}}
    placed = {"name": name, **({"namespace": namespace} if namespace else {})}
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {**placed, **of_all}, "spec": spec},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**placed, "labels": dict(of_pod["labels"])},
            "spec": {"selector": selector, "ports": [{"name": "http", "port": server.port, "targetPort": "http"}]},
        },
    ]
