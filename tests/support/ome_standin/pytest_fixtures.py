"""Pytest plugin: one cluster with the stand-in for a test run, and a namespace for each test."""

import os
import shutil
from collections.abc import Iterator
from uuid import uuid4

import pytest

from support.labs.cluster import OwnCluster, why_not
from support.ome_standin.fixture import OmeStandIn
from support.ome_standin.images import write_images
from support.ome_standin.lab import Lab


@pytest.fixture(scope="session")
def ome_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    """A node with four GPUs and the images that OME's pods need."""
    if why := why_not():
        pytest.skip(f"no cluster can be started: {why}")
    if shutil.which("openssl") is None:
        pytest.skip("OME's webhooks need certificates (apt install openssl)")
    with OwnCluster(gpus=4) as own:
        folder = tmp_path_factory.mktemp("images")
        for file in write_images(folder):
            own.load_image(file)
            file.unlink()
        yield own


@pytest.fixture(scope="session")
def ome(ome_cluster: OwnCluster) -> Iterator[OmeStandIn]:
    """OME on the cluster; a real one if ``AUTOTUNER_TEST_OME`` is its folder."""
    settings = {"benchmark_pause_s": 0.5, "real": os.environ.get("AUTOTUNER_TEST_OME", "")}
    with OmeStandIn(ome_cluster.kubeconfig, listen=ome_cluster.host_address, **settings) as stand_in:
        yield stand_in
    assert "ome.io" not in ome_cluster.kubectl("get", "customresourcedefinitions", "--output=name")
    assert ome_cluster.api("GET", "/api/v1/namespaces/ome").status_code == 404
    node = ome_cluster.api("GET", f"/api/v1/nodes/{ome_cluster.node}").json()
    assert [label for label in node["metadata"]["labels"] if "ome.io" in label] == []


@pytest.fixture
def lab(ome_cluster: OwnCluster, ome: OmeStandIn) -> Iterator[Lab]:
    """A namespace, which is deleted with its objects after the test."""
    name = f"at-{uuid4().hex[:8]}"
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    ome_cluster.api("POST", "/api/v1/namespaces", json=made).raise_for_status()
    yield Lab(ome_cluster.api, name)
    ome_cluster.api("DELETE", f"/api/v1/namespaces/{name}")
