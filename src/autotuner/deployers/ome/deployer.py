"""Servers as InferenceServices of OME (Open Model Engine): one a trial, each with a runtime's command line, tuned.

OME keeps models on nodes and knows which runtime serves them. A trial takes both as they are, and sends the whole
command line with the study's flags in it; see ``_ome_service`` for what it looks like and ``_ome_run`` for its course.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import ClassVar

from pydantic import BaseModel

from autotuner.deployers.kubernetes import admission
from autotuner.deployers.kubernetes import preflight as kubernetes_preflight
from autotuner.deployers.kubernetes.admission import Asked
from autotuner.deployers.kubernetes.client import Cluster, RefusedError, connected
from autotuner.deployers.kubernetes.pod_deployer import PodDeployer, PodTrial, Request
from autotuner.deployers.kubernetes.pod_lifecycle import refusal
from autotuner.deployers.kubernetes.settings import OmeSettings, ServerSettings
from autotuner.deployers.local.server_log import Log
from autotuner.deployers.ome import preflight as ome_preflight
from autotuner.deployers.ome import scheduling
from autotuner.deployers.ome.benchmark_job import BenchmarkJobs
from autotuner.deployers.ome.resources import (
    SERVICE_LABEL,
    SERVICES,
    OmeResource,
    find_model,
    find_runtime,
    known,
    model_path,
    runner,
)
from autotuner.deployers.ome.service_manifest import ServiceLaunch, runtime_problem, unique_name
from autotuner.deployers.ome.service_trial import OmeTrial, ServiceRequest
from autotuner.deployers.shared.checks import fail, ok
from autotuner.deployers.shared.failures import UnusableTargetError, failed
from autotuner.manifests.kubernetes import BATCH
from autotuner.manifests.ome_command_line import CONTAINER, OME, RuntimeLine
from autotuner.plugins.deployer import DeployContext
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.spec import Model

_SERVED_NAME = "served-model-name"
_LABELS = Labels(study="preflight", trial=0, owner="preflight")
_REPLICAS = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "at-preflight-engine"}}
"""What asks for the pod, once OME has made a Deployment of the service."""


class OmeDeployer(PodDeployer):
    """Starts each server as an InferenceService."""

    kind: ClassVar[str] = "ome"
    Settings: ClassVar[type[BaseModel]] = OmeSettings
    plural: ClassVar[str] = SERVICES
    group: ClassVar[str] = OME

    settings: OmeSettings

    def __init__(self, settings: OmeSettings, engine: Engine | None = None, model: str | None = None) -> None:
        super().__init__(settings)
        self._engine = engine
        self._model_name = model
        self.platform_benchmark = BenchmarkJobs(settings)
        self._prepared_for: tuple[OmeResource, OmeResource] | None = None
        self._first: tuple[str, int] | None = None
        self._handed_out: frozenset[str] = frozenset()

    def for_study(self, engine: Engine, model: Model) -> "OmeDeployer":
        """With the engine's flags, and the name of OME's model."""
        return OmeDeployer(self.settings, engine, model.path)

    @property
    def engine(self) -> Engine:
        """The study's."""
        assert self._engine is not None  # noqa: S101 - a study's deployer has one
        return self._engine

    async def _found(self, cluster: Cluster) -> tuple[OmeResource, OmeResource]:
        """Runtime and model now. Raises ``TrialFailedError`` where one is not there, or may not be looked at."""
        name = self.settings.runtime
        model_name = self._model_name
        if name is None or model_name is None:
            remedy = "name a ServingRuntime or ClusterServingRuntime of the cluster in deploy.runtime"
            raise failed(FailureCause.NOT_ACCEPTED, "the study names no runtime", remedy)
        try:
            runtime = await find_runtime(cluster, name)
            model = await find_model(cluster, model_name)
            if runtime is None:
                why = f"runtime {name} is neither in namespace {cluster.namespace} nor in the cluster"
                raise failed(
                    FailureCause.NOT_ACCEPTED, why, await _others(cluster, "servingruntimes", "deploy.runtime")
                )
            if model is None:
                why = f"model {model_name} is neither in namespace {cluster.namespace} nor in the cluster"
                raise failed(FailureCause.MODEL_MISSING, why, await _others(cluster, "basemodels", "model"))
        except RefusedError as error:
            raise TrialFailedError(refusal(error, "a look at model and runtime")) from error
        if model_path(model) is None:
            why = f"model {model_name} has no storage.path, so that its servers would not find it"
            raise failed(FailureCause.MODEL_MISSING, why, "set spec.storage.path to its folder on the nodes")
        return runtime, model

    async def _usable(self) -> tuple[OmeResource, OmeResource]:
        """Runtime and model as a study is prepared for them, looked at once. Raises :class:`UnusableTargetError`."""
        if self._prepared_for is None:
            try:
                async with connected(self.settings.impatient()) as cluster:
                    runtime, model = await self._found(cluster)
            except TrialFailedError as error:
                raise UnusableTargetError(error.failure, self.kind) from error
            if problem := self._problem(runtime):
                failure = Failure(cause=FailureCause.NOT_ACCEPTED, message=problem[0], remedy=problem[1])
                raise UnusableTargetError(failure, self.kind)
            self._prepared_for = runtime, model
        return self._prepared_for

    async def base_args(self) -> Mapping[str, Value]:
        """The runtime's own flags. From now on plans have them, so that one which a plan lacks was left out."""
        runtime, _ = await self._usable()
        found = RuntimeLine.of(runner(runtime)).base_args(self.engine)
        self._handed_out = frozenset(found)
        return found

    async def base_version(self) -> str:
        """The runtime's uid and generation."""
        runtime, _ = await self._usable()
        uid, generation = runtime.version
        return f"runtime {runtime.name}, generation {generation} ({uid})"

    async def locate(self, model: Model) -> Model:
        """Where the model is on its nodes, under the name that the runtime serves it by; as it is, where no study is
        to be run."""
        if self._engine is None:
            return model
        runtime, found = await self._usable()
        served = self.engine.flag_value(RuntimeLine.of(runner(runtime)).words, _SERVED_NAME)
        name = model.name or (served if isinstance(served, str) and "$" not in served else None)
        return Model(path=str(model_path(found)), name=name)

    async def request(self, cluster: Cluster, plan: LaunchPlan, context: DeployContext) -> Request:
        """The service. A runtime that was changed since the study's first trial would be another study's."""
        runtime, model = await self._found(cluster)
        self._first = self._first or runtime.version
        if runtime.version != self._first:
            why = f"runtime {runtime.name} was changed while the study runs"
            raise failed(FailureCause.NOT_ACCEPTED, why, "run the study under another name, with the new runtime")
        launch = self._launch(plan, context.labels, runtime, model)
        return ServiceRequest(
            plan=plan,
            name=launch.name,
            body=launch.body(),
            selector=f"{SERVICE_LABEL}={launch.name},component=engine",
            container=CONTAINER,
            port=launch.port,
            requests=launch.resources()["requests"],
            lease_s=await self.lease_s(cluster),
            runtime=runtime,
            model=model,
        )

    def _launch(self, plan: LaunchPlan, labels: Labels, runtime: OmeResource, model: OmeResource) -> ServiceLaunch:
        name = unique_name(labels.trial)
        return ServiceLaunch(plan, self.settings, self.engine, runtime, model, name, labels, replaced=self._handed_out)

    def trial(self, cluster: Cluster, request: Request, context: DeployContext, log: Log) -> PodTrial:
        """The trial of a service."""
        assert isinstance(request, ServiceRequest)  # noqa: S101 - made above
        return OmeTrial(self, cluster, request, context, log)

    async def released(self, cluster: Cluster, name: str) -> None:
        """The Job that owns the service."""
        if self._leases is not False:
            with suppress(RefusedError, TrialFailedError):
                await cluster.delete(cluster.path("jobs", name, group=BATCH), policy="Background")

    async def placing(self, cluster: Cluster) -> ServerSettings:
        """With the runtime's and the model's choice of nodes."""
        if self.settings.runtime is None or self._model_name is None:
            return self.settings
        runtime, model = await self._found(cluster)
        return scheduling.placing(self.settings, runtime, model)

    async def preflight(self, plans: Iterable[LaunchPlan]) -> list[Check]:
        """The cluster, OME, model, runtime, nodes, and what admission says; nothing is made."""
        try:
            async with connected(self.settings.impatient()) as cluster:
                return await ome_preflight.checks(
                    cluster,
                    list(plans),
                    self.settings,
                    model=self._model_name,
                    problems=self._problem,
                    dry_run=lambda plan: self._dry_run(cluster, plan),
                )
        except TrialFailedError as error:
            return [kubernetes_preflight.unreachable(error.failure)]

    def _problem(self, runtime: OmeResource) -> tuple[str, str] | None:
        """Why the study's engine cannot tune a runtime."""
        return runtime_problem(runtime, self._engine, self.settings.gpu_resource) if self._engine else None

    async def _dry_run(self, cluster: Cluster, plan: LaunchPlan) -> list[Check]:
        """What OME's webhook, the schema and the pods' admission say to the first trial's objects."""
        try:
            runtime, model = await self._found(cluster)
            launch = self._launch(plan, _LABELS, runtime, model)
            body = launch.body()
            await cluster.create(cluster.path(SERVICES, group=OME), body, dry_run=True)
        except TrialFailedError as error:
            return [fail("admission", f"InferenceService: {error.failure.message}", error.failure.remedy)]
        except RefusedError as error:
            remedy = "correct model, deploy.runtime or what it names"
            return [fail("admission", f"InferenceService: {error.message}", remedy)]
        settings = scheduling.placing(self.settings, runtime, None)
        asked = Asked("server", CONTAINER, launch.pod(), body=_REPLICAS)
        return [
            ok("admission", "InferenceService: taken by a dry run"),
            *await admission.checks(cluster, [asked], queued=True),
            *await admission.references(cluster, settings),
            *await kubernetes_preflight.load_admission(cluster, settings),
        ]

    def image(self, plan: LaunchPlan) -> str | None:
        """The settings' image; None: the runtime's, whatever it is."""
        return self.settings.image_name(None) if self.settings.image else None


async def _others(cluster: Cluster, plural: str, where: str) -> str:
    """A remedy with the names that there are."""
    names = {str(item["metadata"]["name"]) for item in await known(cluster, plural) or ()}
    some = ", ".join(sorted(names)[:20])
    return f"correct {where}; there are: {some}" if some else f"make it, or correct {where} or deploy.namespace"
