"""One pod of ours from the moment it is asked for to its end: watched, given up in time, and removed with what made it.

The same for servers and load generators, and for whatever makes the pod: it is known by a label selector.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import httpx

from autotuner.deployers.kubernetes import pod_status
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pod_status import PodState, Stage, StartFailure
from autotuner.deployers.kubernetes.refusals import judge, not_authenticated
from autotuner.deployers.kubernetes.watch import ChangeSignal, ResourceWatch
from autotuner.study.failure import Failure, FailureCause, TrialFailedError

_PATIENT_S = 120.0
"""How long a fault that may pass (a registry, a volume) is waited out."""
_NODE_LOOK_S = 5.0
_POLL_S = 0.1
_LATECOMERS_S = 1.0
_STARTED = frozenset({Stage.RUNNING, Stage.READY, Stage.ENDED})


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """Seconds."""

    schedule_s: float
    pull_s: float
    queue_s: float
    held: bool = False
    """A queue may hold it back before there is a pod at all."""


async def _unknown(_: str) -> str:
    return ""


class ControllerWatch:
    """Watches the controller object until its pod exists; this one looks at its events only.

    ``uid`` is the object's, ``part`` the container of its pod.
    """

    def __init__(self, cluster: Cluster, uid: str, news: ChangeSignal, part: str = "") -> None:
        self._events = about(cluster, uid, news)
        self._part = part

    @property
    def events(self) -> Iterable[Json]:
        """About the object, as they are now."""
        return self._events.objects.values()

    @property
    def watches(self) -> tuple[ResourceWatch, ...]:
        """To be entered with the pod's own."""
        return (self._events,)

    @property
    def accepted(self) -> bool:
        """Whether an operator took the object, and made of it what makes the pod; here nothing stands between."""
        return False

    def trouble(self) -> StartFailure | None:
        """Why there is no pod; None where nothing is known."""
        return pod_status.events_trouble(self.events, self._part)


def about(cluster: Cluster, uid: str, news: ChangeSignal) -> ResourceWatch:
    """The events about one object."""
    return ResourceWatch(cluster, cluster.path("events"), fields=f"involvedObject.uid={uid}", news=news)


class PodLifecycle:
    """Watches the pod for the time of the block. ``maker`` gives news of what makes it, from its constructor's news."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        selector: str,
        container: str,
        maker: Callable[[ChangeSignal], ControllerWatch],
        limits: Limits,
        on_stage: Callable[[Stage, str], None] = lambda stage, why: None,
        hopeless: Callable[[str], Awaitable[str]] = _unknown,
    ) -> None:
        self.cluster = cluster
        self._container = container
        self._limits = limits
        self._news = ChangeSignal()
        self._pods = ResourceWatch(cluster, cluster.path("pods"), labels=selector, news=self._news)
        self._maker = maker(self._news)
        self._about_pod: ResourceWatch | None = None
        self._stack = AsyncExitStack()
        self._on_stage = on_stage
        self._hopeless = hopeless
        self._uid: str | None = None
        self._logged: dict[str, str] = {}
        self.pod: Json = {}
        """As it was last seen."""

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._pods)
        for watched in self._maker.watches:
            await self._stack.enter_async_context(watched)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def name(self) -> str:
        """The pod's; empty until there is one."""
        return str(self.pod["metadata"]["name"]) if self.pod else ""

    def look(self) -> PodState | None:
        """The pod now; None while there is none. The first pod is the pod: another one means that this one ended."""
        seen = self._seen()
        if seen is not None:
            self._log("state", f"{seen.stage} {seen.why}".strip())
        return seen

    def _log(self, what: str, text: str) -> None:
        """Logs what changed since the last look."""
        if self._logged.get(what, "") != text:
            self._logged[what] = text
            logger.info(
                "pod %s (container %s): %s: %s", self.name or "not there yet", self._container, what, text or "gone"
            )

    def _seen(self) -> PodState | None:
        found = self._pods.objects
        if self._uid is None and found:
            self._uid = min(found.values(), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))["metadata"][
                "uid"
            ]
        if self._uid is None:
            return None
        if self._uid in found:
            self.pod = found[self._uid]
            return pod_status.look(self.pod, self._container)
        if (last := pod_status.look(self.pod, self._container)).stage is Stage.ENDED:
            return last
        message = f"pod {self.name} was removed by somebody else"
        remedy = "leave pods with autotuner's labels alone"
        return PodState(Stage.ENDED, message, Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy))

    async def started(self) -> PodState:
        """Waits until the container runs or has ended. Raises ``TrialFailedError`` when it cannot start, or takes too
        long for that."""
        clock = _Clock()
        while True:
            count = self._news.count
            seen = self.look()
            if seen and seen.stage in _STARTED:
                if seen.failure:
                    raise TrialFailedError(seen.failure)
                return seen
            if seen and self._about_pod is None:
                self._about_pod = await self._stack.enter_async_context(about(self.cluster, str(self._uid), self._news))
                continue
            self._raise_lost()
            await self._check(seen, clock)
            with anyio.move_on_after(_POLL_S * 5 if clock.is_short else _NODE_LOOK_S):
                await self._news.after(count)

    async def _check(self, seen: PodState | None, clock: "_Clock") -> None:
        """Tells how far it is, and raises when there is nothing more to be hoped for."""
        trouble = self._trouble(seen)
        self._log("problem", trouble.failure.message if trouble else "")
        stage, why = self._stage(seen, trouble)
        if stage:
            self._on_stage(stage, why)
        clock.is_short = trouble is not None or stage is Stage.HELD
        if stage is Stage.HELD:
            self._check_queue(why, trouble, clock)
            return
        clock.forget("queue")
        fault = trouble.failure if trouble else None
        if trouble is None:
            clock.forget("fault")
        elif not trouble.passing or clock.lasts("fault", trouble.failure.cause) > _PATIENT_S:
            raise TrialFailedError(trouble.failure)
        if seen is None or seen.stage is Stage.UNSCHEDULED:
            if why and clock.first("hopeless") and (never := await self._hopeless(why)):
                raise TrialFailedError(_no_room(never))
            if clock.lasts("node", None) > self._limits.schedule_s:
                told = why or (fault.message if fault else "nothing made a pod of it")
                raise TrialFailedError(_no_room(f"no room within {self._limits.schedule_s:g} s: {told}"))
            return
        if clock.lasts("pull", None) > self._limits.pull_s:
            if fault:
                raise TrialFailedError(fault)
            raise TrialFailedError(await self._late(f"not started within {self._limits.pull_s:g} s: {why or stage}"))

    def _check_queue(self, why: str, trouble: StartFailure | None, clock: "_Clock") -> None:
        """A place in a queue has a patience of its own; time for a node begins after it."""
        clock.forget("node")
        if clock.lasts("queue", None) > self._limits.queue_s:
            failure = trouble.failure if trouble else _no_room(why)
            message = f"{failure.message} (waited for {self._limits.queue_s:g} s)"
            raise TrialFailedError(failure.model_copy(update={"message": message}))

    def _stage(self, seen: PodState | None, trouble: StartFailure | None) -> tuple[Stage | None, str]:
        if trouble and trouble.queued:
            return Stage.HELD, trouble.failure.message
        if seen is None and self._maker.accepted:
            return Stage.ACCEPTED, ""
        if seen is None:
            return (Stage.HELD, "a queue holds it back") if self._limits.held and not trouble else (None, "")
        if seen.stage is Stage.UNSCHEDULED and not seen.why:
            return None, ""
        return seen.stage, seen.why

    def _trouble(self, seen: PodState | None) -> StartFailure | None:
        if seen and seen.failure:
            return StartFailure(seen.failure, passing=seen.patient)
        if seen is None:
            return self._maker.trouble()
        if seen.stage is Stage.ON_NODE and self._about_pod:
            return pod_status.events_trouble(self._about_pod.objects.values())
        return None

    @property
    def pulling(self) -> bool:
        """Whether the node fetches an image for it."""
        reasons = [e.get("reason") for e in self._about_pod.objects.values()] if self._about_pod else []
        return reasons.count("Pulling") > reasons.count("Pulled")

    async def ready(self) -> PodState:
        """Waits until the container is ready or has ended."""
        while True:
            count = self._news.count
            seen = self.look()
            if seen and seen.stage in {Stage.READY, Stage.ENDED}:
                return seen
            self._raise_lost()
            await self._news.after(count)

    async def ended(self) -> PodState:
        """Waits until the container has ended, its pod is gone, or its node. Raises ``TrialFailedError`` when the API
        server stays away."""
        while True:
            count = self._news.count
            seen = self.look()
            if seen and seen.stage is Stage.ENDED:
                return seen
            self._raise_lost()
            if seen and seen.stage is Stage.RUNNING and (node := await self.lost_node()):
                return PodState(Stage.ENDED, node.message, node)
            await self._news.after(count)

    async def lost_node(self) -> Failure | None:
        """That the pod's node does not answer; None where it does, or nobody may look."""
        name = (self.pod.get("spec") or {}).get("nodeName")
        if not name:
            return None
        try:
            node = await self.cluster.find(f"/api/v1/nodes/{name}")
        except RefusedError:
            return None
        if node and is_ready(node):
            return None
        message = f"node {name} does not answer any more" if node else f"node {name} is gone"
        remedy = "the trial is made again; see kubectl describe node"
        return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)

    async def _late(self, message: str) -> Failure:
        remedy = "raise deploy.pull_timeout, or have the image on the nodes before"
        lost = await self.lost_node()
        return lost or Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)

    def _raise_lost(self) -> None:
        for watched in (self._pods, *self._maker.watches, self._about_pod):
            if watched and watched.lost:
                raise TrialFailedError(watched.lost)

    async def removed(self, path: str, uid: str | None, limit_s: float) -> None:
        """Removes what makes the pod, and returns when that and the pod are gone; to be called shielded. Raises
        ``TrialFailedError`` with the cause when that takes too long."""
        await remove(self.cluster, path, uid, self._pods, limit_s)


async def remove(cluster: Cluster, path: str, uid: str | None, pods: ResourceWatch, limit_s: float) -> None:
    """Deletes an object, and returns when it and the watched pods are gone. Raises ``TrialFailedError``.

    Where there is no pod yet, controllers that heard of the object may still make one while it goes.
    """
    try:
        may_come = not pods.objects
        await cluster.delete(path, uid=uid)
        until = time.monotonic() + limit_s
        await _without_pods(cluster, path, pods, until)
        while await cluster.find(path) is not None:
            if time.monotonic() > until and (why := await _stuck(cluster, path, pods, late=True)):
                raise TrialFailedError(why)
            await anyio.sleep(_POLL_S)
        if may_come:
            await anyio.sleep(_LATECOMERS_S)
        await _without_pods(cluster, path, pods, until)
    except RefusedError as error:
        message = f"{path.rpartition('/')[2]} could not be removed: {error.message}"
        raise TrialFailedError(Failure(cause=FailureCause.ENVIRONMENT, message=message)) from error


async def _without_pods(cluster: Cluster, path: str, pods: ResourceWatch, until: float) -> None:
    while True:
        with anyio.move_on_after(_NODE_LOOK_S):
            await pods.until(lambda: None if pods.objects else True)
            return
        if why := await _stuck(cluster, path, pods, late=time.monotonic() > until):
            raise TrialFailedError(why)


async def _stuck(cluster: Cluster, path: str, pods: ResourceWatch, *, late: bool) -> Failure | None:
    """Why it is not worth waiting any longer: a lost node ends no pod, and time is up at some time."""
    name = path.rpartition("/")[2]
    for pod in list(pods.objects.values()):  # news may come while the API server is asked
        node = (pod.get("spec") or {}).get("nodeName")
        try:
            found = await cluster.find(f"/api/v1/nodes/{node}") if node else None
        except RefusedError:
            found = None
        if found and not is_ready(found):
            message = f"{name} is being deleted, and its node {node} does not answer"
            return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=f"kubectl describe node {node}")
    if not late:
        return None
    found = await cluster.find(path)
    holders = [f for o in (found, *pods.objects.values()) if o for f in o["metadata"].get("finalizers") or ()]
    message = f"{name} is still being deleted (finalizers: {', '.join(dict.fromkeys(holders)) or 'none'})"
    remedy = "see that the cluster's controllers run; kubectl describe tells who holds it"
    return Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy)


def is_ready(node: Json) -> bool:
    """Whether a node answers."""
    return pod_status.condition(node.get("status") or {}, "Ready").get("status") == "True"


def _no_room(why: str) -> Failure:
    cause = FailureCause.GPU_UNAVAILABLE if "gpu" in why.lower() else FailureCause.ENVIRONMENT
    remedy = "lower what a server asks for, free some of it, or add nodes (kubectl describe nodes)"
    return Failure(cause=cause, message=why, remedy=remedy)


class _Clock:
    """How long several things have lasted."""

    def __init__(self) -> None:
        self._since: dict[str, tuple[float, object]] = {}
        self._done: set[str] = set()
        self.is_short = False
        """Something is waited for that may end soon, or whose time may be up soon."""

    def lasts(self, what: str, kind: object) -> float:
        """Seconds since it began; another kind of it begins anew."""
        begun, before = self._since.get(what, (time.monotonic(), kind))
        if before != kind:
            begun = time.monotonic()
        self._since[what] = (begun, kind)
        return time.monotonic() - begun

    def forget(self, what: str) -> None:
        """It is over."""
        self._since.pop(what, None)

    def first(self, what: str) -> bool:
        """Whether this is asked for the first time."""
        if what in self._done:
            return False
        self._done.add(what)
        return True


def is_quota(error: RefusedError) -> bool:
    """Whether a ResourceQuota has no room now for the object itself."""
    return pod_status.not_made(error.message).queued


def refusal(error: RefusedError, what: str, part: str = "") -> Failure:
    """Why an object was not taken; ``part`` is the container of its pod."""
    message = f"{what} was refused: {error.message}"
    if "exceeded quota" in error.message:
        return pod_status.not_made(message).failure
    if error.code == httpx.codes.UNAUTHORIZED:
        return not_authenticated(error.message)
    remedy = judge(error.message, part).remedy
    if error.code == httpx.codes.NOT_FOUND:
        remedy = "make the namespace, or correct deploy.namespace"
    return Failure(cause=FailureCause.NOT_ACCEPTED, message=message, remedy=remedy)
