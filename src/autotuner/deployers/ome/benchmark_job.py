"""BenchmarkJobs, with which OME measures a trial's server: one scenario at one concurrency per run.

The status of a BenchmarkJob is unreliable: it is Running as soon as it has a Job, even if its pod never runs; it waits
for missing objects without a message; and it is Completed even if nothing was measured. So its pod is watched as well,
with a separate deadline, and the result files decide whether they are usable. A pod of autotuner reads them from their
volume.
"""

import json
import logging
from base64 import b64decode
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import anyio
import httpx

from autotuner.deployers.kubernetes import failure_phrases
from autotuner.deployers.kubernetes.client import Json, RefusedError
from autotuner.deployers.kubernetes.load.job import JobRunner
from autotuner.deployers.kubernetes.pods.controller_watch import EventWatch
from autotuner.deployers.kubernetes.pods.lifecycle import Limits, PodLifecycle, PodQuery
from autotuner.deployers.kubernetes.pods.ready_server import PodEndpoint
from autotuner.deployers.kubernetes.pods.removal import remove
from autotuner.deployers.kubernetes.pods.status import PodState, Stage, condition
from autotuner.deployers.kubernetes.refused_object import refusal
from autotuner.deployers.kubernetes.watch import ResourceWatch
from autotuner.deployers.ome import benchmark_preflight
from autotuner.deployers.ome.benchmark_manifest import JOB_LABEL, RESULTS, BenchmarkSettings, Job
from autotuner.deployers.ome.resources import BENCHMARKS, SERVICES, find_model, model_path
from autotuner.deployers.ome.service_server import ServiceServer
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.deployers.shared.background import Background
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.ome_command_line import OME
from autotuner.plugins.deployer import Endpoint, PlatformBenchmark, PlatformRun
from autotuner.study.check import Check
from autotuner.study.failure import FATAL, KEPT_LOG_LINES, Blame, Failure, FailureCause, TrialFailedError

_READER = "autotuner.deployers.ome.result_reader"
_METADATA = "experiment_metadata.json"
_LOOK_S = 5.0
_STATE_S = 30.0
"""How long to wait for OME's status after the pod has ended."""
_REMOVAL_S = 90.0
_FORGET_S = 60.0
_LOG_IDLE_S = 10.0
_WAITING = frozenset({"", "Pending"})
_OVER = frozenset({"Completed", "Failed"})
_RAN = frozenset({Stage.RUNNING, Stage.READY, Stage.ENDED})
_CONTROLLER = "see the log of Deployment ome-controller-manager in OME's namespace"

logger = logging.getLogger(__name__)


class BenchmarkJobError(TrialFailedError):
    """A BenchmarkJob without a usable result."""

    def __init__(self, message: str, remedy: str = "", *, exit_code: int | None = None, log_tail: str = "") -> None:
        super().__init__(
            Failure(
                cause=FailureCause.BENCHMARK_FAILED,
                message=f"OME's benchmark: {message}",
                remedy=remedy,
                exit_code=exit_code,
                log_tail=log_tail,
            )
        )


class BenchmarkJobs(PlatformBenchmark):
    """OME's benchmark for servers of the deployer ``ome``, with its settings."""

    def __init__(self, settings: OmeSettings) -> None:
        self._settings = settings

    async def preflight(self, settings: Mapping[str, Any]) -> list[Check]:
        """Checks kinds, permissions, volume, images and admission. Creates nothing."""
        return await benchmark_preflight.checks(self._settings, settings)

    async def run(self, endpoint: Endpoint, run: PlatformRun) -> Mapping[str, bytes]:
        """See :meth:`autotuner.plugins.deployer.PlatformBenchmark.run`; ``endpoint`` is an InferenceService's."""
        service = endpoint.server_object if isinstance(endpoint, PodEndpoint) else None
        if not isinstance(service, ServiceServer):
            raise TypeError("a BenchmarkJob measures an InferenceService")
        job = _Run(service, self._settings, run)
        try:
            await job.run()
            with anyio.CancelScope(shield=True):
                await job.remove()
            return await job.results()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await job.clean_up()
            raise


class _Run:
    """One BenchmarkJob from its creation to its results."""

    def __init__(self, service: ServiceServer, deploy: OmeSettings, run: PlatformRun) -> None:
        self._cluster = service.cluster
        self._deploy = deploy
        self._run = run
        self._owner = {
            "apiVersion": OME,
            "kind": "InferenceService",
            "name": service.name,
            "uid": service.uid,
        }
        settings = BenchmarkSettings.model_validate(run.settings).with_default_tolerations(deploy.tolerations)
        self.job = Job.of(service.name, self._owner, service.cluster.namespace, run, settings)
        self._path = self._cluster.path(BENCHMARKS, self.job.name, group=OME)
        self._may_exist = False
        self._uid: str | None = None
        self._pod: Json = {}
        """The pod that may have written results; empty before it ran, and once they were removed."""

    async def run(self) -> None:
        """Creates the job and returns once it has succeeded. Raises ``TrialFailedError``."""
        await self._make()
        own = f"metadata.name={self.job.name}"
        async with ResourceWatch(self._cluster, self._cluster.path(BENCHMARKS, group=OME), fields=own) as watch:
            job = await self._accepted(watch)
            wait_s = self.job.settings.start_timeout
            container = job["spec"]["template"]["spec"]["containers"][0]["name"]
            pod = PodLifecycle(
                self._cluster,
                PodQuery(f"{JOB_LABEL}={self.job.name}", container, Limits(wait_s, wait_s, wait_s)),
                lambda signal: EventWatch(self._cluster, str(job["metadata"]["uid"]), signal),
                hopeless=_hopeless,
            )
            async with Background() as tasks:
                await pod.start(tasks)
                try:
                    await self._started(pod)
                    await self._ended(pod, job, watch)
                finally:
                    if (seen := pod.look()) and seen.stage in _RAN:
                        self._pod = pod.pod

    async def _started(self, pod: PodLifecycle) -> None:
        try:
            await pod.started()
        except TrialFailedError as error:
            raise TrialFailedError(_never_ran(error.failure, pod.look())) from error
        self._run.on_running()

    async def _make(self) -> None:
        """Creates the job. Shielded: nothing would remove an object that a cancelled call still creates."""
        with anyio.CancelScope(shield=True):
            self._may_exist = True
            try:
                made = await self._cluster.create(self._cluster.path(BENCHMARKS, group=OME), self.job.manifest())
            except RefusedError as error:
                self._may_exist = False
                failure = refusal(error, f"BenchmarkJob {self.job.name}")
                remedy = "correct the setting under benchmark that it names, or run autotuner doctor"
                raise TrialFailedError(failure.model_copy(update={"remedy": remedy})) from error
        self._uid = str(made["metadata"]["uid"])
        logger.info("BenchmarkJob %s created: %s, %d in flight", self.job.name, self._run.scenario, self._run.in_flight)

    async def _accepted(self, watch: ResourceWatch) -> Json:
        """Returns the batch Job that OME has created. OME only logs what it waits for, so that is checked here."""
        unready = ""
        with anyio.move_on_after(self.job.settings.start_timeout):
            while True:
                count = watch.signal.count
                if _state(watch) not in _WAITING:
                    path = self._cluster.path("jobs", self.job.name, group=BATCH)
                    if job := await self._found(path):
                        return job
                if watch.lost:
                    raise TrialFailedError(watch.lost)
                if not watch.objects:
                    raise BenchmarkJobError(f"BenchmarkJob {self.job.name} was removed by someone else")
                unready = await self._missing()
                with anyio.move_on_after(_LOOK_S):
                    await watch.signal.after(count)
        why = unready or "OME created no Job and reported no reason"
        raise BenchmarkJobError(f"still Pending after {self.job.settings.start_timeout:g} s: {why}", _CONTROLLER)

    async def _found(self, path: str) -> Json | None:
        try:
            return await self._cluster.find(path)
        except RefusedError as error:
            raise TrialFailedError(refusal(error, f"reading {path.rpartition('/')[2]}")) from error

    async def _missing(self) -> str:
        """Returns why OME may still wait. Raises ``TrialFailedError`` if it would wait forever."""
        claim = self.job.settings.claim
        try:
            if await self._cluster.find(self._cluster.path("persistentvolumeclaims", claim)) is None:
                where = self._cluster.namespace
                message = f"claim {claim} does not exist in {where}, and OME would wait for it forever"
                raise BenchmarkJobError(message, "correct benchmark.claim, or create the claim")
            service = await self._cluster.find(self._cluster.path(SERVICES, self.job.service, group=OME))
            if service is None:
                raise BenchmarkJobError(f"InferenceService {self.job.service} is gone")
            name = str((service["spec"].get("model") or {}).get("name"))
            model = await find_model(self._cluster, name)
        except RefusedError as error:
            return f"the objects that it waits for cannot be read: {error.message}"
        if model is None or model_path(model) is None:
            what = "does not exist" if model is None else "has no spec.storage.path"
            raise BenchmarkJobError(f"model {name} {what}, and OME would wait for it forever", "correct the model")
        return _unready(service)

    async def _ended(self, pod: PodLifecycle, job: Json, watch: ResourceWatch) -> None:
        """Returns once pod and BenchmarkJob have succeeded."""
        limit_s = 60 * self._run.minutes + self.job.settings.extra_time
        container = job["spec"]["template"]["spec"]["containers"][0]["name"]
        with anyio.move_on_after(limit_s) as late:
            seen = await pod.ended()
        if late.cancelled_caught:
            remedy = "raise benchmark.extra_time, or check the log of genai-bench"
            raise BenchmarkJobError(
                f"not finished after {limit_s:g} s", remedy, log_tail=await self._tail(pod, container)
            )
        if seen.failure:
            raise TrialFailedError(_benchmark_failure(seen.failure))
        state = ""
        why = ""
        with anyio.move_on_after(_STATE_S):
            state = await watch.until(lambda: found if (found := _state(watch)) in _OVER else None)
            why = _status(watch).get("failureMessage", "")
        if seen.exit_code == 0 and state != "Failed":
            return
        tail = await self._tail(pod, container)
        last = tail.rpartition("\n")[2] or why
        how = f"exited with code {seen.exit_code}" if seen.exit_code else f"ended as {state}"
        message = f"genai-bench {how}" + (f": {last}" if last else "")
        raise BenchmarkJobError(message, "see its log", exit_code=seen.exit_code, log_tail=tail)

    async def _tail(self, pod: PodLifecycle, container: str) -> str:
        """Returns the last lines of the log; empty if they cannot be read."""
        lines: deque[str] = deque(maxlen=KEPT_LOG_LINES)
        with suppress(RefusedError, httpx.TransportError):
            params = {"container": container, "tailLines": str(KEPT_LOG_LINES)}
            path = f"{self._cluster.path('pods', pod.name)}/log"
            async with self._cluster.stream(path, idle_s=_LOG_IDLE_S, **params) as answer:
                async for line in answer.aiter_lines():
                    lines.append(line)
        return "\n".join(lines).strip()

    async def remove(self) -> None:
        """Removes the BenchmarkJob and its pods; OME would only recreate its Job. Must be called shielded.

        Raises ``TrialFailedError`` for what cannot be removed.
        """
        if not self._may_exist:
            return
        selector = f"{JOB_LABEL}={self.job.name}"
        async with ResourceWatch(self._cluster, self._cluster.path("pods"), labels=selector) as pods:
            await remove(self._cluster, self._path, self._uid, pods, _REMOVAL_S)
        self._may_exist = False

    async def clean_up(self) -> None:
        """Removes everything including results, as far as possible. Must be called shielded."""
        with suppress(TrialFailedError):
            await self.remove()
        if self._pod:
            with suppress(TrialFailedError), anyio.move_on_after(_FORGET_S):
                await self._fetched(read=False)

    async def results(self) -> Mapping[str, bytes]:
        """Returns the result files, whose folder is removed. Raises ``TrialFailedError``."""
        try:
            found = await self._fetched(read=True)
        except TrialFailedError as error:
            if error.failure.cause is FailureCause.DEPLOYER_LOST:
                raise
            if error.failure.cause in FATAL:
                raise self._unread(error.failure) from error
            found = await self._retry(error.failure)
        if found is None:
            claim = self.job.settings.claim
            sub = self.job.settings.sub_path
            message = f"genai-bench succeeded, but folder {sub}/{self.job.folder} does not exist in claim {claim}"
            raise BenchmarkJobError(message, "check that the image writes to its --experiment-base-dir")
        if other := another_run(found, self.job.folder):
            raise BenchmarkJobError(
                f"the results are of another run: {other}", "use benchmark.sub_path for nothing else"
            )
        return found

    async def _retry(self, first: Failure) -> Mapping[str, bytes]:
        """Reads the results again; they still exist, unless the first attempt has removed them already."""
        try:
            found = await self._fetched(read=True)
        except TrialFailedError as error:
            raise self._unread(error.failure) from error
        if found is None:
            raise self._unread(first)
        return found

    def _unread(self, failure: Failure) -> TrialFailedError:
        message = f"measured, but the results could not be read from claim {self.job.settings.claim}: {failure.message}"
        remedy = failure.remedy or "check that a pod with deploy.loadgen_image can mount the claim and write to it"
        return TrialFailedError(failure.model_copy(update={"message": message, "remedy": remedy}))

    async def _fetched(self, *, read: bool) -> Mapping[str, bytes] | None:
        """Returns the files and removes their folder; None if there is no folder."""
        order = json.dumps({"root": RESULTS, "folder": self.job.folder, "read": read}).encode()
        claim = await self._found(self._cluster.path("persistentvolumeclaims", self.job.settings.claim))
        modes = ((claim or {}).get("spec") or {}).get("accessModes") or ()
        reader = JobRunner(self._cluster, self._deploy, self._owner, self.job.disk(modes, self._pod))
        files: dict[str, bytes] = {}
        found = False
        async with reader.run(_READER, order, labels=self._run.labels) as lines:
            async for line in lines:
                message = json.loads(line)
                if "name" in message:
                    files[message["name"]] = b64decode(message["content"])
                found = message.get("found", found)
        self._pod = {}
        return files if found else None


def another_run(files: Mapping[str, bytes], folder: str) -> str:
    """Returns the folder of another run that wrote these files; empty if this run did, or if that is unknown."""
    try:
        metadata = json.loads(files.get(_METADATA) or b"{}")
    except ValueError:
        return ""
    written = str(metadata.get("experiment_folder_name") or "") if isinstance(metadata, dict) else ""
    return written if written.rpartition("/")[2] not in {"", folder} else ""


async def _hopeless(why: str) -> str:
    return why if failure_phrases.CLAIM_MISSING.found_in(why) else ""


def _status(watch: ResourceWatch) -> Json:
    found = next(iter(watch.objects.values()), {})
    return found.get("status") or {}


def _state(watch: ResourceWatch) -> str:
    return str(_status(watch).get("state") or "")


def _unready(service: Json) -> str:
    ready = condition(service.get("status") or {}, "Ready")
    if ready.get("status") == "True":
        return ""
    return f"InferenceService {service['metadata']['name']} is not Ready ({ready.get('reason') or 'no status'})"


def _never_ran(failure: Failure, seen: PodState | None) -> Failure:
    """Returns the failure of a pod that could not start, although the BenchmarkJob is Running."""
    if failure.cause is FailureCause.DEPLOYER_LOST:
        return failure
    remedy = failure.remedy
    cause = failure.cause
    if cause is FailureCause.NOT_ACCEPTED:
        remedy = "OME sets neither labels nor security context of a BenchmarkJob's pod; use benchmark.kind: native"
    elif cause is FailureCause.IMAGE_MISSING:
        remedy = "correct benchmark.image, or load the image on the nodes that have the model"
    elif seen is None or seen.stage in {Stage.UNSCHEDULED, Stage.HELD}:
        remedy = "correct benchmark.cpu, memory, node_selector or tolerations; only nodes with the model are used"
        cause = FailureCause.BENCHMARK_FAILED
    message = f"the BenchmarkJob is Running, but its pod is not: {failure.message}"
    return _benchmark_failure(
        failure.model_copy(update={"message": message, "cause": cause, "remedy": remedy}), prefix=""
    )


def _benchmark_failure(failure: Failure, prefix: str = "OME's benchmark: ") -> Failure:
    """Attributes a failure of the benchmark to the benchmark, not to the configuration."""
    changes: dict[str, Any] = {"message": f"{prefix}{failure.message}"}
    if failure.cause is FailureCause.HOST_OUT_OF_MEMORY:
        changes |= {"remedy": "raise benchmark.memory"}
    if failure.blame is Blame.CONFIGURATION:
        changes |= {"cause": FailureCause.BENCHMARK_FAILED}
    return failure.model_copy(update=changes)
