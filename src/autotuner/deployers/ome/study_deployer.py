"""OME deployer bound to one engine and one model, with one InferenceService per trial.

OME keeps models on nodes and knows which runtime serves them. A trial uses both unchanged, and sends the runtime's
whole command line with the study's flags in it.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel

from autotuner.deployers.kubernetes import preflight as kubernetes_preflight
from autotuner.deployers.kubernetes.checks import admission
from autotuner.deployers.kubernetes.checks.admission import PodRequest
from autotuner.deployers.kubernetes.client import Cluster, RefusedError, connected
from autotuner.deployers.kubernetes.cluster_target import ClusterTarget
from autotuner.deployers.kubernetes.pod_deployer import PodDeployer
from autotuner.deployers.kubernetes.settings import ServerSettings
from autotuner.deployers.ome import preflight as ome_preflight
from autotuner.deployers.ome import scheduling
from autotuner.deployers.ome.benchmark_job import BenchmarkJobs
from autotuner.deployers.ome.resources import SERVICES, OmeResource, runner
from autotuner.deployers.ome.served_model import ServedModel, find_served
from autotuner.deployers.ome.service_server import INFERENCE_SERVICES, ServiceServer
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.deployers.ome.trial_service import ServiceLaunch, runtime_problem, unique_name
from autotuner.deployers.shared.connection_failures import must_answer
from autotuner.manifests.ome_command_line import CONTAINER, OME, RuntimeLine
from autotuner.plugins.deployer import BaseArguments, BoundDeployer, DeployContext, Endpoint
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.check import Check
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.spec import Model

_SERVED_NAME = "served-model-name"
_LABELS = Labels(study="preflight", trial=0, owner="preflight")
_REPLICAS = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "at-preflight-engine"}}
"""Owner of the pod once OME has created a Deployment for the service."""


@dataclass(frozen=True)
class RuntimeArguments(BaseArguments):
    """Flags of a runtime, with the runtime and the model that they were read for."""

    served: ServedModel = field(compare=False)


class BoundOmeDeployer(ClusterTarget, BoundDeployer):
    """Starts each server as an InferenceService."""

    kind: ClassVar[str] = "ome"
    Settings: ClassVar[type[BaseModel]] = OmeSettings

    settings: OmeSettings

    def __init__(self, settings: OmeSettings, engine: Engine, model: Model, base: BaseArguments | None = None) -> None:
        """``base``: the runtime's flags that plans already include."""
        super().__init__(settings, INFERENCE_SERVICES)
        self._engine = engine
        self._model = model
        self._base: Mapping[str, Value] = base.args if base else {}
        self.platform_benchmark = BenchmarkJobs(settings)
        self._pods = PodDeployer(settings, INFERENCE_SERVICES, self._service)
        self._served = base.served if isinstance(base, RuntimeArguments) else None
        """Runtime and model that all trials must share; None: those of the first trial."""

    def bind(self, engine: Engine, model: Model) -> "BoundOmeDeployer":
        """Binds the deployer to another engine or model."""
        return BoundOmeDeployer(self.settings, engine, model)

    async def _find(self, cluster: Cluster) -> ServedModel:
        return await find_served(cluster, self.settings, self._model.path)

    async def _usable(self) -> ServedModel:
        """Returns the runtime and the model of all trials. Raises :class:`UnusableTargetError`."""
        if self._served is not None:
            return self._served
        with must_answer(self.kind):
            async with connected(self.settings.impatient()) as cluster:
                found = await self._find(cluster)
            if problem := self._problem(found.runtime):
                raise TrialFailedError.because(FailureCause.NOT_ACCEPTED, problem[0], remedy=problem[1])
        return found

    async def base_arguments(self) -> RuntimeArguments:
        """Returns the runtime's own flags, with its uid and generation as their version."""
        served = await self._usable()
        uid, generation = served.runtime.version
        version = f"runtime {served.runtime.name}, generation {generation} ({uid})"
        args = RuntimeLine.of(runner(served.runtime)).base_args(self._engine)
        return RuntimeArguments(args, version, served)

    def built_over(self, base: BaseArguments) -> "BoundOmeDeployer":
        """Returns a deployer for plans that include these flags: one that a plan lacks was removed on purpose."""
        return BoundOmeDeployer(self.settings, self._engine, self._model, base)

    async def facts(self, plan: LaunchPlan) -> Mapping[str, str]:
        """Returns the runtime's version and the model's source, whose URI names the revision of a Hub model."""
        return {"runtime": (await self.base_arguments()).version, "model": (await self._usable()).source}

    async def locate(self, model: Model) -> Model:
        """Returns the model's folder on its nodes, with the name under which the runtime serves it."""
        found = await self._usable()
        served = self._engine.flag_value(RuntimeLine.of(runner(found.runtime)).words, _SERVED_NAME)
        name = model.name or (served if isinstance(served, str) and "$" not in served else None)
        return Model(path=found.path, name=name)

    def image(self, plan: LaunchPlan) -> str | None:
        """Returns the settings' image; None: the runtime decides."""
        return self.settings.image_name(None) if self.settings.image else None

    def deploy(self, plan: LaunchPlan, context: DeployContext) -> AbstractAsyncContextManager[Endpoint]:
        """Starts a service; see :meth:`autotuner.plugins.deployer.BoundDeployer.deploy`."""
        return self._pods.deploy(plan, context)

    async def _service(
        self, cluster: Cluster, plan: LaunchPlan, context: DeployContext, lease_s: float | None
    ) -> ServiceServer:
        """Returns the service. Raises ``TrialFailedError`` if runtime or model have changed since the first trial."""
        found = await self._find(cluster)
        if self._served is None:
            self._served = found
        if found.runtime.version != self._served.runtime.version:
            why = f"runtime {found.runtime.name} was changed during the study"
            remedy = "rename the study to tune with the new runtime"
            raise TrialFailedError.because(FailureCause.NOT_ACCEPTED, why, remedy=remedy)
        if found.source != self._served.source:
            why = f"the model was changed during the study, from {self._served.source} to {found.source}"
            remedy = "rename the study to tune with the new model"
            raise TrialFailedError.because(FailureCause.NOT_ACCEPTED, why, remedy=remedy)
        return ServiceServer(cluster, self._launch(plan, context.labels, found), lease_s)

    def _launch(self, plan: LaunchPlan, labels: Labels, found: ServedModel) -> ServiceLaunch:
        name = unique_name(labels.trial)
        replaced = frozenset(self._base)
        return ServiceLaunch(plan, self.settings, self._engine, found.runtime, found.model, name, labels, replaced)

    async def placing(self, cluster: Cluster) -> ServerSettings:
        """Returns the settings with the node selection of runtime and model."""
        if self.settings.runtime is None:
            return self.settings
        found = await self._find(cluster)
        return scheduling.placing(self.settings, found.runtime, found.model)

    async def checks(self, cluster: Cluster, plans: Sequence[LaunchPlan]) -> list[Check]:
        """Checks the cluster, OME, model, runtime, nodes, and admission by dry runs."""
        return await ome_preflight.checks(
            cluster,
            plans,
            self.settings,
            model=self._model.path,
            problems=self._problem,
            dry_run=lambda plan: self._dry_run(cluster, plan),
        )

    def _problem(self, runtime: OmeResource) -> tuple[str, str] | None:
        """Returns (why, remedy) if the study's engine cannot tune a runtime."""
        return runtime_problem(runtime, self._engine, self.settings.gpu_resource)

    async def _dry_run(self, cluster: Cluster, plan: LaunchPlan) -> list[Check]:
        """Dry-runs the first trial's objects against OME's webhook, the schema and the pods' admission."""
        try:
            found = await self._find(cluster)
            launch = self._launch(plan, _LABELS, found)
            body = launch.body()
            await cluster.create(cluster.path(SERVICES, group=OME), body, dry_run=True)
        except TrialFailedError as error:
            return [Check.fail("admission", f"InferenceService: {error.failure.message}", remedy=error.failure.remedy)]
        except RefusedError as error:
            remedy = "correct model, deploy.runtime or the setting that it names"
            return [Check.fail("admission", f"InferenceService: {error.message}", remedy=remedy)]
        settings = scheduling.placing(self.settings, found.runtime, None)
        request = PodRequest("server", CONTAINER, launch.pod(), body=_REPLICAS)
        return [
            Check.ok("admission", "InferenceService: accepted by a dry run"),
            *await admission.checks(cluster, [request], queued=True),
            *await admission.references(cluster, settings),
            *await kubernetes_preflight.load_admission(cluster, settings),
        ]
