"""Launch of one trial's server in a cluster: creation, wait until ready, and removal."""

import logging
import time
from contextlib import suppress

import anyio

from autotuner.deployers.kubernetes import failure_phrases, trial_objects
from autotuner.deployers.kubernetes import nodes as kubernetes_nodes
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.load.job import JobRunner
from autotuner.deployers.kubernetes.pods.deadline import Heartbeat
from autotuner.deployers.kubernetes.pods.lifecycle import PodLifecycle
from autotuner.deployers.kubernetes.pods.ready_server import PodEndpoint
from autotuner.deployers.kubernetes.pods.removal import remove_server
from autotuner.deployers.kubernetes.pods.server_object import ServerObject
from autotuner.deployers.kubernetes.pods.server_phases import PodServer
from autotuner.deployers.kubernetes.refused_object import is_quota
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.shared.background import Background
from autotuner.plugins.deployer import CommandRunner, DeployContext, Endpoint
from autotuner.study.failure import TrialFailedError
from autotuner.study.trial import Phase

logger = logging.getLogger(__name__)

_RETRY_S = 1.0
"""Pause between attempts to create an object that a quota has no room for."""


class PodTrial:
    """The server of one trial; its watches, log and heartbeat run as ``tasks``."""

    def __init__(
        self, cluster: Cluster, server_object: ServerObject, context: DeployContext, log: Log, tasks: Background
    ) -> None:
        self._cluster = cluster
        self._object = server_object
        self._context = context
        self._log = log
        self._tasks = tasks
        self._made: Json | None = None
        self._may_exist = False
        self._server: PodServer | None = None

    async def started(self) -> Endpoint:
        """Creates the object and returns when its server is ready. Raises ``TrialFailedError``."""
        made = await self._make()
        request = self._object.request
        server = PodServer(self._cluster, self._object, self._context, self._log, self._tasks)
        pod = PodLifecycle(
            self._cluster,
            request.pod,
            lambda signal: self._object.watch(made, signal),
            on_stage=server.on_stage,
            hopeless=self._hopeless,
        )
        await pod.start(self._tasks)
        server.follow(pod)
        self._server = server
        if request.lease_s is not None:
            path = self._object.kind.lease_path(self._cluster, request.name)
            # A Job that a queue holds back has not begun, and neither has its deadline.
            held = request.pod.limits.held
            beat = Heartbeat(self._cluster, path, request.lease_s, lambda: not held or bool(pod.pod))
            self._tasks.start(beat.run)
        await server.ready()
        await self._object.confirmed()
        return await PodEndpoint.of(server, self._load_generator, self._tasks)

    def _load_generator(self) -> CommandRunner:
        return JobRunner(self._cluster, self._object.request.load, trial_objects.owner_of(self._object.owner()))

    async def _make(self) -> Json:
        """Creates the object; waits for room where a quota of such objects is used up."""
        until = time.monotonic() + self._object.request.settings.queue_timeout
        waits = False
        while True:
            try:
                made = await self._create()
            except RefusedError as error:
                failure = self._object.refused(error)
                if not is_quota(error) or time.monotonic() > until:
                    raise TrialFailedError(failure) from error
                if not waits:
                    self._context.on_phase(Phase.QUEUED)
                    self._context.note(f"waiting: {failure.message}")
                waits = True
                await anyio.sleep(_RETRY_S)
                continue
            if waits:
                self._context.on_phase(Phase.LAUNCHING)
            return made

    async def _create(self) -> Json:
        # Shielded: nothing would remove an object that a cancelled call still creates.
        with anyio.CancelScope(shield=True):
            self._may_exist = True
            try:
                made = self._made = await self._object.create()
            except RefusedError as error:
                self._may_exist = False
                logger.info("%s %s refused: %s", self._object.kind.singular, self._object.request.name, error)
                raise
            logger.info("%s %s created", self._object.kind.singular, self._object.request.name)
        return made

    async def _hopeless(self, why: str) -> str:
        """Returns why waiting for a node is pointless; empty if it is not, or if that is unknown."""
        if failure_phrases.CLAIM_MISSING.found_in(why):
            return why
        request = self._object.request
        if request.settings.gpus:
            return ""  # the study gives the number of GPUs: nodes may be added on demand
        with suppress(TrialFailedError):
            nodes = await kubernetes_nodes.list_nodes(self._cluster, request.nodes, gpus=False)
            return kubernetes_nodes.never_fits(nodes, request.resources)
        return ""

    async def remove(self) -> None:
        """Removes everything; must be called shielded. Raises ``TrialFailedError`` for what cannot be removed."""
        uid = self._made["metadata"]["uid"] if self._made else None
        request = self._object.request
        try:
            if self._may_exist:
                await remove_server(self._cluster, self._object.kind, request.name, uid, request.settings.stop_grace)
        except TrialFailedError as error:
            raise TrialFailedError(await self._object.explained(error.failure)) from error
        if self._server:
            await self._server.drained()
