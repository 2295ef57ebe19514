"""Servers in pods of a cluster, whatever makes the pods.

The promises: the pod that answers is the one that was started; its end, and that of its node and of the API server, are
noticed when they happen; nothing is left on any path, and what an API server that went away has kept is removed before
the next launch.
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
"""(cluster, plan, context, lease in seconds) -> the object to create. Raises ``TrialFailedError`` where it is known
beforehand that it would not work."""


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
        """A ready pod; see :meth:`autotuner.plugins.deployer.BoundDeployer.deploy`."""
        async with AsyncExitStack() as stack:
            log = Log(context.folder)
            stack.callback(log.close)
            cluster = await stack.enter_async_context(connected(self._settings))
            await self._leftovers.sweep(cluster, context.labels.owner, self._held)
            made_by = await self._describe(cluster, plan.in_container(), context, await self._lease_s(cluster))
            context.on_phase(Phase.LAUNCHING)
            stack.enter_context(self._held.holding(made_by.request.name))
            tasks = await stack.enter_async_context(Background())
            trial = PodTrial(cluster, made_by, context, log, tasks)
            try:
                yield await trial.started()
            finally:
                with anyio.CancelScope(shield=True):
                    await _release(trial, context)

    async def _lease_s(self, cluster: Cluster) -> float | None:
        """How long the cluster keeps a server without a heartbeat; None where this account cannot send any."""
        if self._may_move_deadlines is None:
            self._may_move_deadlines = await deadline.may_move(cluster)
        return deadline.lease_s(self._settings) if self._may_move_deadlines else None


async def _release(trial: PodTrial, context: DeployContext) -> None:
    """Removes everything. Where that fails, it is removed before the next launch."""
    try:
        await trial.remove()
    except TrialFailedError as error:
        context.note(f"{error.failure.message}; it is removed before the next launch")
