"""Fixtures for tests of InferenceServices: a namespace with a runtime of scripted servers, and a results volume.

``test_conformance.py`` does not depend on the stand-in and runs against any OME:

    export AUTOTUNER_TEST_KUBECONFIG=~/.kube/config AUTOTUNER_TEST_NAMESPACE=tuning
    export AUTOTUNER_TEST_MODEL=llama-3-2-1b-instruct AUTOTUNER_TEST_IMAGE=registry.example/autotuner-tests:1
    pytest tests/integration/ome/deployer/test_conformance.py

The namespace must exist and contain no objects of autotuner; the model must be ready; the nodes must be able to pull
the image, which ``support.labs.cluster_images.write_python`` writes.
"""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.relaxed_settings import CALM_LIMITS
from support.labs.cluster import OwnCluster
from support.ome_lab import EXTERNAL_MODEL, FAKE, JOB_SETTINGS, KUBECONFIG, NAMESPACE, TASK, AnyCluster, OmeLab
from support.ome_standin.lab import Lab, eventually


@pytest.fixture(scope="session")
def ome_with_python(ome_cluster: OwnCluster, python_image: Path) -> OwnCluster:
    """A cluster that has the image of the scripted servers."""
    ome_cluster.load_image(python_image)
    return ome_cluster


@pytest.fixture
def at(request: pytest.FixtureRequest) -> Iterator[OmeLab]:
    """A namespace with a runtime of scripted servers; after the test it contains no objects of autotuner."""
    if KUBECONFIG:
        theirs = AnyCluster(KUBECONFIG)
        made = OmeLab(theirs, None, Lab(theirs.api, NAMESPACE), EXTERNAL_MODEL)
    else:
        own = request.getfixturevalue("ome_with_python")
        ome = request.getfixturevalue("ome")
        made = OmeLab(own, ome, request.getfixturevalue("lab"))
    made.lab.created(made.fake_runtime())
    yield made
    assert made.left() == []
    if KUBECONFIG:  # otherwise the namespace is deleted with all of its objects
        made.lab.delete("ServingRuntime", FAKE)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """The context of a trial."""
    return Recorder(tmp_path / "trial")


@pytest.fixture
def results(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """A folder of this machine that the bound claim ``results`` provides."""
    folder = tmp_path / "volume"
    volume = f"results-{lab.namespace}"
    folder.mkdir()
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    size = {"storage": "1Gi"}
    spec = {**common, "capacity": size, "hostPath": {"path": str(folder)}}
    lab.created({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec})
    meta = {"name": "results", "namespace": lab.namespace}
    claim = {**common, "resources": {"requests": size}, "volumeName": volume}
    lab.created({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": claim})
    number = count()

    def bound() -> bool:
        """Changes the claim, which triggers its controller; otherwise that only polls every 15 s."""
        change = {"metadata": {"annotations": {"checked": str(next(number))}}}
        return bool(lab.patch("PersistentVolumeClaim", "results", change).json()["status"]["phase"] == "Bound")

    eventually(bound)
    yield folder
    lab.delete("PersistentVolume", volume)


@pytest.fixture
def site(at: OmeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Site settings for what a legacy task cannot express, and an empty store."""
    path = tmp_path / "site.yaml"
    settings = {k: v for k, v in at.settings().items() if k not in {"runtime", "namespace"}}
    benchmarks = {"ome_job": JOB_SETTINGS, "native": {"limits": dict(CALM_LIMITS)}}
    path.write_text(json.dumps({"deploy": {"ome": settings}, "benchmark": benchmarks}))
    monkeypatch.setenv("AUTOTUNER_SITE", str(path))
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("AUTOTUNER_STORE", raising=False)
    return path


@pytest.fixture
def task(at: OmeLab, site: Path, tmp_path: Path) -> Path:
    """A legacy task file for the namespace."""
    assert site.exists()
    file = tmp_path / "task.json"
    file.write_text(json.dumps({**TASK, "model": {**TASK["model"], "namespace": at.lab.namespace}}))
    return file
