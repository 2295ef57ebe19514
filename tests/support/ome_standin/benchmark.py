"""Controller of BenchmarkJobs: their Jobs and their status.

OME's Job finds the service by its DNS name. A test cluster has neither DNS nor a service proxy, so the stand-in adds
the name to the pod's ``hostAliases``, with the address of a ready pod of the service. The command line is the same.
"""

import copy
import json
from typing import Any

from support.ome_standin.kube import Key, Object, log
from support.ome_standin.rules.admission import Catalog
from support.ome_standin.rules.merging import merge, model_label
from support.ome_standin.rules.status import is_ready, now
from support.ome_standin.world import Worker, World

FINALIZER = "benchmarkjob.finalizers"
FAULT_LABEL = "ome-stand-in/benchmark-fault"
"""Label of a BenchmarkJob that selects a fault of :mod:`support.ome_standin.fake_genai_bench`."""
FAULT_ENV = "FAKE_GENAI_BENCH_FAULT"
CONFIG = {
    "podConfig": {
        "image": "genai-bench:0.1.113", "cpuRequest": "2", "cpuLimit": "2",
        "memoryRequest": "2Gi", "memoryLimit": "2Gi",
    }
}  # fmt: skip
"""Content of the ConfigMap ``benchmarkjob-config`` under ``benchmarkjob``."""
_MODEL_NAME = "vllm-model"
_KEY = "HUGGINGFACE_API_KEY"
_OVERRIDDEN = ("tolerations", "nodeSelector", "affinity", "volumes")


def arguments(job: Object, base: str, model: Object | None, model_name: str = "") -> list[str]:
    """Returns the command line of genai-bench.

    As in OME, it lacks additional request parameters and a dataset, always has the same model name, and lacks key and
    tokenizer for an endpoint that is only a URL.
    """
    spec = job["spec"]
    made = ["genai-bench", "benchmark", "--api-backend", "openai", "--api-base", base]
    made += ["--api-model-name", model_name or _MODEL_NAME, "--task", spec["task"]]
    made += ["--max-time-per-run", str(spec["maxTimePerIteration"])]
    made += ["--max-requests-per-run", str(spec["maxRequestsPerIteration"])]
    if model is not None:
        made += ["--api-key", "sample-key", "--model-tokenizer", model["spec"]["storage"]["path"]]
    for scenario in spec.get("trafficScenarios") or []:
        made += ["--traffic-scenario", scenario]
    for number in spec.get("numConcurrency") or []:
        made += ["--num-concurrency", str(number)]
    if folder := spec.get("resultFolderName"):
        made += ["--experiment-folder-name", folder]
    if metadata := spec.get("serviceMetadata"):
        made += ["--server-engine", metadata["engine"], "--server-gpu-type", metadata["gpuType"]]
        made += ["--server-version", metadata["version"], "--server-gpu-count", str(metadata["gpuCount"])]
    return made + _output(spec["outputLocation"])


def _output(location: Object) -> list[str]:
    store, _, rest = location["storageUri"].partition("://")
    if store == "pvc":
        return ["--experiment-base-dir", f"/{rest.partition('/')[2]}"]
    if store == "oci":
        parts = rest.split("/")
        named = dict(zip(parts[::2], parts[1::2], strict=False))
        wanted = {"--namespace": "n", "--storage-bucket": "b", "--storage-prefix": "o"}
        return ["--upload-results", *(word for flag, key in wanted.items() for word in (flag, named.get(key, "")))]
    secrets = [word for key, value in (location.get("parameters") or {}).items() for word in (f"--{key}", value)]
    return ["--upload-results", "--storage-provider", store, *secrets]


def pvc_of(job: Object) -> tuple[str, str] | None:
    """Returns claim and folder of the results; None if they are not stored in a volume."""
    uri = job["spec"]["outputLocation"]["storageUri"]
    claim, _, folder = uri.removeprefix("pvc://").partition("/")
    return (claim, folder) if uri.startswith("pvc://") else None


def job_of(job: Object, args: list[str], model: Object | None, config: Object, aliases: list[Object]) -> Object:
    """Returns the batch Job, which is not retried, has no deadline and is never cleaned up."""
    meta = job["metadata"]
    override = job["spec"].get("podOverride") or {}
    sizes = {of: {s: config[f"{s}{of.title()}"] for s in ("cpu", "memory")} for of in ("request", "limit")}
    container: Object = {
        "name": "genai-bench" if override else meta["name"],
        "image": config["image"],
        "command": args[:1],
        "args": args[1:],
        "env": [],
        "volumeMounts": [],
        "resources": {"requests": sizes["request"], "limits": sizes["limit"]},
    }
    pod: Object = {"restartPolicy": "Never", "volumes": [], "hostAliases": aliases}
    if model is not None:
        path = model["spec"]["storage"]["path"]
        name = model["metadata"]["name"]
        pod["nodeSelector"] = {model_label(model): "Ready"}
        pod["volumes"].append({"name": name, "hostPath": {"path": path}})
        container["volumeMounts"].append({"name": name, "mountPath": path, "readOnly": True})
        container["env"].append({"name": "MODEL_PATH", "value": path})
    if secret := job["spec"].get("huggingFaceSecretReference"):
        source = {"secretKeyRef": {"name": secret["name"], "key": _KEY}}
        container["env"].append({"name": _KEY, "valueFrom": source})
    if (claimed := pvc_of(job)) is not None:
        claim, folder = claimed
        pod["volumes"].append({"name": claim, "persistentVolumeClaim": {"claimName": claim}})
        container["volumeMounts"].append({"name": claim, "mountPath": f"/{folder}", "subPath": folder})
    container = merge(container, {k: v for k, v in override.items() if k not in _OVERRIDDEN})
    pod = merge(pod, {k: v for k, v in override.items() if k in _OVERRIDDEN})
    pod["containers"] = [container]
    owner = {
        "apiVersion": "ome.io/v1beta1",
        "kind": "BenchmarkJob",
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    labels = {"benchmark": meta["name"]}
    made = {"name": meta["name"], "namespace": meta["namespace"], "labels": labels, "ownerReferences": [owner]}
    template = {"metadata": {"labels": dict(labels)}, "spec": pod}
    spec = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": made, "spec": spec}


def state_of(found: Object | None, before: Object) -> Object:
    """Returns the status: Running once the Job exists, even if its pod does not run."""
    status = {"lastReconcileTime": before.get("lastReconcileTime", now())}
    if found is None:
        return {**status, "state": "Pending"}
    status |= {"startTime": before.get("startTime", now()), "state": "Running"}
    for condition in found.get("status", {}).get("conditions", []):
        if condition["status"] != "True" or condition["type"] not in ("Complete", "Failed"):
            continue
        status["completionTime"] = before.get("completionTime", now())
        if condition["type"] == "Complete":
            return {**status, "state": "Completed"}
        return {**status, "state": "Failed", "failureMessage": condition.get("message", "")}
    return status


class BenchmarkController:
    """Reconciles BenchmarkJobs, one at a time."""

    def __init__(self, world: World, pause_s: float) -> None:
        self._world = world
        self._kube = world.kube
        self._pause_s = pause_s
        self.worker = Worker("BenchmarkJob", self._reconcile, world.faults)
        world["BenchmarkJob"].listeners.append(self.worker.add_object)
        world["Job"].listeners.append(self._job_changed)

    def _job_changed(self, job: Object) -> None:
        for owner in job["metadata"].get("ownerReferences", []):
            if owner["kind"] == "BenchmarkJob":
                self.worker.add((job["metadata"]["namespace"], owner["name"]))

    async def _reconcile(self, key: Key) -> float | None:
        found = self._world["BenchmarkJob"].objects.get(key)
        if found is None:
            return None
        meta = found["metadata"]
        finalizers = meta.get("finalizers", [])
        if meta.get("deletionTimestamp"):
            if FINALIZER in finalizers:
                await self._kube.delete("Job", meta["name"], meta["namespace"])
                rest = {"metadata": {"finalizers": [one for one in finalizers if one != FINALIZER]}}
                await self._kube.merge("BenchmarkJob", meta["name"], meta["namespace"], rest)
            return None
        if FINALIZER not in finalizers:
            patch = {"metadata": {"finalizers": [*finalizers, FINALIZER]}}
            await self._kube.merge("BenchmarkJob", meta["name"], meta["namespace"], patch)
            return None
        job = await self._kube.get("Job", meta["name"], meta["namespace"])
        if job is None:
            job = await self._create_job(found)
        await self._write_status(found, state_of(job, found.get("status") or {}))
        return self._pause_s if job is None else None

    async def _create_job(self, found: Object) -> Object | None:
        """Creates the Job; returns None if an object is missing, which is only logged, as in OME."""
        meta = found["metadata"]
        catalog = self._world.catalog()
        claimed = pvc_of(found)
        if claimed and await self._kube.get("PersistentVolumeClaim", claimed[0], meta["namespace"]) is None:
            log(f"BenchmarkJob {meta['name']}: PersistentVolumeClaim {claimed[0]} not found")
            return None
        endpoint = found["spec"]["endpoint"]
        model = None
        aliases = []
        name = ""
        if reference := endpoint.get("inferenceService"):
            service = self._world["InferenceService"].get(reference["name"], reference["namespace"])
            model = _model_of(service, catalog)
            if service is None or model is None or not is_ready(service.get("status") or {}):
                log(f"BenchmarkJob {meta['name']}: InferenceService {reference['name']} is not ready")
                return None
            if not model["spec"].get("storage", {}).get("path"):
                log(f"BenchmarkJob {meta['name']}: model {model['metadata']['name']} has no path")
                return None
            base = service["status"]["url"]
            aliases = await self._aliases(service)
        else:
            base = endpoint["endpoint"]["url"]
            name = endpoint["endpoint"].get("modelName", "")
        thing = job_of(found, arguments(found, base, model, name), model, await self._config(), aliases)
        _set_fault(thing, found["metadata"].get("labels", {}).get(FAULT_LABEL) or self._world.faults.benchmark)
        return await self._kube.create(thing)

    async def _aliases(self, service: Object) -> list[Object]:
        """Returns the service's name with the address of one of its ready pods."""
        meta = service["metadata"]
        labels = f"kubernetes.io/service-name={meta['name']}"
        for piece in await self._kube.list("EndpointSlice", meta["namespace"], labels):
            for one in piece.get("endpoints") or []:
                if one.get("conditions", {}).get("ready"):
                    host = f"{meta['name']}.{meta['namespace']}.svc.cluster.local"
                    return [{"ip": one["addresses"][0], "hostnames": [host]}]
        raise RuntimeError(f"Service {meta['name']} has no ready endpoints")

    async def _config(self) -> Object:
        found = await self._kube.get("ConfigMap", "benchmarkjob-config", "ome")
        config = {**CONFIG, **json.loads(((found or {}).get("data") or {}).get("benchmarkjob", "{}"))}
        return dict(config["podConfig"])

    async def _write_status(self, found: Object, status: Object) -> None:
        before = found.get("status") or {}
        meta = found["metadata"]
        if before == status:
            return
        status = {**status, "lastReconcileTime": now()}
        await self._kube.merge("BenchmarkJob", meta["name"], meta["namespace"], {"status": status}, "status")


def _model_of(service: Object | None, catalog: Catalog) -> Object | None:
    if service is None:
        return None
    named: Any = (service["spec"].get("model") or {}).get("name", "")
    return catalog.model(service["metadata"]["namespace"], named)


def _set_fault(thing: Object, fault: str) -> None:
    if fault:
        [container] = thing["spec"]["template"]["spec"]["containers"]
        container["env"] = [*copy.deepcopy(container["env"]), {"name": FAULT_ENV, "value": fault}]
