"""Life cycle of one pod from its request to its end, with limits for each wait.

Used for servers and load generators, whatever makes the pod: it is found by a label selector.
"""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.pods.controller_watch import ControllerWatch, events_about
from autotuner.deployers.kubernetes.pods.status import PodState, Stage, StartFailure
from autotuner.deployers.kubernetes.watch import ChangeSignal, ResourceWatch
from autotuner.deployers.shared.background import Background
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

logger = logging.getLogger(__name__)

_TRANSIENT_S = 120.0
"""How long to wait for a transient fault (of a registry, a volume) to resolve itself."""
_NODE_LOOK_S = 5.0
_SOON_S = 0.5
_STARTED = frozenset({Stage.RUNNING, Stage.READY, Stage.ENDED})


@dataclass(frozen=True)
class Limits:
    """Longest waits for a pod, in seconds."""

    schedule_s: float
    pull_s: float
    queue_s: float
    held: bool = False
    """Whether a queue may hold the object back before there is a pod."""


@dataclass(frozen=True)
class PodQuery:
    """Selector of a pod, and the limits of waiting for it."""

    selector: str
    """Label selector that matches only this pod."""
    container: str
    limits: Limits


async def _unknown(_: str) -> str:
    return ""


class PodLifecycle:
    """Follows one pod, once started.

    Args:
        cluster: Connection to the pod's namespace.
        query: The pod and its limits.
        watch_controller: Makes the watch of the object that makes the pod, which notifies the given signal.
        on_stage: Called with the stage and its reason while the pod starts.
        hopeless: Gets the scheduler's reason and returns why waiting for a node is pointless; empty: it is not.
    """

    def __init__(
        self,
        cluster: Cluster,
        query: PodQuery,
        watch_controller: Callable[[ChangeSignal], ControllerWatch],
        *,
        on_stage: Callable[[Stage, str], None] = lambda stage, why: None,
        hopeless: Callable[[str], Awaitable[str]] = _unknown,
    ) -> None:
        self.cluster = cluster
        self._query = query
        self._limits = query.limits
        self._signal = ChangeSignal()
        self.pods = ResourceWatch(cluster, cluster.path("pods"), labels=query.selector, signal=self._signal)
        """The pods that match the query: one, unless another client adds a second."""
        self._controller = watch_controller(self._signal)
        self._about_pod: ResourceWatch | None = None
        self._tasks: Background | None = None
        self._on_stage = on_stage
        self._hopeless = hopeless
        self._uid: str | None = None
        self.pod: Json = {}
        """Last known state of the pod; empty until there is one."""
        self._logged: dict[str, str] = {}

    async def start(self, tasks: Background) -> None:
        """Starts the watches as these tasks. Raises ``TrialFailedError`` if they are not allowed."""
        self._tasks = tasks
        for watch in (self.pods, *self._controller.watches):
            await watch.start(tasks)

    @property
    def name(self) -> str:
        """Name of the pod; empty until there is one."""
        return str(self.pod["metadata"]["name"]) if self.pod else ""

    def look(self) -> PodState | None:
        """Returns the current state of the pod; None while there is none.

        Only the first pod counts: a second one means that the first has ended.
        """
        seen = self._look()
        if seen is not None:
            self._log("state", f"{seen.stage} {seen.why}".strip())
        return seen

    def _log(self, what: str, text: str) -> None:
        """Logs what has changed since the last look."""
        if self._logged.get(what, "") != text:
            self._logged[what] = text
            name = self.name or "not there yet"
            logger.info("pod %s (container %s): %s: %s", name, self._query.container, what, text or "gone")

    def _look(self) -> PodState | None:
        found = self.pods.objects
        if self._uid is None and found:
            first = min(found.values(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
            self._uid = str(first["metadata"]["uid"])
        if self._uid is None:
            return None
        if self._uid in found:
            self.pod = found[self._uid]
            return pod_status.look(self.pod, self._query.container)
        # The pod is gone. If it had ended before, that is the cause, and the removal only followed.
        if (last := pod_status.look(self.pod, self._query.container)).stage is Stage.ENDED:
            return last
        message = f"pod {self.name} was removed by someone else"
        remedy = "do not delete pods with autotuner's labels"
        return PodState(Stage.ENDED, message, Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy))

    async def started(self) -> PodState:
        """Waits until the container runs or has ended.

        Raises ``TrialFailedError`` if it cannot start, or does not start in time.
        """
        clock = _Clock()
        while True:
            count = self._signal.count
            seen = self.look()
            if seen and seen.stage in _STARTED:
                if seen.failure:
                    raise TrialFailedError(seen.failure)
                return seen
            if seen and self._about_pod is None:
                await self._watch_pod_events()
                continue
            self._raise_lost()
            await self._check(seen, clock)
            with anyio.move_on_after(_SOON_S if clock.is_short else _NODE_LOOK_S):
                await self._signal.after(count)

    async def _watch_pod_events(self) -> None:
        if self._tasks is None:
            raise RuntimeError("the life cycle was not started")
        watch = events_about(self.cluster, str(self._uid), self._signal)
        await watch.start(self._tasks)
        self._about_pod = watch

    async def _check(self, seen: PodState | None, clock: "_Clock") -> None:
        """Reports the stage. Raises ``TrialFailedError`` if there is nothing more to wait for."""
        trouble = self._trouble(seen)
        self._log("problem", trouble.failure.message if trouble else "")
        stage, why = self._stage(seen, trouble)
        if stage:
            self._on_stage(stage, why)
        # Transient faults and waits in a queue have limits of their own, so these are checked more often.
        clock.is_short = trouble is not None or stage is Stage.HELD
        if stage is Stage.HELD:
            self._check_queue(why, trouble, clock)
            return
        clock.forget("queue")
        self._check_fault(trouble, clock)
        if seen is None or seen.stage is Stage.UNSCHEDULED:
            await self._check_node(why, trouble, clock)
        elif clock.lasts("pull", None) > self._limits.pull_s:
            # The pod is on a node, which still has to pull the image and mount the volumes.
            if trouble:
                raise TrialFailedError(trouble.failure)
            raise TrialFailedError(await self._late(f"not started within {self._limits.pull_s:g} s: {why or stage}"))

    def _check_queue(self, why: str, trouble: StartFailure | None, clock: "_Clock") -> None:
        """Limits the wait in a queue; the wait for a node starts after it."""
        clock.forget("node")
        if clock.lasts("queue", None) > self._limits.queue_s:
            failure = (trouble or StartFailure.no_room(why)).failure
            message = f"{failure.message} (waited for {self._limits.queue_s:g} s)"
            raise TrialFailedError(failure.model_copy(update={"message": message}))

    def _check_fault(self, trouble: StartFailure | None, clock: "_Clock") -> None:
        """Limits the wait for a transient fault, separately for each cause."""
        if trouble is None:
            clock.forget("fault")
        elif not trouble.transient or clock.lasts("fault", trouble.failure.cause) > _TRANSIENT_S:
            raise TrialFailedError(trouble.failure)

    async def _check_node(self, why: str, trouble: StartFailure | None, clock: "_Clock") -> None:
        """Limits the wait for a node."""
        # Listing the nodes costs a call, and the result does not change: once is enough.
        if why and clock.first("hopeless") and (never := await self._hopeless(why)):
            raise TrialFailedError(StartFailure.no_room(never).failure)
        if clock.lasts("node", None) > self._limits.schedule_s:
            reason = why or (trouble.failure.message if trouble else "no controller created a pod")
            late = f"no room within {self._limits.schedule_s:g} s: {reason}"
            raise TrialFailedError(StartFailure.no_room(late).failure)

    def _stage(self, seen: PodState | None, trouble: StartFailure | None) -> tuple[Stage | None, str]:
        if trouble and trouble.queued:
            return Stage.HELD, trouble.failure.message
        if seen is None and self._controller.accepted:
            return Stage.ACCEPTED, ""
        if seen is None:
            return (Stage.HELD, "held back by a queue") if self._limits.held and not trouble else (None, "")
        if seen.stage is Stage.UNSCHEDULED and not seen.why:
            return None, ""
        return seen.stage, seen.why

    def _trouble(self, seen: PodState | None) -> StartFailure | None:
        if seen and seen.failure:
            return StartFailure(seen.failure, transient=seen.transient)
        if seen is None:
            return self._controller.trouble()
        if seen.stage is Stage.ON_NODE and self._about_pod:
            return pod_status.events_trouble(self._about_pod.objects.values())
        return None

    @property
    def pulling(self) -> bool:
        """Whether the node is pulling an image for the pod."""
        reasons = [e.get("reason") for e in self._about_pod.objects.values()] if self._about_pod else []
        return reasons.count("Pulling") > reasons.count("Pulled")

    async def ready(self) -> PodState:
        """Waits until the container is ready or has ended."""
        while True:
            count = self._signal.count
            seen = self.look()
            if seen and seen.stage in {Stage.READY, Stage.ENDED}:
                return seen
            self._raise_lost()
            await self._signal.after(count)

    async def ended(self) -> PodState:
        """Waits until the container has ended, or its pod or node is gone.

        Raises ``TrialFailedError`` if the API server no longer responds.
        """
        while True:
            count = self._signal.count
            seen = self.look()
            if seen and seen.stage is Stage.ENDED:
                return seen
            self._raise_lost()
            # A pod that is no longer ready may be busy, or its node may be lost: only the node's status shows which.
            if seen and seen.stage is Stage.RUNNING and (node := await self.lost_node()):
                return PodState(Stage.ENDED, node.message, node)
            await self._signal.after(count)

    async def lost_node(self) -> Failure | None:
        """Returns the failure that the pod's node does not respond; None if it does, or if nodes may not be read."""
        name = (self.pod.get("spec") or {}).get("nodeName")
        if not name:
            return None
        try:
            node = await self.cluster.find(f"/api/v1/nodes/{name}")
        except RefusedError:
            return None
        if node and pod_status.is_ready_node(node):
            return None
        message = f"node {name} no longer responds" if node else f"node {name} is gone"
        remedy = "the trial is run again; see kubectl describe node"
        return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)

    async def _late(self, message: str) -> Failure:
        remedy = "raise deploy.pull_timeout, or pull the image on the nodes beforehand"
        lost = await self.lost_node()
        return lost or Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)

    def _raise_lost(self) -> None:
        for watch in (self.pods, *self._controller.watches, self._about_pod):
            if watch and watch.lost:
                raise TrialFailedError(watch.lost)


class _Clock:
    """How long each of several conditions has lasted."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, object]] = {}
        self._done: set[str] = set()
        self.is_short = False
        """Whether to check again soon, because the wait may end or exceed its limit soon."""

    def lasts(self, what: str, kind: object) -> float:
        """Returns the seconds since the condition began; a change of its kind restarts the count."""
        began, before = self._since.get(what, (time.monotonic(), kind))
        if before != kind:
            began = time.monotonic()
        self._since[what] = (began, kind)
        return time.monotonic() - began

    def forget(self, what: str) -> None:
        """Records that the condition has ended."""
        self._since.pop(what, None)

    def first(self, what: str) -> bool:
        """Returns whether this is the first call for the condition."""
        if what in self._done:
            return False
        self._done.add(what)
        return True
