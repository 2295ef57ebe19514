"""Test namespace of a cluster with OME, with runtimes of scripted servers and a deployer."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from autotuner.deployers.kubernetes.client import connected
from autotuner.deployers.kubernetes.settings import PodSettings
from autotuner.deployers.ome.deployer import OmeDeployer
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.deployers.ome.study_deployer import BoundOmeDeployer
from autotuner.plugins.engine import Engine
from autotuner.study.spec import Model
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings
from support.labs.cluster_images import PYTHON_IMAGE
from support.ome_standin import OmeStandIn
from support.ome_standin.images import GENAI_BENCH
from support.ome_standin.lab import Lab
from support.ome_standin.sample_objects import MODEL, RUNTIME, runtime
from support.outages import kill_first_process

FAKE = "fake-runtime"
TASK: dict[str, Any] = {
    "task_name": "simple-tune",
    "description": "One model, one GPU, three memory fractions",
    "model": {"id_or_path": MODEL, "namespace": "autotuner"},
    "base_runtime": RUNTIME,
    "parameters": {
        "tp_size": {"type": "choice", "values": [1]},
        "mem_frac": {"type": "choice", "values": [0.8, 0.85, 0.99]},
    },
    "optimization": {
        "strategy": "grid_search",
        "objective": "minimize_latency",
        "max_iterations": 3,
        "timeout_per_iteration": 600,
    },
    "benchmark": {
        "task": "text-to-text",
        "model_name": MODEL,
        "model_tokenizer": "meta-llama/Llama-3.2-1B-Instruct",
        "traffic_scenarios": ["D(100,100)"],
        "num_concurrency": [1, 4],
        "max_time_per_iteration": 10,
        "max_requests_per_iteration": 50,
        "additional_params": {"temperature": "0.0"},
    },
}
"""A legacy task: a model, a runtime, and three memory fractions, of which the last leaves too little memory."""
JOB_SETTINGS = {"claim": "results", "image": GENAI_BENCH, "cpu": "50m", "memory": "128Mi"}
CREATED_BY_AUTOTUNER = "app.kubernetes.io/managed-by=autotuner"
_LEFT = ("InferenceService", "BenchmarkJob", "Deployment", "Job", "Pod", "Secret")
EXITS_ON_SIGTERM = """
import os, runpy, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
runpy.run_module("autotuner.testing.fake_server", run_name="__main__", alter_sys=True)
"""


KUBECONFIG = os.environ.get("AUTOTUNER_TEST_KUBECONFIG")
NAMESPACE = os.environ.get("AUTOTUNER_TEST_NAMESPACE", "default")
EXTERNAL_MODEL = os.environ.get("AUTOTUNER_TEST_MODEL", MODEL)
IMAGE = os.environ.get("AUTOTUNER_TEST_IMAGE", PYTHON_IMAGE)


class AnyCluster:
    """A cluster given by a kubeconfig, for tests that do not depend on the stand-in."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = Path(kubeconfig).expanduser()

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Makes a call of the API server, also from within a running event loop."""

        async def call() -> httpx.Response:
            async with connected(PodSettings(kubeconfig=str(self.kubeconfig))) as cluster:
                return await cluster._http.request(method, path, **options)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(anyio.run, call).result()


class OmeLab:
    """A namespace of a cluster with OME, and its deployer."""

    def __init__(self, cluster: Any, ome: OmeStandIn | None, lab: Lab, model: str = MODEL) -> None:
        self.cluster = cluster
        self.ome = ome
        self.lab = lab
        self.model = model

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Returns settings of a deployer for this namespace; keywords override them."""
        return {
            "kubeconfig": str(self.cluster.kubeconfig),
            "namespace": self.lab.namespace,
            "runtime": RUNTIME,
            "loadgen_image": IMAGE,
            "loadgen_cpu": "50m",
            "loadgen_memory": "128Mi",
            **({} if KUBECONFIG else {"image_pull_policy": "Never"}),
            "stop_grace": "1s",
            **changes,
        }

    def deployer(self, engine: Engine | None = None, model: str = "", **changes: Any) -> BoundOmeDeployer:
        """Returns a deployer of scripted servers, or of those of ``engine``; keywords override its settings."""
        settings = self.settings(**{**({} if engine else {"runtime": FAKE}), **changes})
        made = OmeDeployer(OmeSettings.model_validate(settings))
        return made.bind(engine or FakeEngine(FakeEngineSettings()), Model(path=model or self.model))

    def fake_runtime(self, name: str = FAKE, **runner: Any) -> dict[str, Any]:
        """Returns a ServingRuntime that starts the scripted server; keywords change its runner container."""
        made = runtime(IMAGE, name=name)
        made["kind"] = "ServingRuntime"
        made["metadata"]["namespace"] = self.lab.namespace
        if KUBECONFIG:
            spec = self.lab.get("BaseModel", self.model) or self.lab.get("ClusterBaseModel", self.model)
            [supported] = made["spec"]["supportedModelFormats"]
            facts = ("modelFramework", "modelFormat", "modelArchitecture", "quantization")
            known = {key: spec["spec"][key] for key in facts if spec["spec"].get(key)}
            made["spec"]["supportedModelFormats"] = [{**known, "autoSelect": supported["autoSelect"], "priority": 1}]
            del made["spec"]["modelSizeRange"]
        container = made["spec"]["engineConfig"]["runner"]
        container["command"] = [sys.executable, "-c", EXITS_ON_SIGTERM]
        container["args"] = ["--host=0.0.0.0", "--port=8080", "--model=fake"]
        container["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
        container |= runner
        return made

    def left(self) -> list[str]:
        """Returns kind and name of all objects that autotuner created."""
        return [
            f"{kind} {item['metadata']['name']}" for kind in _LEFT for item in self.lab.all(kind, CREATED_BY_AUTOTUNER)
        ]

    def pod(self, role: str = "server") -> dict[str, Any]:
        """Returns the only pod of a role."""
        (found,) = self.lab.all("Pod", f"{CREATED_BY_AUTOTUNER},autotuner/role={role}")
        return found

    def service(self) -> dict[str, Any]:
        """Returns the only InferenceService that autotuner created."""
        (found,) = self.lab.all("InferenceService", CREATED_BY_AUTOTUNER)
        return found

    def needs_names(self) -> None:
        """Skips the test if a BenchmarkJob could not find the server.

        The real OME uses the server's DNS name, the stand-in its address.
        """
        if self.ome and self.ome.settings.real:
            pytest.skip("the test cluster has no DNS, which OME's benchmarks need to find servers")

    def kill(self, role: str = "server") -> None:
        """Sends SIGKILL to the first process of the only pod of a role, from outside of the pod."""
        if KUBECONFIG:
            pytest.skip("a container's first process can only be killed on its node")
        kill_first_process(self.pod(role))


def written(volume: Path) -> list[str]:
    """Returns the files that benchmarks wrote to a volume."""
    return [str(path) for path in volume.glob("autotuner/**/*")]
