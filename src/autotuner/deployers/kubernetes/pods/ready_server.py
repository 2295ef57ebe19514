"""Endpoint of a ready server in a pod: its address, and whether it is still the same server."""

from collections.abc import Callable, Mapping, Sequence
from typing import Self

import anyio

from autotuner.deployers.kubernetes import tunnel as kubernetes_tunnel
from autotuner.deployers.kubernetes.checks.admission import proxies_in
from autotuner.deployers.kubernetes.client import Cluster, Json, RefusedError
from autotuner.deployers.kubernetes.pods import status as pod_status
from autotuner.deployers.kubernetes.pods.server_object import ServerObject
from autotuner.deployers.kubernetes.pods.server_phases import PodServer
from autotuner.deployers.kubernetes.pods.status import Stage
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.deployers.shared.background import Background
from autotuner.deployers.shared.readiness import answer, http_client
from autotuner.manifests.text import plain
from autotuner.plugins.deployer import CommandRunner, Endpoint
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Identity, LaunchPlan

_REACH_S = 30.0
_PROBE_S = 2.0
_CAVEAT = "requests went through the API server's port-forward: latencies and throughput are not those of the server"
_READ = "import sys; sys.stdout.buffer.write(open('/proc/1/cmdline', 'rb').read())"


class PodEndpoint(Endpoint):
    """A ready server in a pod."""

    def __init__(
        self, server: PodServer, argv: tuple[str, ...], url: str, info_url: str, client: CommandRunner
    ) -> None:
        self._server = server
        self._pod = server.pod.pod
        self._plan = server.server_object.request.plan
        self.url = url
        self.info_url = info_url
        self.client = client
        self.model = self._plan.model
        self.argv = argv

    @property
    def server_object(self) -> ServerObject:
        """The object that makes the pod."""
        return self._server.server_object

    @property
    def cluster(self) -> Cluster:
        """A connection that lasts as long as the endpoint."""
        return self._server.cluster

    @classmethod
    async def of(cls, server: PodServer, load_generator: Callable[[], CommandRunner], tasks: Background) -> Self:
        """Returns the endpoint, reached as the settings say; a tunnel to it runs as one of ``tasks``.

        Raises ``TrialFailedError`` if the server cannot be reached from here.
        """
        request = server.server_object.request
        settings = request.settings
        pod = server.pod.pod
        ip = str(pod["status"]["podIP"])
        tunnel = None
        # Requests for the server's own information come from here even if the load does not.
        if settings.load != "direct":
            local = await kubernetes_tunnel.forward(server.cluster, server.pod.name, request.port, tasks)
            tunnel = f"http://127.0.0.1:{local}"
        host = f"[{ip}]" if ":" in ip else ip
        url = f"http://{host}:{request.port}"
        client: CommandRunner
        if settings.load == "job":
            client = load_generator()
        else:
            client = LocalRunner()
            if tunnel:
                url = tunnel
                client.caveats = (_CAVEAT,)
            elif settings.url_template:
                names = {"name": server.pod.name, "namespace": server.cluster.namespace}
                url = settings.url_template.format(ip=host, port=request.port, **names).rstrip("/").removesuffix("/v1")
            await _wait_until_reachable(url, request.plan)
        for name in proxies_in(pod):
            client.caveats = (*client.caveats, f"requests went through the proxy {name} in the server's pod")
        return cls(server, await _argv(server), url, tunnel or "", client)

    async def environment(self) -> Mapping[str, str]:
        """Returns the plan's variables as the running pod has them."""
        entries = _container(self._pod, self._server.container).get("env") or ()
        ours = self._plan.env
        return {entry["name"]: plain(entry.get("value") or "") for entry in entries if entry["name"] in ours}

    async def facts(self) -> Mapping[str, str]:
        """Returns the image that the node runs; a tag may have been moved to another image."""
        image = pod_status.image_id(self._pod, self._server.container)
        return {"image": image} if image else {}

    async def identity(self) -> Identity:
        """Returns the pod's uid, and start and restarts of its container."""
        name = self._pod["metadata"]["name"]
        try:
            pod = await self.cluster.find(self.cluster.path("pods", name))
            if not pod or pod["metadata"]["uid"] != self._pod["metadata"]["uid"]:
                raise TrialFailedError.identity_changed(self.url, "its pod was removed")
            seen = pod_status.look(pod, self._server.container)
            if seen.stage not in {Stage.RUNNING, Stage.READY}:
                raise TrialFailedError.identity_changed(self.url, f"its pod is not running: {seen.why or seen.stage}")
            if pod["status"].get("podIP") != self._pod["status"].get("podIP"):
                raise TrialFailedError.identity_changed(self.url, "its pod has a different address")
            if why := await self.server_object.changed():
                raise TrialFailedError.identity_changed(self.url, why)
        except RefusedError as error:
            raise TrialFailedError.identity_changed(self.url, error.message) from error
        return Identity(kind="pod", id=str(pod["metadata"]["uid"]), started=seen.started, restarts=seen.restarts)

    async def died(self) -> Failure:
        """Waits for the end of the container, its pod, its node, or the API server."""
        return await self._server.ends()

    async def log_tail(self, lines: int = 40) -> str:
        """Returns the last lines of the log."""
        return await anyio.to_thread.run_sync(self._server.log.tail, lines)

    def pids(self) -> frozenset[int]:
        """Returns no pids: the server runs on a node."""
        return frozenset()


async def _argv(server: PodServer) -> tuple[str, ...]:
    """Returns the command line of the container's first process if it can be read, else that of the running pod.

    A server that has replaced its arguments by a process title does not show them.
    """
    declared = _container(server.pod.pod, server.container)
    requested = tuple(plain(word) for word in (*declared.get("command", ()), *declared.get("args", ())))
    # Images without cat have at least the Python that runs the server.
    readers = (("cat", "/proc/1/cmdline"), (*_python(requested), "-c", _READ))
    for reader in readers:
        found = await kubernetes_tunnel.output(server.cluster, server.pod.name, server.container, reader)
        if found:
            words = tuple(word.decode(errors="replace") for word in found.removesuffix(b"\0").split(b"\0"))
            return words if len([w for w in words if w]) > 1 or len(requested) == 1 else requested
    return requested


def _python(argv: Sequence[str]) -> tuple[str, ...]:
    return (argv[0],) if argv and "python" in argv[0].rpartition("/")[2] else ("python3",)


def _container(pod: Json, name: str) -> Json:
    return next((c for c in pod["spec"]["containers"] if c["name"] == name), {})


async def _wait_until_reachable(url: str, plan: LaunchPlan) -> None:
    """Returns once the ready server also responds to this machine."""
    last = "nothing"
    with anyio.move_on_after(_REACH_S):
        async with http_client(url, timeout_s=_PROBE_S) as client:
            while True:
                status, last = await answer(client, plan.readiness.path)
                if status == plan.readiness.status:
                    return
                await anyio.sleep(0.1)
    message = f"the pod is ready, but {url}{plan.readiness.path} does not respond to this machine: {last}"
    remedy = "correct deploy.url_template, or set deploy.load: job"
    raise TrialFailedError.because(FailureCause.ENVIRONMENT, message, remedy=remedy)
