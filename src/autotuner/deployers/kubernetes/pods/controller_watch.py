"""The object that makes a pod, watched until the pod exists."""

from collections.abc import Iterable
from typing import Protocol

from autotuner.deployers.kubernetes.client import Cluster, Json
from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.pods.status import StartFailure
from autotuner.deployers.kubernetes.watch import ChangeSignal, ResourceWatch


class ControllerWatch(Protocol):
    """What is known of the object that makes a pod, while there is no pod yet."""

    @property
    def watches(self) -> tuple[ResourceWatch, ...]:
        """To be entered together with the pod's own watch."""

    @property
    def accepted(self) -> bool:
        """An operator has accepted the object and created what makes the pod; False where no operator is involved."""

    def trouble(self) -> StartFailure | None:
        """Why there is no pod; None where nothing is known."""


class EventWatch:
    """Watches an object by its events alone: a Job's controller reports nothing else."""

    accepted = False

    def __init__(self, cluster: Cluster, uid: str, signal: ChangeSignal, container: str = "") -> None:
        """``container`` is the pod's, for remedies that name its settings."""
        self._events = events_about(cluster, uid, signal)
        self._container = container

    @property
    def watches(self) -> tuple[ResourceWatch, ...]:
        """The events."""
        return (self._events,)

    @property
    def events(self) -> Iterable[Json]:
        """All that are known now."""
        return self._events.objects.values()

    def trouble(self) -> StartFailure | None:
        """What the warnings among the events say."""
        return pod_status.events_trouble(self.events, self._container)


def events_about(cluster: Cluster, uid: str, signal: ChangeSignal) -> ResourceWatch:
    """Watches the events about one object."""
    return ResourceWatch(cluster, cluster.path("events"), fields=f"involvedObject.uid={uid}", signal=signal)
