"""What tests of servers as InferenceServices share: runtimes that start scripted servers, a deployer, what is left.

``test_conformance.py`` assumes nothing of the stand-in, and runs against any OME:

    export AUTOTUNER_TEST_KUBECONFIG=~/.kube/config AUTOTUNER_TEST_NAMESPACE=tuning
    export AUTOTUNER_TEST_MODEL=llama-3-2-1b-instruct AUTOTUNER_TEST_IMAGE=registry.example/autotuner-tests:1
    pytest tests/cluster/ome_deployer/test_conformance.py

The namespace must be there and empty of ours; the model must be ready; the image is what
``autotuner.testing.cluster_images.write_python`` writes, where nodes can pull it.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from ome import OmeStandIn
from ome.furniture import MODEL, RUNTIME, runtime
from ome.lab import Lab, eventually
from outages import kill_first_process

from autotuner.deployers._kube_client import connected
from autotuner.deployers._kube_settings import PodSettings
from autotuner.deployers.ome import OmeDeployer, OmeSettings
from autotuner.seams.engine import Engine
from autotuner.study.spec import Model
from autotuner.testing.cluster import OwnCluster
from autotuner.testing.cluster_images import PYTHON_IMAGE
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings

FAKE = "fake-runtime"
OURS = "app.kubernetes.io/managed-by=autotuner"
_LEFT = ("InferenceService", "BenchmarkJob", "Deployment", "Job", "Pod", "Secret")
POLITE = """
import os, runpy, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
runpy.run_module("autotuner.testing.fake_server", run_name="__main__", alter_sys=True)
"""


KUBECONFIG = os.environ.get("AUTOTUNER_TEST_KUBECONFIG")
NAMESPACE = os.environ.get("AUTOTUNER_TEST_NAMESPACE", "default")
THEIR_MODEL = os.environ.get("AUTOTUNER_TEST_MODEL", MODEL)
IMAGE = os.environ.get("AUTOTUNER_TEST_IMAGE", PYTHON_IMAGE)


class AnyCluster:
    """Somebody's cluster, by a kubeconfig: what tests need that assume nothing of it."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = Path(kubeconfig).expanduser()

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call, from wherever."""

        async def call() -> httpx.Response:
            async with connected(PodSettings(kubeconfig=str(self.kubeconfig))) as cluster:
                return await cluster._http.request(method, path, **options)

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(anyio.run, call).result()


class OmeLab:
    """A namespace of a cluster with OME as a deployer's tests use it."""

    def __init__(self, cluster: Any, ome: OmeStandIn | None, lab: Lab, model: str = MODEL) -> None:
        self.cluster, self.ome, self.lab, self.model = cluster, ome, lab, model

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Of a deployer for this namespace; keywords change them."""
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

    def deployer(self, engine: Engine | None = None, model: str = "", **changes: Any) -> OmeDeployer:
        """A deployer of scripted servers, or of another engine's."""
        settings = self.settings(**{**({} if engine else {"runtime": FAKE}), **changes})
        made = OmeDeployer(OmeSettings.model_validate(settings))
        return made.for_study(engine or FakeEngine(FakeEngineSettings()), Model(path=model or self.model))

    def fake_runtime(self, name: str = FAKE, **runner: Any) -> dict[str, Any]:
        """A runtime of the namespace that starts the scripted server."""
        made = runtime(IMAGE, name=name)
        made["kind"], made["metadata"]["namespace"] = "ServingRuntime", self.lab.namespace
        if KUBECONFIG:
            spec = self.lab.get("BaseModel", self.model) or self.lab.get("ClusterBaseModel", self.model)
            [supported] = made["spec"]["supportedModelFormats"]
            facts = ("modelFramework", "modelFormat", "modelArchitecture", "quantization")
            told = {key: spec["spec"][key] for key in facts if spec["spec"].get(key)}
            made["spec"]["supportedModelFormats"] = [{**told, "autoSelect": supported["autoSelect"], "priority": 1}]
            del made["spec"]["modelSizeRange"]
        container = made["spec"]["engineConfig"]["runner"]
        container["command"] = [sys.executable, "-c", POLITE]
        container["args"] = ["--host=0.0.0.0", "--port=8080", "--model=fake"]
        container["resources"] = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
        container |= runner
        return made

    def left(self) -> list[str]:
        """What is there of ours."""
        return [f"{kind} {item['metadata']['name']}" for kind in _LEFT for item in self.lab.all(kind, OURS)]

    def pod(self, role: str = "server") -> dict[str, Any]:
        """The only pod of that role."""
        (found,) = self.lab.all("Pod", f"{OURS},autotuner/role={role}")
        return found

    def service(self) -> dict[str, Any]:
        """The only service of ours."""
        (found,) = self.lab.all("InferenceService", OURS)
        return found

    def kill(self, role: str = "server") -> None:
        """Ends that pod's first process as SIGKILL does, from outside of the pod."""
        if KUBECONFIG:
            pytest.skip("a container's first process is killed from its node alone")
        kill_first_process(self.pod(role))


@pytest.fixture(scope="session")
def ome_with_python(ome_cluster: OwnCluster, python_image: Path) -> OwnCluster:
    """The cluster, with the scripted servers' image."""
    ome_cluster.load_image(python_image)
    return ome_cluster


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Iterator[OmeLab]:
    """A namespace with a runtime of scripted servers; nothing of ours is in it after the test."""
    if KUBECONFIG:
        theirs = AnyCluster(KUBECONFIG)
        made = OmeLab(theirs, None, Lab(theirs.api, NAMESPACE), THEIR_MODEL)
    else:
        own, ome = request.getfixturevalue("ome_with_python"), request.getfixturevalue("ome")
        made = OmeLab(own, ome, request.getfixturevalue("lab"))
    made.lab.created(made.fake_runtime())
    yield made
    assert made.left() == []
    if KUBECONFIG:  # else the namespace goes with all that is in it
        made.lab.delete("ServingRuntime", FAKE)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """A trial's context in a folder of its own."""
    return Recorder(tmp_path / "trial")


@pytest.fixture
def results(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A folder of this machine, behind the bound claim ``results``."""
    folder, volume = tmp_path / "volume", f"results-{lab.namespace}"
    folder.mkdir()
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    spec = {**common, "capacity": size, "hostPath": {"path": str(folder)}}
    lab.created({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec})
    meta = {"name": "results", "namespace": lab.namespace}
    wanted = {**common, "resources": {"requests": size}, "volumeName": volume}
    lab.created({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": wanted})
    number = count()

    def bound() -> bool:
        """Any news of the claim makes its controller look again; by itself it does so every 15 s."""
        news = {"metadata": {"annotations": {"looked": str(next(number))}}}
        return bool(lab.patch("PersistentVolumeClaim", "results", news).json()["status"]["phase"] == "Bound")

    eventually(bound)
    yield folder
    lab.delete("PersistentVolume", volume)
