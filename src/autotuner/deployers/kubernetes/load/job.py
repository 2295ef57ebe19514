"""The load generator as a Job in the cluster: latencies are those of the pod network, without any tunnel.

The spec is sent in Secrets, which are deleted as soon as it is read. The worker's output comes back in the frames of
:mod:`autotuner.deployers.kubernetes.load.worker`, each of them numbered, and all of them checked at the end.
"""

import hashlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Self

import anyio

from autotuner.deployers.kubernetes import logs, trial_objects
from autotuner.deployers.kubernetes.checks.admission import proxies_in
from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.load.worker import END, ERRORS, FRAME, LINE, PART, decode, pack
from autotuner.deployers.kubernetes.pods.controller_watch import EventWatch
from autotuner.deployers.kubernetes.pods.lifecycle import Limits, PodLifecycle, PodQuery
from autotuner.deployers.kubernetes.pods.removal import remove
from autotuner.deployers.kubernetes.pods.status import Stage
from autotuner.deployers.kubernetes.refused_object import refusal
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.deployers.kubernetes.trial_objects import LOADGEN, Disk, Load
from autotuner.deployers.shared.background import Background
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.labels import INSTANCE
from autotuner.plugins.deployer import CommandRunner
from autotuner.study.failure import KEPT_LOG_LINES, Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Labels

_PART_BYTES = 700_000
"""Data per Secret; Kubernetes limits a Secret to 1 MiB."""
_MOST_PARTS = 16
_REMOVAL_S = 30.0
_QUEUE = 1000

logger = logging.getLogger(__name__)


class JobRunner(CommandRunner):
    """Runs ``python -m module`` in a pod.

    ``owner`` refers to the object that the Job is removed with; ``disk`` is the part of a volume that the pod mounts.
    """

    def __init__(
        self, cluster: Cluster, settings: PodSettings, owner: Mapping[str, Any] | None, disk: Disk | None = None
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._owner = owner
        self._disk = disk

    @asynccontextmanager
    async def run(self, module: str, spec: bytes, *, labels: Labels) -> AsyncIterator[AsyncIterator[bytes]]:
        """See :meth:`autotuner.plugins.deployer.CommandRunner.run`."""
        name = trial_objects.unique_name(labels.study, labels.trial)
        load = Load(module, self._settings, name, labels, self._owner, self._disk)
        job = _LoadJob(self._cluster, self._settings, load)
        logger.info("load generator %s starts as Job %s", module, name)
        try:
            uid = await job.make(spec)
            wait_s = self._settings.schedule_timeout
            limits = Limits(wait_s, self._settings.pull_timeout, queue_s=wait_s)
            pod = PodLifecycle(
                self._cluster,
                PodQuery(f"{INSTANCE}={name}", LOADGEN, limits),
                lambda signal: EventWatch(self._cluster, uid, signal, LOADGEN),
            )
            output = _Output(pod)
            async with Background() as tasks, output, aclosing(_lines(pod, job, output, tasks)) as lines:
                await pod.start(tasks)
                try:
                    yield lines
                    self._warn_of_proxies(pod)
                finally:
                    with anyio.CancelScope(shield=True):
                        await job.remove(pod)
                    logger.info("load generator %s: removed", name)
        finally:
            with anyio.CancelScope(shield=True):
                await job.remove(None)

    def _warn_of_proxies(self, pod: PodLifecycle) -> None:
        caveats = (f"requests went through the proxy {n} in the load generator's pod" for n in proxies_in(pod.pod))
        self.caveats = tuple(dict.fromkeys((*self.caveats, *caveats)))


class _LoadJob:
    """The Secrets and the Job of one run."""

    def __init__(self, cluster: Cluster, settings: PodSettings, load: Load) -> None:
        self._cluster = cluster
        self._settings = settings
        self._load = load
        self._secrets: list[str] = []
        self._made: str | None = None
        self.output_complete = False
        """Whether all output of the worker has arrived; its load has ended then."""
        self._path = cluster.path("jobs", load.name, group=BATCH)

    async def make(self, spec: bytes) -> str:
        """Creates the Secrets and the Job, and returns the Job's uid.

        Shielded: nothing would remove an object that a cancelled call still creates.
        """
        parts = pack(spec, _PART_BYTES)
        if len(parts) > _MOST_PARTS:
            message = f"the workload is too large to send to the cluster ({sum(map(len, parts))} bytes compressed)"
            raise TrialFailedError.benchmark(message, remedy="use a part of the dataset, or a smaller tokenizer")
        image = self._settings.loadgen_image
        if image is None:
            remedy = "set deploy.loadgen_image to an image with autotuner, or deploy.load to port-forward"
            raise TrialFailedError.benchmark("no image is set for the load generator", remedy=remedy)
        with anyio.CancelScope(shield=True):
            try:
                for secret in self._load.secrets(parts):
                    self._secrets.append(secret["metadata"]["name"])
                    await self._cluster.create(self._cluster.path("secrets"), secret)
                job = self._load.job(self._secrets, image)
                self._made = ""
                made = await self._cluster.create(self._cluster.path("jobs", group=BATCH), job)
            except RefusedError as error:
                raise TrialFailedError(refusal(error, "the load generator's Job", LOADGEN)) from error
        self._made = str(made["metadata"]["uid"])
        return self._made

    async def forget_spec(self) -> None:
        """Deletes the Secrets: the worker has read them."""
        while self._secrets:
            with suppress(RefusedError):
                await self._cluster.delete(self._cluster.path("secrets", self._secrets[-1]), policy="Background")
            self._secrets.pop()

    async def remove(self, pod: PodLifecycle | None) -> None:
        """Removes everything.

        Does not wait for a worker whose output is complete: it is idle, and the removal of the server waits for its
        pod. What cannot be removed while the API server is down is removed with the server's object.
        """
        with suppress(TrialFailedError):
            if self._made is not None and pod and not self.output_complete:
                await remove(self._cluster, self._path, self._made or None, pod.pods, _REMOVAL_S)
            elif self._made is not None:
                await self._cluster.delete(self._path, uid=self._made or None)
            self._made = None
            await self.forget_spec()


class _Frames:
    """Reassembles frames: each once and in order, whatever order they arrive in."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[str, str]] = {}
        self._next = 1
        self._texts: list[str] = []
        self._digest = hashlib.sha256()
        self.end: dict[str, Any] | None = None
        """The worker's last frame, once everything before it has arrived."""
        self.errors = ""
        self.other: list[str] = []
        """The last lines that are not frames."""

    def take(self, line: bytes) -> list[bytes]:
        """Returns the output lines that this log line completes. Raises ``TrialFailedError`` if they are corrupted."""
        prefix, _, rest = line.decode(errors="replace").partition(" ")
        number, _, rest = rest.partition(" ")
        if prefix != FRAME or not number.isdigit():
            self.other = [*self.other, line.decode(errors="replace")][-KEPT_LOG_LINES:]
            return []
        mark, _, text = rest.partition(" ")
        if int(number) >= self._next:
            self._waiting[int(number)] = (mark, text)
        found: list[bytes] = []
        try:
            while self._next in self._waiting:
                found += self._put(*self._waiting.pop(self._next))
                self._next += 1
        except ValueError as error:
            raise TrialFailedError.benchmark(f"the output of the load generator is corrupted: {error}") from error
        return found

    def _put(self, mark: str, text: str) -> list[bytes]:
        if mark == END:
            self.end = json.loads(text)
            if self.end["sha256"] != self._digest.hexdigest():
                raise ValueError("the digest of its frames differs")
            return []
        self._digest.update(text.encode())
        self._texts.append(text)
        if mark == PART:
            return []
        whole = decode(self._texts)
        self._texts = []
        if mark == ERRORS:
            self.errors = whole.decode(errors="replace")
        return [whole] if mark == LINE else []

    @property
    def begun(self) -> bool:
        """Whether any frame has arrived; the worker has read its spec then."""
        return self._next > 1 or bool(self._waiting)

    def missing(self) -> str:
        """Describes what has arrived, for a message about incomplete output."""
        got = f"{self._next - 1} frames arrived in order"
        return f"{got}, {len(self._waiting)} after a gap" if self._waiting else got


class _Output:
    """The log of the worker's pod and the end of the pod, merged into one stream."""

    def __init__(self, pod: PodLifecycle) -> None:
        self._pod = pod
        self._send, self._receive = anyio.create_memory_object_stream[bytes | Exception | None](_QUEUE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._send.close()
        self._receive.close()

    async def next(self) -> bytes | None:
        """Returns the next line, or None after the last one. Raises ``TrialFailedError`` for an end that the log does
        not show."""
        item = await self._receive.receive()
        if isinstance(item, Exception):
            raise item
        return item

    async def read(self) -> None:
        """Reads the log into the stream."""
        try:
            lines = logs.follow(self._pod.cluster, self._pod.name, LOADGEN, self._has_ended)
            async with aclosing(lines):
                async for line in lines:
                    await self._send.send(line)
            await self._send.send(None)
        except TrialFailedError as error:
            await self._send.send(error)

    def _has_ended(self) -> bool:
        seen = self._pod.look()
        return seen is not None and seen.stage is Stage.ENDED

    async def watch(self) -> None:
        """Reports an end that the log does not show: the pod was removed, or its node or the API server is lost."""
        try:
            seen = await self._pod.ended()
        except TrialFailedError as error:
            await self._send.send(error)
            return
        if seen.failure:
            await self._send.send(TrialFailedError(_load_failure(seen.failure)))


async def _lines(pod: PodLifecycle, job: _LoadJob, output: _Output, tasks: Background) -> AsyncGenerator[bytes]:
    """Yields the worker's lines until it ends. Raises ``TrialFailedError`` if worker, pod or node failed."""
    try:
        await pod.started()
    except TrialFailedError as error:
        raise TrialFailedError(_load_failure(error.failure)) from error
    tasks.start(output.read)
    tasks.start(output.watch)
    frames = _Frames()
    while frames.end is None:
        line_of_log = await output.next()
        if line_of_log is None:
            tail = "\n".join(frames.other)
            seen = pod.look()
            how = f"it exited with code {seen.exit_code}" if seen else "its pod is gone"
            message = f"the output of the load generator is incomplete ({how}): {frames.missing()}"
            raise TrialFailedError.benchmark(message, log_tail=tail)
        lines = frames.take(line_of_log)
        if frames.begun:
            await job.forget_spec()
        for line in lines:
            yield line
    job.output_complete = True
    _check(frames)


def _load_failure(failure: Failure) -> Failure:
    """Attributes a failure of the load generator to the benchmark, not to the configuration."""
    if failure.cause is FailureCause.IMAGE_MISSING:
        remedy = "correct deploy.loadgen_image, deploy.image_pull_policy or deploy.image_pull_secrets"
        failure = failure.model_copy(update={"remedy": remedy})
    if failure.blame is not Blame.CONFIGURATION:
        return failure.model_copy(update={"message": f"the load generator: {failure.message}"})
    return Failure(
        cause=FailureCause.BENCHMARK_FAILED,
        message=f"the load generator: {failure.message}",
        remedy="raise deploy.loadgen_memory",
        exit_code=failure.exit_code,
    )


def _check(frames: _Frames) -> None:
    code = int((frames.end or {})["exit_code"])
    if code == 0:
        return
    raise TrialFailedError.load_generator_exit(code, frames.errors.splitlines()[-KEPT_LOG_LINES:])
