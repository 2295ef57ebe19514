"""Phases, log and end of a server in a pod."""

from contextlib import aclosing

import anyio

from autotuner.concurrency import first_of
from autotuner.deployers.kubernetes import logs
from autotuner.deployers.kubernetes.client import Cluster
from autotuner.deployers.kubernetes.pods.lifecycle import PodLifecycle
from autotuner.deployers.kubernetes.pods.server_object import ServerObject
from autotuner.deployers.kubernetes.pods.status import PodState, Stage
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.shared import failures
from autotuner.deployers.shared.background import Background
from autotuner.plugins.deployer import DeployContext
from autotuner.study.failure import Failure, TrialFailedError
from autotuner.study.trial import Phase

_DRAIN_S = 3.0
"""How long to wait for the end of the log after the end of the container."""


class PodServer:
    """The server of one trial.

    Reports each step of ``server_object.steps`` to the context, however short, and waits between the steps.
    """

    def __init__(
        self, cluster: Cluster, server_object: ServerObject, context: DeployContext, log: Log, tasks: Background
    ) -> None:
        self.cluster = cluster
        self.server_object = server_object
        self.log = log
        self._request = server_object.request
        self._context = context
        self._tasks = tasks
        self._pod: PodLifecycle | None = None
        self._phase = self._step = Phase.LAUNCHING
        self._ahead = list(server_object.steps)
        self._copying = False
        self._copied = anyio.Event()

    def follow(self, pod: PodLifecycle) -> None:
        """Sets the pod that the object makes."""
        self._pod = pod

    @property
    def pod(self) -> PodLifecycle:
        """The pod that is followed."""
        if self._pod is None:
            raise RuntimeError("the server's pod is not followed yet")
        return self._pod

    @property
    def container(self) -> str:
        """Name of the server's container."""
        return self._request.pod.container

    def on_stage(self, stage: Stage, why: str) -> None:
        """Reports how far the pod has got."""
        if stage is Stage.ACCEPTED or self.pod.pod:
            self._reach(Phase.ACCEPTED)
        if stage is Stage.ON_NODE:
            self._reach(Phase.SCHEDULED)
        if stage is Stage.HELD:
            self._enter(Phase.QUEUED, f"waiting: {why}")
        elif stage is Stage.UNSCHEDULED:
            self._enter(Phase.QUEUED, f"waiting for a node: {why}")
        elif self.pod.pulling:
            self._enter(Phase.PULLING, "the node is pulling the image")
        else:
            self._enter(self._step)

    def _reach(self, step: Phase) -> None:
        while step in self._ahead:
            self._step = self._ahead.pop(0)
            self._enter(self._step)

    def _enter(self, phase: Phase, why: str = "") -> None:
        if phase is not self._phase:
            self._phase = phase
            self._context.on_phase(phase)
            if why:
                self._say(why)

    def _say(self, text: str) -> None:
        self.log.say(text)
        self._context.note(text)

    async def ready(self) -> None:
        """Returns once the server is ready. Raises ``TrialFailedError`` if it can no longer become ready."""
        try:
            seen = await self.pod.started()
        except TrialFailedError as error:
            raise self._with_tail(error.failure) from error
        self._copying = True
        self._tasks.start(self._copy_log)
        if seen.stage is not Stage.ENDED:
            self._reach(Phase.LOADING)
            timeout_s = self._request.settings.start_timeout or self._request.plan.readiness.timeout_s
            with anyio.move_on_after(timeout_s) as limit:
                seen = await self.pod.ready()
            if limit.cancelled_caught:
                raise TrialFailedError(await self._not_ready(timeout_s))
        if seen.stage is Stage.ENDED:
            raise TrialFailedError(await self._failure(seen, was_ready=False))

    async def _not_ready(self, timeout_s: float) -> Failure:
        # Check node and API server first: if one is gone, the configuration is not at fault.
        if lost := await self.pod.lost_node():
            return self._with_tail(lost).failure
        await self.cluster.find(self.cluster.path("pods", self.pod.name))
        state = "the pod is not ready"
        return failures.not_ready(timeout_s, self._request.plan.readiness.path, state, self.log.tail())

    async def ends(self) -> Failure:
        """Waits until the server ends, its node or the API server goes away, or the log cannot be written."""
        return await first_of(self._ended, self.log.fails, result_outranks_error=True)

    async def _ended(self) -> Failure:
        try:
            return await self._failure(await self.pod.ended(), was_ready=True)
        except TrialFailedError as error:
            return self._with_tail(error.failure).failure

    async def _failure(self, seen: PodState, *, was_ready: bool) -> Failure:
        await self.drained()
        if seen.failure:
            return self._with_tail(seen.failure).failure
        tail = self.log.tail() or seen.why
        return failures.ended(self._context, seen.exit_code, tail, was_ready=was_ready)

    def _with_tail(self, failure: Failure) -> TrialFailedError:
        return TrialFailedError(failure.model_copy(update={"log_tail": failure.log_tail or self.log.tail()}))

    async def _copy_log(self) -> None:
        """Copies the container's log from its first line on."""
        try:
            lines = logs.follow(self.cluster, self.pod.name, self.container, self._has_ended)
            async with aclosing(lines):
                async for line in lines:
                    self.log.write(line + b"\n")
        except TrialFailedError as error:
            self.log.say(str(error))
        finally:
            self._copied.set()

    def _has_ended(self) -> bool:
        seen = self.pod.look()
        return seen is not None and seen.stage is Stage.ENDED

    async def drained(self) -> None:
        """Waits until the log contains the last output of an ended container."""
        if self._copying:
            with anyio.move_on_after(_DRAIN_S):
                await self._copied.wait()
