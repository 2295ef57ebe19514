"""Watches of the object that makes a pod, until the pod exists."""

from collections.abc import Iterable
from typing import Protocol

from autotuner.deployers.kubernetes.client import Cluster, Json
from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.pods.status import StartFailure
from autotuner.deployers.kubernetes.watch import ChangeSignal, ResourceWatch


class ControllerWatch(Protocol):
    """State of the object that makes a pod, while there is no pod yet."""

    @property
    def watches(self) -> tuple[ResourceWatch, ...]:
        """Watches that are started together with the pod's own."""

    @property
    def accepted(self) -> bool:
        """Whether an operator has accepted the object and created a controller; False without an operator."""

    def trouble(self) -> StartFailure | None:
        """Returns why there is no pod; None if that is unknown."""


class EventWatch:
    """Watches an object by its events alone: a Job's controller reports nothing else."""

    accepted = False

    def __init__(self, cluster: Cluster, uid: str, signal: ChangeSignal, container: str = "") -> None:
        """``container`` of the pod selects the settings that remedies name."""
        self._events = events_about(cluster, uid, signal)
        self._container = container

    @property
    def watches(self) -> tuple[ResourceWatch, ...]:
        """The watch of the events."""
        return (self._events,)

    @property
    def events(self) -> Iterable[Json]:
        """All events so far."""
        return self._events.objects.values()

    def trouble(self) -> StartFailure | None:
        """Returns the failure that the events report."""
        return pod_status.events_trouble(self.events, self._container)


def events_about(cluster: Cluster, uid: str, signal: ChangeSignal) -> ResourceWatch:
    """Watches the events about one object."""
    return ResourceWatch(cluster, cluster.path("events"), fields=f"involvedObject.uid={uid}", signal=signal)
