"""Fixtures for servers in pods: a cluster with an image of this Python, and the context of a trial."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.testing.deployer_kit import Recorder
from support.kube_lab import Kube
from support.labs.cluster import OwnCluster


@pytest.fixture(scope="session")
def shared(cluster: OwnCluster, python_image: Path) -> Kube:
    """The session's cluster, with the image loaded."""
    cluster.load_image(python_image)
    return Kube(cluster)


@pytest.fixture
def kube(shared: Kube) -> Iterator[Kube]:
    """The cluster; the test must leave no object of autotuner in it."""
    yield shared
    assert shared.left() == []


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """The context of a trial with its own folder."""
    return Recorder(tmp_path / "trial")
