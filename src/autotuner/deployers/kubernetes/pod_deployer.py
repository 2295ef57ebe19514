"""Servers in pods of a cluster, whatever makes the pods.

Guarantees: the pod that responds is the one that was started. The end of the pod, of its node and of the API server is
detected when it happens. Nothing is left behind on any path; what could not be removed because the API server was down
is removed before the next launch.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import final

import anyio

from autotuner.deployers.kubernetes.client import Cluster, connected
from autotuner.deployers.kubernetes.pods import deadline
from autotuner.deployers.kubernetes.pods.leftovers import PodLeftovers
from autotuner.deployers.kubernetes.pods.server_object import ObjectKind, ServerObject
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.deployers.kubernetes.trial_launch import PodTrial
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.shared.background import Background
from autotuner.deployers.shared.leftovers import Held
from autotuner.plugins.deployer import DeployContext, Endpoint
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase

Describe = Callable[[Cluster, LaunchPlan, DeployContext, float | None], Awaitable[ServerObject]]
"""(cluster, plan, context, lease in seconds) -> the object to create. Raises ``TrialFailedError`` if it certainly would
not work."""


@final
class PodDeployer:
    """Creates one object per trial, which makes one pod."""

    def __init__(self, settings: ServerSettings, kind: ObjectKind, describe: Describe) -> None:
        self._settings = settings
        self._leftovers = PodLeftovers(settings, kind)
        self._describe = describe
        self._held = Held()
        self._may_move_deadlines: bool | None = None

    @asynccontextmanager
    async def deploy(self, plan: LaunchPlan, context: DeployContext) -> AsyncIterator[Endpoint]:
        """Starts a pod and yields once it is ready; see :meth:`autotuner.plugins.deployer.BoundDeployer.deploy`."""
        async with AsyncExitStack() as stack:
            log = Log(context.folder)
            stack.callback(log.close)
            cluster = await stack.enter_async_context(connected(self._settings))
            await self._leftovers.sweep(cluster, context.labels.owner, self._held)
            server_object = await self._describe(cluster, plan.in_container(), context, await self._lease_s(cluster))
            context.on_phase(Phase.LAUNCHING)
            stack.enter_context(self._held.holding(server_object.request.name))
            tasks = await stack.enter_async_context(Background())
            trial = PodTrial(cluster, server_object, context, log, tasks)
            try:
                yield await trial.started()
            finally:
                with anyio.CancelScope(shield=True):
                    await _release(trial, context)

    async def _lease_s(self, cluster: Cluster) -> float | None:
        """Returns how long the cluster keeps a server without a heartbeat; None if this account may not send any."""
        if self._may_move_deadlines is None:
            self._may_move_deadlines = await deadline.may_move(cluster)
        return deadline.lease_s(self._settings) if self._may_move_deadlines else None


async def _release(trial: PodTrial, context: DeployContext) -> None:
    """Removes everything now, or else before the next launch."""
    try:
        await trial.remove()
    except TrialFailedError as error:
        context.note(f"{error.failure.message}; it will be removed before the next launch")
