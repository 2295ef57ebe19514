"""What tests of servers in pods share: an image of this Python, a deployer, and a look at what is left."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.testing.deployer_kit import Recorder
from support.kube_lab import Kube
from support.labs.cluster import OwnCluster


@pytest.fixture(scope="session")
def shared(cluster: OwnCluster, python_image: Path) -> Kube:
    """The cluster of all tests, with the image."""
    cluster.load_image(python_image)
    return Kube(cluster)


@pytest.fixture
def kube(shared: Kube) -> Iterator[Kube]:
    """The cluster; nothing of ours is in it after the test."""
    yield shared
    assert shared.left() == []


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """A trial's context in a folder of its own."""
    return Recorder(tmp_path / "trial")
