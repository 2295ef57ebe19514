"""Watch of an InferenceService with its Deployment and events, until the service is ready.

OME's reports are late and often misleading: a healthy service emits warnings in its first second, and an unhealthy one
may report nothing at all. So only objects count: a Deployment of the service, and a ready pod.
"""

import time

from autotuner.deployers.kubernetes.client import Cluster, Json
from autotuner.deployers.kubernetes.pods.controller_watch import events_about
from autotuner.deployers.kubernetes.pods.status import StartFailure, condition, message_in, not_made
from autotuner.deployers.kubernetes.watch import ChangeSignal, ResourceWatch
from autotuner.deployers.ome.resources import APPS, SERVICE_LABEL, SERVICES
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.manifests.ome_command_line import CONTAINER, OME
from autotuner.study.failure import Failure, FailureCause

_FATAL_EVENTS = frozenset(
    {
        "RuntimeValidationError", "ModelReconcileError", "RuntimeSelectionError", "RuntimeFetchError",
        "MergeSpecsError", "DeploymentModeError", "AcceleratorClassError", "ServerlessModeRejected",
    }
)  # fmt: skip
"""Reasons of events after which ome-controller-manager gives up."""
_OF_THE_MODEL = "ModelReconcileError"
_EVENT_COUNTS_S = 15.0
"""How long events may be transient: OME's cache lags behind new models and runtimes."""


class ServiceWatch:
    """Watches a created service."""

    def __init__(self, cluster: Cluster, made: Json, settings: OmeSettings, signal: ChangeSignal) -> None:
        self._uid = str(made["metadata"]["uid"])
        name = str(made["metadata"]["name"])
        self._accept_s = settings.accept_timeout
        self._events = events_about(cluster, self._uid, signal)
        path = cluster.path(SERVICES, group=OME)
        self._service = ResourceWatch(cluster, path, fields=f"metadata.name={name}", signal=signal)
        path = cluster.path("deployments", group=APPS)
        self._deployments = ResourceWatch(cluster, path, labels=f"{SERVICE_LABEL}={name}", signal=signal)
        self._since = time.monotonic()
        self.signal = signal
        self.lag_hint = f"see the log of ome-controller-manager in namespace {settings.ome_namespace}"

    @property
    def watches(self) -> tuple[ResourceWatch, ...]:
        """Watches of events, service and Deployment."""
        return (self._events, self._service, self._deployments)

    @property
    def deployment(self) -> Json | None:
        """The Deployment of this service, not of an older one with the same name."""
        for found in self._deployments.objects.values():
            if any(owner.get("uid") == self._uid for owner in found["metadata"].get("ownerReferences") or ()):
                return found
        return None

    @property
    def accepted(self) -> bool:
        """Whether OME has created a Deployment for the service."""
        return self.deployment is not None

    def trouble(self) -> StartFailure | None:
        """Returns why there is no pod; None if that is unknown."""
        waited_s = time.monotonic() - self._since
        deployment = self.deployment
        if deployment is not None:
            failure = condition(deployment.get("status") or {}, "ReplicaFailure")
            if failure.get("status") == "True":
                return not_made(message_in(failure), CONTAINER)
            return None
        if failure_reported := self._reported():
            return StartFailure(failure_reported, transient=waited_s < _EVENT_COUNTS_S)
        if waited_s < self._accept_s:
            return None
        message = (
            f"OME did not create a Deployment for the InferenceService within {self._accept_s:g} s, "
            "and reported no reason"
        )
        remedy = f"its controller is down, or could not create the pod: {self.lag_hint}"
        return StartFailure(Failure(cause=FailureCause.NOT_ACCEPTED, message=message, remedy=remedy))

    def _reported(self) -> Failure | None:
        """Returns the failure that OME's events report."""
        for event in self._events.objects.values():
            reason = str(event.get("reason"))
            why = message_in(event)
            if reason in _FATAL_EVENTS:
                cause = FailureCause.MODEL_MISSING if reason == _OF_THE_MODEL else FailureCause.NOT_ACCEPTED
                remedy = "correct model, deploy.runtime or deploy.namespace; autotuner doctor shows more"
                return Failure(cause=cause, message=f"OME refuses the service ({reason}): {why}", remedy=remedy)
        return None

    def unready(self) -> str:
        """Returns why the service as a whole is not ready, although its pod may be; empty if it is."""
        service = next(iter(self._service.objects.values()), None)
        if service is None:
            return "it is gone"
        deployment = self.deployment
        if deployment is None:
            return "it has no Deployment"
        status = deployment.get("status") or {}
        wanted = int(deployment["spec"].get("replicas", 1))
        # Until the controller has seen the newest generation, the counts below are those of the one before.
        if int(status.get("observedGeneration", 0)) < int(deployment["metadata"].get("generation", 0)):
            return "its Deployment is being changed"
        if not wanted == int(status.get("updatedReplicas", 0)) == int(status.get("availableReplicas", 0)):
            return f"its Deployment has {status.get('availableReplicas', 0)} of {wanted} replicas available"
        for kind in ("EngineReady", "Ready"):
            found = condition(service.get("status") or {}, kind)
            if found.get("status") != "True":
                why = found.get("message") or found.get("reason") or "no reason reported"
                return f"{kind} is {found.get('status', 'missing')} ({why})"
        return ""
