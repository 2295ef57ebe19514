"""Controller of InferenceServices: their objects, events and status.

As in OME, a reconcile that fails while objects are built only writes a log line: no event, no status.
"""

import asyncio
import json

from support.ome_standin.kube import Key, Object, log
from support.ome_standin.rules.admission import MODE
from support.ome_standin.rules.matching import UnsuitableError, require, select
from support.ome_standin.rules.status import compute, is_ready, same, virtual
from support.ome_standin.rules.workloads import (
    SERVICE_LABEL,
    Resolved,
    budget,
    ingress,
    mode,
    model_config,
    outer_service,
    router_rights,
    runner_of,
    scaler,
    service,
    workload,
)
from support.ome_standin.world import Worker, World

FINALIZER = "inferenceservice.finalizers"
_MODIFIED = (
    'Operation cannot be fulfilled on inferenceservices.ome.io "{}": the object has been modified; '
    "please apply your changes to the latest version and try again"
)


class ReportedError(RuntimeError):
    """An error that becomes an event, without a status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Controller:
    """Reconciles services, one at a time."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._kube = world.kube
        self.worker = Worker("InferenceService", self._reconcile, world.faults)
        self._made: dict[tuple[str, ...], str] = {}
        """Last manifest of each object by owner, kind, namespace and name."""
        self._started: set[str] = set()
        world["InferenceService"].listeners.append(self.worker.add_object)
        world["Deployment"].listeners.append(self._deployment_changed)

    def _deployment_changed(self, deployment: Object) -> None:
        meta = deployment["metadata"]
        if name := meta.get("labels", {}).get(SERVICE_LABEL):
            self.worker.add((meta["namespace"], name))

    async def _reconcile(self, key: Key) -> float | None:
        found = self._world["InferenceService"].objects.get(key)
        if found is None:
            return None
        if found["metadata"].get("deletionTimestamp"):
            await self._finalize(found)
            return None
        if FINALIZER not in found["metadata"].get("finalizers", []):
            finalizers = [*found["metadata"].get("finalizers", []), FINALIZER]
            await self._patch(found, {"metadata": {"finalizers": finalizers}})
            return None  # the change triggers another reconcile
        try:
            await self._reconcile_objects(found)
        except ReportedError as error:
            await self._world.event(found, error.reason, str(error))
            raise
        return None

    async def _patch(self, found: Object, patch: Object) -> None:
        meta = found["metadata"]
        await self._kube.merge("InferenceService", meta["name"], meta["namespace"], patch)

    async def _finalize(self, found: Object) -> None:
        """Removes the finalizer. If the validating webhook rejects that, the service stays without an event."""
        rest = [one for one in found["metadata"].get("finalizers", []) if one != FINALIZER]
        if rest != found["metadata"].get("finalizers", []):
            await self._patch(found, {"metadata": {"finalizers": rest}})

    async def _reconcile_objects(self, found: Object) -> None:
        annotated = found["metadata"].get("annotations", {}).get(MODE)
        if annotated == "VirtualDeployment":
            await self._write_status(found, virtual())
            return
        if annotated == "Serverless":
            raise ReportedError("ServerlessModeRejected", "Knative Serving is not installed")
        one = self._resolved(found)
        engine = one.merged("engine")
        if engine is None:
            raise ReportedError("DeploymentModeError", "engine component is required")
        way = mode(engine)
        if way == "Serverless":
            raise RuntimeError("no kind Service is registered for version serving.knative.dev/v1")
        await self._put(model_config(one))
        if way == "MultiNode":
            await self._many_nodes(one, engine)
            return
        parts = [part for part in ("engine", "decoder", "router") if found["spec"].get(part) is not None]
        deployments = {part: await self._part(one, part, one.merged(part) or {}) for part in parts}
        runner = runner_of(one, engine)
        with_ingress = await self._ingress_enabled()
        if with_ingress:
            await self._kube.delete("Service", one.name, one.namespace)  # whoever created it
        await self._put(ingress(one) if with_ingress else outer_service(one, runner))
        await self._emit_first_events(found)
        await self._update_status(one, deployments, ingress=with_ingress)

    def _resolved(self, found: Object) -> Resolved:
        """Returns the service with its model and runtime; raises :class:`ReportedError`."""
        catalog = self._world.catalog()
        spec = found["spec"]
        namespace = found["metadata"]["namespace"]
        named = (spec.get("model") or {}).get("name", "")
        model = catalog.model(namespace, named)
        if model is None:
            raise ReportedError("ModelReconcileError", f"No BaseModel or ClusterBaseModel with the name: {named}")
        if model["spec"].get("disabled"):
            raise ReportedError("ModelReconcileError", f"specified base model {named} is disabled")
        chosen = (spec.get("runtime") or {}).get("name")
        accelerator = (spec.get("acceleratorSelector") or {}).get("acceleratorClass", "")
        if not chosen:
            try:
                return Resolved(found, model, select(catalog.candidates(namespace), model))
            except UnsuitableError as error:
                raise ReportedError("RuntimeSelectionError", str(error)) from None
        runtime = catalog.runtime(namespace, chosen)
        refused = f"Runtime {chosen} does not support model {named}: "
        if runtime is None:
            why = f"runtime {chosen} not found in namespace {namespace} or at cluster scope"
            raise ReportedError("RuntimeValidationError", refused + why)
        try:
            require(runtime, model, accelerator)
        except UnsuitableError as error:
            raise ReportedError("RuntimeValidationError", f"{refused}{error}") from None
        return Resolved(found, model, runtime)

    async def _part(self, one: Resolved, part: str, merged: Object) -> Object | None:
        runner = runner_of(one, merged)
        if part == "router":
            for thing in router_rights(one):
                await self._put(thing)
        deployment = await self._put(workload(one, part, merged, runner))
        await self._put(service(one, part, merged, runner))
        if (scaling := scaler(one, part, merged)) is not None:
            await self._put(scaling)
        await self._put(budget(one, part, merged))
        return deployment

    async def _many_nodes(self, one: Resolved, engine: Object) -> None:
        """Only creates the Service, since leaders and workers need a controller that the stand-in lacks."""
        runner = runner_of(one, engine.get("leader") or engine)
        await self._put(service(one, "engine", engine, runner))
        await self._update_status(one, {"engine": None}, ingress=await self._ingress_enabled(), many_nodes=True)

    async def _put(self, thing: Object) -> Object:
        """Creates or updates an object.

        Raises ``ApiError`` if the API rejects it, and ``RuntimeError`` if another service owns an object of that name.
        """
        meta = thing["metadata"]
        [owner] = meta["ownerReferences"]
        key = (owner["uid"], thing["kind"], meta["namespace"], meta["name"])
        text = json.dumps(thing, sort_keys=True)
        there = await self._kube.get(thing["kind"], meta["name"], meta["namespace"])
        if there is None:
            made = await self._kube.create(thing)
        elif all(known["uid"] != owner["uid"] for known in there["metadata"].get("ownerReferences", [])):
            raise RuntimeError(f"{thing['kind']} {meta['name']} belongs to another service")
        elif self._made.get(key) == text:
            return there
        else:
            made = await self._kube.merge(thing["kind"], meta["name"], meta["namespace"], thing)
        self._made[key] = text
        return made

    async def _ingress_enabled(self) -> bool:
        config = await self._kube.get("ConfigMap", "inferenceservice-config", "ome")
        ingress = json.loads(((config or {}).get("data") or {}).get("ingress", "{}"))
        return not ingress.get("disableIngressCreation", False)

    async def _emit_first_events(self, found: Object) -> None:
        """Emits the meaningless warnings of a healthy service's first second."""
        meta = found["metadata"]
        if meta["uid"] in self._started:
            return
        self._started.add(meta["uid"])
        modified = _MODIFIED.format(meta["name"])
        await self._world.event(found, "UpdateFailed", f"Failed to update status for InferenceService: {modified}")
        await self._world.event(found, "InternalError", modified)
        await self._world.event(found, "InternalError", f'Service "{meta["name"]}" not found')
        await self._world.event(
            found, "InferenceServiceNotReady", f"InferenceService [{meta['name']}] is no longer Ready"
        )

    async def _update_status(
        self, one: Resolved, deployments: dict[str, Object | None], *, ingress: bool, many_nodes: bool = False
    ) -> None:
        """Computes the status from the pods' current states, which are not watched, and writes it."""
        labels = f"{SERVICE_LABEL}={one.name},component=engine"
        pods = await self._kube.list("Pod", one.namespace, labels)
        status = compute(one.service, deployments, pods, ingress=ingress, many_nodes=many_nodes)
        await self._write_status(one.service, status)

    async def _write_status(self, found: Object, status: Object) -> None:
        before = found.get("status") or {}
        meta = found["metadata"]
        if same(before, status):
            return
        if self._world.faults.slow_status_s:
            await asyncio.sleep(self._world.faults.slow_status_s)
        await self._kube.merge("InferenceService", meta["name"], meta["namespace"], {"status": status}, "status")
        if is_ready(status) != is_ready(before):
            log(f"InferenceService {meta['namespace']}/{meta['name']}: ready: {is_ready(status)}")
            if is_ready(status):
                await self._world.event(
                    found, "InferenceServiceReady", f"InferenceService [{meta['name']}] is Ready", "Normal"
                )
            else:
                message = f"InferenceService [{meta['name']}] is no longer Ready"
                await self._world.event(found, "InferenceServiceNotReady", message)
