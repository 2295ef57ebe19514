"""A server in a pod: started, followed, told from any other, and removed. What makes the pod is the caller's choice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import Self

import anyio

from autotuner.deployers.kubernetes import logs, pod_status
from autotuner.deployers.kubernetes import tunnel as kubernetes_tunnel
from autotuner.deployers.kubernetes.admission import proxies_in
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pod_lifecycle import ControllerWatch, Limits, PodLifecycle
from autotuner.deployers.kubernetes.pod_status import PodState, Stage
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.deployers.kubernetes.watch import ChangeSignal
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.shared import failures
from autotuner.deployers.shared.readiness import answer, http_client
from autotuner.manifests.text import plain
from autotuner.plugins.deployer import CommandRunner, DeployContext, Endpoint
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Identity, LaunchPlan
from autotuner.study.trial import Phase

_DRAIN_S = 3.0
"""How long the log's end is waited for after the container's."""
_REACH_S = 30.0
_PROBE_S = 2.0
_CAVEAT = "the load went through the API server's port-forward: latencies and throughput are not those of the server"


class PodServer:
    """A server's pod for the time of the block, which begins when something was made that makes the pod.

    ``steps`` are the phases that it goes through, each of which is told, however short; waits are told between.
    """

    def __init__(
        self,
        cluster: Cluster,
        settings: PodSettings,
        plan: LaunchPlan,
        context: DeployContext,
        log: Log,
        *,
        selector: str,
        container: str,
        maker: Callable[[ChangeSignal], ControllerWatch],
        limits: Limits,
        hopeless: Callable[[str], Awaitable[str]],
        steps: Sequence[Phase],
    ) -> None:
        self.cluster = cluster
        self.settings = settings
        self.plan = plan
        self.log = log
        self._context = context
        self.container = container
        self.run = PodLifecycle(
            cluster,
            selector=selector,
            container=container,
            maker=maker,
            limits=limits,
            on_stage=self._on_stage,
            hopeless=hopeless,
        )
        self._phase = self._step = Phase.LAUNCHING
        self._ahead = list(steps)
        self._following: asyncio.Task[None] | None = None

    def _on_stage(self, stage: Stage, why: str) -> None:
        if stage is Stage.ACCEPTED or self.run.pod:
            self._reach(Phase.ACCEPTED)
        if stage is Stage.ON_NODE:
            self._reach(Phase.SCHEDULED)
        if stage is Stage.HELD:
            self._enter(Phase.QUEUED, f"waiting: {why}")
        elif stage is Stage.UNSCHEDULED:
            self._enter(Phase.QUEUED, f"waiting for a node: {why}")
        elif self.run.pulling:
            self._enter(Phase.PULLING, "the node fetches the image")
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
        """Returns when the server is ready. Raises ``TrialFailedError`` when it cannot be any more."""
        try:
            seen = await self.run.started()
        except TrialFailedError as error:
            raise self._with_tail(error.failure) from error
        self._following = asyncio.get_running_loop().create_task(self._follow())
        if seen.stage is not Stage.ENDED:
            self._reach(Phase.LOADING)
            timeout_s = self.settings.start_timeout or self.plan.readiness.timeout_s
            with anyio.move_on_after(timeout_s) as limit:
                seen = await self.run.ready()
            if limit.cancelled_caught:
                raise TrialFailedError(await self._not_ready(timeout_s))
        if seen.stage is Stage.ENDED:
            raise TrialFailedError(await self._failure(seen, was_ready=False))

    async def _not_ready(self, timeout_s: float) -> Failure:
        """A node or an API server that went away meanwhile is not the configuration's fault."""
        if lost := await self.run.lost_node():
            return self._with_tail(lost).failure
        await self.cluster.find(self.cluster.path("pods", self.run.name))
        said = "the pod is not ready"
        return failures.not_ready(timeout_s, self.plan.readiness.path, said, self.log.tail())

    async def ends(self) -> Failure:
        """Waits until the server ends, its node or the API server goes away, or the log cannot be written."""
        loop = asyncio.get_running_loop()
        waits = [loop.create_task(self._ended()), loop.create_task(self._log_fails())]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return next(task for task in waits if task in done).result()
        finally:
            for task in waits:
                task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*waits, return_exceptions=True)

    async def _ended(self) -> Failure:
        try:
            return await self._failure(await self.run.ended(), was_ready=True)
        except TrialFailedError as error:
            return self._with_tail(error.failure).failure

    async def _failure(self, seen: PodState, *, was_ready: bool) -> Failure:
        await self.drained()
        if seen.failure:
            return self._with_tail(seen.failure).failure
        tail = self.log.tail() or seen.why
        return failures.ended(self._context, seen.exit_code, tail, was_ready=was_ready)

    async def _log_fails(self) -> Failure:
        await self.log.failed.wait()
        assert self.log.failure is not None  # noqa: S101 - set together with the event
        return self.log.failure

    def _with_tail(self, failure: Failure) -> TrialFailedError:
        return TrialFailedError(failure.model_copy(update={"log_tail": failure.log_tail or self.log.tail()}))

    async def _follow(self) -> None:
        """Copies what the container writes, from its first line on."""
        try:
            lines = logs.follow(self.cluster, self.run.name, self.container, self._has_ended)
            async with aclosing(lines):
                async for line in lines:
                    self.log.write(line + b"\n")
        except TrialFailedError as error:
            self.log.say(str(error))

    def _has_ended(self) -> bool:
        seen = self.run.look()
        return seen is not None and seen.stage is Stage.ENDED

    async def drained(self) -> None:
        """Waits until the log has what an ended container wrote last."""
        if self._following:
            await asyncio.wait([self._following], timeout=_DRAIN_S)

    async def unfollowed(self) -> None:
        """The log is not followed any more; to be called shielded."""
        if self._following:
            self._following.cancel()
            await asyncio.wait([self._following])

    async def argv(self) -> tuple[str, ...]:
        """The command line as the container's first process has it, where a command may be run in it; else as the
        pod that runs says. A server that put a title in place of its arguments does not tell them."""
        told = _container(self.run.pod, self.container)
        asked = tuple(plain(word) for word in (*told.get("command", ()), *told.get("args", ())))
        readers = (("cat", "/proc/1/cmdline"), (*_python(asked), "-c", _READ))
        for reader in readers:
            found = await kubernetes_tunnel.output(self.cluster, self.run.name, self.container, reader)
            if found:
                words = tuple(word.decode(errors="replace") for word in found.removesuffix(b"\0").split(b"\0"))
                return words if len([w for w in words if w]) > 1 or len(asked) == 1 else asked
        return asked


_READ = "import sys; sys.stdout.buffer.write(open('/proc/1/cmdline', 'rb').read())"


def _python(argv: Sequence[str]) -> tuple[str, ...]:
    return (argv[0],) if argv and "python" in argv[0].rpartition("/")[2] else ("python3",)


def _container(pod: Json, name: str) -> Json:
    return next((c for c in pod["spec"]["containers"] if c["name"] == name), {})


class PodEndpoint(Endpoint):
    """A server in a pod, once it is ready."""

    def __init__(
        self, server: PodServer, argv: tuple[str, ...], url: str, info_url: str, client: CommandRunner
    ) -> None:
        self._server = server
        self._pod = server.run.pod
        self.url = url
        self.info_url = info_url
        self.client = client
        self.model = server.plan.model
        self.argv = argv

    @classmethod
    async def of(cls, server: PodServer, stack: AsyncExitStack, port: int, job: Callable[[], CommandRunner]) -> Self:
        """The endpoint, reached as the settings say; tunnels end with ``stack``. Raises ``TrialFailedError`` where it
        cannot be reached from here."""
        settings = server.settings
        pod = server.run.pod
        ip = str(pod["status"]["podIP"])
        tunnel = None
        if settings.load != "direct":
            local = await stack.enter_async_context(kubernetes_tunnel.forwarded(server.cluster, server.run.name, port))
            tunnel = f"http://127.0.0.1:{local}"
        host = f"[{ip}]" if ":" in ip else ip
        url = f"http://{host}:{port}"
        client: CommandRunner
        if settings.load == "job":
            client = job()
        else:
            client = LocalRunner()
            if tunnel:
                url = tunnel
                client.caveats = (_CAVEAT,)
            elif settings.url_template:
                names = {"name": server.run.name, "namespace": server.cluster.namespace}
                url = settings.url_template.format(ip=host, port=port, **names).rstrip("/").removesuffix("/v1")
            await _reached(url, server.plan)
        for name in proxies_in(pod):
            client.caveats = (*client.caveats, f"requests went through the proxy {name} in the server's pod")
        return cls(server, await server.argv(), url, tunnel or "", client)

    async def environment(self) -> Mapping[str, str]:
        """As the pod says that runs, without what a cluster's runtime adds."""
        told = _container(self._pod, self._server.container).get("env") or ()
        ours = self._server.plan.env
        return {entry["name"]: plain(entry.get("value") or "") for entry in told if entry["name"] in ours}

    async def facts(self) -> Mapping[str, str]:
        """The image that the node really runs: a tag may be moved to another one."""
        image = pod_status.image_id(self._pod, self._server.container)
        return {"image": image} if image else {}

    async def identity(self) -> Identity:
        """The pod's uid, and its container's start and restarts."""
        name = self._pod["metadata"]["name"]
        try:
            pod = await self._server.cluster.find(self._server.cluster.path("pods", name))
        except RefusedError as error:
            raise self._changed(error.message) from error
        if not pod or pod["metadata"]["uid"] != self._pod["metadata"]["uid"]:
            raise self._changed("its pod was removed")
        seen = pod_status.look(pod, self._server.container)
        if seen.stage not in {Stage.RUNNING, Stage.READY}:
            raise self._changed(f"its pod does not run: {seen.why or seen.stage}")
        if pod["status"].get("podIP") != self._pod["status"].get("podIP"):
            raise self._changed("its pod has another address now")
        return Identity(kind="pod", id=str(pod["metadata"]["uid"]), started=seen.started, restarts=seen.restarts)

    def _changed(self, why: str) -> TrialFailedError:
        message = f"{self.url} is not our server: {why}"
        return TrialFailedError(Failure(cause=FailureCause.IDENTITY_CHANGED, message=message))

    async def died(self) -> Failure:
        """Waits for the end of the container, its pod, its node, or the API server."""
        return await self._server.ends()

    async def log_tail(self, lines: int = 40) -> str:
        """The log's last lines."""
        return await anyio.to_thread.run_sync(self._server.log.tail, lines)

    def pids(self) -> frozenset[int]:
        """None of this machine."""
        return frozenset()


async def _reached(url: str, plan: LaunchPlan) -> None:
    """Returns when the ready server answers here too."""
    last = "nothing"
    with anyio.move_on_after(_REACH_S):
        async with http_client(url, timeout_s=_PROBE_S) as client:
            while True:
                status, last = await answer(client, plan.readiness.path)
                if status == plan.readiness.status:
                    return
                await anyio.sleep(0.1)
    message = f"the pod is ready, and {url}{plan.readiness.path} does not answer here: {last}"
    remedy = "correct deploy.url_template, or set deploy.load: job"
    raise TrialFailedError(Failure(cause=FailureCause.ENVIRONMENT, message=message, remedy=remedy))
