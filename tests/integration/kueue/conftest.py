"""A separate cluster with a real Kueue and OME's stand-in: servers of both deployers wait in the same queues."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from autotuner.testing.deployer_kit import Recorder
from support.kube_lab import Kube
from support.kueue import Kueue, why_not
from support.labs.cluster import OwnCluster
from support.ome_lab import OmeLab
from support.ome_standin import OmeStandIn
from support.ome_standin.images import write_images
from support.ome_standin.lab import Lab

QUEUE = "tuning"


@pytest.fixture(scope="module")
def queued(
    clusters: Callable[..., OwnCluster], python_image: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OwnCluster, Kueue, OmeStandIn]]:
    """Cluster, Kueue and OME; Kueue also suspends objects that name no queue, except dependents of one that does."""
    if why := why_not():
        pytest.skip(f"no Kueue can be started: {why}")
    with clusters(gpus=4) as own:
        for image in (python_image, *write_images(tmp_path_factory.mktemp("images"))):
            own.load_image(image)
        with OmeStandIn(own.kubeconfig, listen=own.host_address) as ome, Kueue(own, everything=True) as kueue:
            yield own, kueue, ome


class QueueLab:
    """A namespace with a queue that has room for two GPUs, and a deployer of one kind."""

    def __init__(self, kind: str, queued: tuple[OwnCluster, Kueue, OmeStandIn], lab: Lab) -> None:
        self.cluster, self.kueue, ome = queued
        self.kind = kind
        self.lab = lab
        self._ome = OmeLab(self.cluster, ome, lab)
        self._kube = Kube(self.cluster)

    def deployer(self, **changes: Any) -> Any:
        """Returns a deployer for this namespace, whose servers wait in the queue."""
        changes = {"kueue_queue": QUEUE, **changes}
        if self.kind == "ome":
            return self._ome.deployer(**changes)
        return self._kube.deployer(namespace=self.lab.namespace, **changes)

    def left(self) -> list[str]:
        """Returns the objects that autotuner created, and Kueue's workloads."""
        workloads = [f"Workload {w['metadata']['name']}" for w in self.kueue.workloads(self.lab.namespace)]
        return [*self._ome.left(), *workloads]


@pytest.fixture(params=["kubernetes", "ome"])
def queue_lab(request: pytest.FixtureRequest, queued: tuple[OwnCluster, Kueue, OmeStandIn]) -> Iterator[QueueLab]:
    """The test must leave no object of autotuner in it."""
    own, kueue, _ = queued
    name = f"at-{uuid4().hex[:8]}"
    own.api("POST", "/api/v1/namespaces", json={"metadata": {"name": name}}).raise_for_status()
    kueue.queue(QUEUE, name, gpu=2, cpu=4, memory="8Gi")
    queue_lab = QueueLab(request.param, queued, Lab(own.api, name))
    queue_lab.lab.created(queue_lab._ome.fake_runtime())
    yield queue_lab
    assert queue_lab.left() == []
    own.api("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """The context of a trial with its own folder."""
    return Recorder(tmp_path / "trial")
