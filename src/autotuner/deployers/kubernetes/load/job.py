"""The load generator as a Job in the cluster: latencies are those of the pod network, without any tunnel.

The spec goes there in Secrets, which are deleted as soon as it is read; what the worker says comes back in the frames
of :mod:`autotuner.deployers.kubernetes.load.worker`, each counted, and all of them checked at the end.
"""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import anyio

from autotuner.deployers.kubernetes import logs, manifests
from autotuner.deployers.kubernetes.admission import proxies_in
from autotuner.deployers.kubernetes.client import Cluster, RefusedError
from autotuner.deployers.kubernetes.load.worker import END, ERRORS, FRAME, LINE, PART, decode, pack
from autotuner.deployers.kubernetes.manifests import LOADGEN, Disk, Load
from autotuner.deployers.kubernetes.pod_lifecycle import ControllerWatch, Limits, PodLifecycle, refusal
from autotuner.deployers.kubernetes.pod_status import Stage
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.labels import INSTANCE
from autotuner.plugins.deployer import CommandRunner
from autotuner.study.failure import Blame, Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Labels

_PART_BYTES = 700_000
"""Of a Secret, which may have 1 MiB."""
_MOST_PARTS = 16
_REMOVAL_S = 30.0
_EVIDENCE_LINES = 40
_QUEUE = 1000


logger = logging.getLogger(__name__)


class JobRunner(CommandRunner):
    """Runs ``python -m module`` in a pod. ``owner`` is a reference to what the Job is to be removed with; ``disk`` what
    the pod sees of a volume."""

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
        name = manifests.unique_name(labels.study, labels.trial)
        load = Load(module, self._settings, name, labels, self._owner, self._disk)
        job = _LoadJob(self._cluster, self._settings, load)
        logger.info("load generator %s starts as Job %s", module, name)
        try:
            uid = await job.make(spec)
            wait_s = self._settings.schedule_timeout
            limits = Limits(wait_s, self._settings.pull_timeout, queue_s=wait_s)
            async with (
                PodLifecycle(
                    self._cluster,
                    selector=f"{INSTANCE}={name}",
                    container=LOADGEN,
                    maker=lambda news: ControllerWatch(self._cluster, uid, news, LOADGEN),
                    limits=limits,
                ) as pod,
                aclosing(_lines(pod, job)) as lines,
            ):
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
        told = (f"requests went through the proxy {n} in the load generator's pod" for n in proxies_in(pod.pod))
        self.caveats = tuple(dict.fromkeys((*self.caveats, *told)))


class _LoadJob:
    """The objects of one run."""

    def __init__(self, cluster: Cluster, settings: PodSettings, load: Load) -> None:
        self._cluster = cluster
        self._settings = settings
        self._load = load
        self._secrets: list[str] = []
        self._made: str | None = None
        self.told_all = False
        """Whether the worker said everything, and so has ended its load."""
        self._path = cluster.path("jobs", load.name, group=BATCH)

    async def make(self, spec: bytes) -> str:
        """Makes them and returns the Job's uid. Shielded: what a call that was cut off makes, nobody would remove."""
        parts = pack(spec, _PART_BYTES)
        if len(parts) > _MOST_PARTS:
            message = (
                f"the workload is too large to be sent into the cluster ({sum(map(len, parts))} bytes, compressed)"
            )
            raise TrialFailedError(_failed(message, "take a part of the dataset, or a smaller tokenizer"))
        image = self._settings.loadgen_image
        if image is None:
            remedy = "set deploy.loadgen_image to an image with autotuner, or deploy.load to port-forward"
            raise TrialFailedError(_failed("no image is named for the load generator", remedy))
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
        """Removes everything. A worker that has told all is not waited for: it does nothing any more, and the server's
        removal waits for its pod. What is left when the API server stays away goes with the server's object."""
        with suppress(TrialFailedError):
            if self._made is not None and pod and not self.told_all:
                await pod.removed(self._path, self._made or None, _REMOVAL_S)
            elif self._made is not None:
                await self._cluster.delete(self._path, uid=self._made or None)
            self._made = None
            await self.forget_spec()


class _Frames:
    """Puts frames together again: each once, in their order, whatever order they come in."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[str, str]] = {}
        self._next = 1
        self._texts: list[str] = []
        self._digest = hashlib.sha256()
        self.end: dict[str, Any] | None = None
        """What the worker says at its end, once everything before it is here."""
        self.errors = ""
        self.other: list[str] = []
        """Last lines that are no frames."""

    def take(self, line: bytes) -> list[bytes]:
        """The lines that this line of the log completes. Raises ``TrialFailedError`` for damaged ones."""
        word, _, rest = line.decode(errors="replace").partition(" ")
        number, _, rest = rest.partition(" ")
        if word != FRAME or not number.isdigit():
            self.other = [*self.other, line.decode(errors="replace")][-_EVIDENCE_LINES:]
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
            raise TrialFailedError(_failed(f"the load generator's words came damaged: {error}")) from error
        return found

    def _put(self, mark: str, text: str) -> list[bytes]:
        if mark == END:
            self.end = json.loads(text)
            if self.end["sha256"] != self._digest.hexdigest():
                raise ValueError("their digest differs")
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
        """Whether there was a frame, and so a worker that has read what it was told."""
        return self._next > 1 or bool(self._waiting)

    def missing(self) -> str:
        """What is not here."""
        got = f"{self._next - 1} of its frames came in order"
        return f"{got}, {len(self._waiting)} after a gap" if self._waiting else got


async def _lines(pod: PodLifecycle, job: _LoadJob) -> AsyncGenerator[bytes]:
    """The worker's lines, to its end. Raises ``TrialFailedError`` as its exit code, its pod or its node want it."""
    try:
        await pod.started()
    except TrialFailedError as error:
        raise TrialFailedError(_of_the_load(error.failure)) from error
    frames = _Frames()
    queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue(_QUEUE)
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_read(pod, queue)), loop.create_task(_watch(pod, queue))]
    try:
        while frames.end is None:
            said = await queue.get()
            if isinstance(said, Exception):
                raise said
            if said is None:
                tail = "\n".join(frames.other)
                seen = pod.look()
                how = f"it ended with exit code {seen.exit_code}" if seen else "it is gone"
                message = f"the load generator's words did not all arrive ({how}): {frames.missing()}"
                raise TrialFailedError(_failed(message, log_tail=tail))
            lines = frames.take(said)
            if frames.begun:
                await job.forget_spec()
            for line in lines:
                yield line
        job.told_all = True
    finally:
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait(tasks)
    _check(frames)


async def _read(pod: PodLifecycle, queue: "asyncio.Queue[bytes | Exception | None]") -> None:
    def has_ended() -> bool:
        seen = pod.look()
        return seen is not None and seen.stage is Stage.ENDED

    try:
        async with aclosing(logs.follow(pod.cluster, pod.name, LOADGEN, has_ended)) as lines:
            async for line in lines:
                await queue.put(line)
        await queue.put(None)
    except TrialFailedError as error:
        await queue.put(error)


async def _watch(pod: PodLifecycle, queue: "asyncio.Queue[bytes | Exception | None]") -> None:
    """Tells of an end that the log does not: the pod taken away, its node or the API server lost."""
    try:
        seen = await pod.ended()
    except TrialFailedError as error:
        await queue.put(error)
        return
    if seen.failure:
        await queue.put(TrialFailedError(_of_the_load(seen.failure)))


def _of_the_load(failure: Failure) -> Failure:
    """The load generator's own faults are nobody's configuration."""
    if failure.cause is FailureCause.IMAGE_MISSING:
        remedy = "correct deploy.loadgen_image, deploy.image_pull_policy or deploy.image_pull_secrets"
        failure = failure.model_copy(update={"remedy": remedy})
    if failure.blame is not Blame.CONFIGURATION:
        return failure.model_copy(update={"message": f"the load generator: {failure.message}"})
    remedy = "raise deploy.loadgen_memory"
    return _failed(f"the load generator: {failure.message}", remedy, exit_code=failure.exit_code)


def _check(frames: _Frames) -> None:
    code = int((frames.end or {})["exit_code"])
    if code == 0:
        return
    tail = frames.errors.splitlines()[-_EVIDENCE_LINES:]
    ended = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    message = f"the load generator ended {ended}" + (f": {tail[-1]}" if tail else "")
    raise TrialFailedError(_failed(message, exit_code=code, log_tail="\n".join(tail)))


def _failed(message: str, remedy: str = "", **more: Any) -> Failure:
    return Failure(cause=FailureCause.BENCHMARK_FAILED, message=message, remedy=remedy, **more)
