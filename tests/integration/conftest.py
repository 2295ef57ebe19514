"""A Kubernetes cluster of this test run's own, with the images that pods of tests are made of."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autotuner.engines.sglang.engine import Sglang
from autotuner.engines.vllm.engine import Vllm
from support.labs.cluster import OwnCluster, why_not
from support.labs.cluster_images import write_busybox, write_loadgen, write_python, write_simulated

BUSYBOX = "autotuner/busybox:test"
SIMULATED = {"GPU": "H100", "SHAPE": "Llama-3.2-1B", "SPEED": "10"}


@pytest.fixture(scope="session")
def clusters() -> Callable[..., OwnCluster]:
    """Makes clusters that a test starts and stops by hand."""
    if why := why_not():
        pytest.skip(f"no Kubernetes node can be started: {why}")
    return OwnCluster


@pytest.fixture(scope="session")
def cluster(clusters: Callable[..., OwnCluster], images: list[Path]) -> Iterator[OwnCluster]:
    """One cluster for all tests; who kills a part of it starts it again."""
    with clusters() as own:
        for archive in images:
            own.load_image(archive)
        yield own


@pytest.fixture(scope="session")
def images(clusters: Callable[..., OwnCluster], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The engines' default images, played by the simulator; the load generator's; a shell's."""
    folder = tmp_path_factory.mktemp("images")
    simulated, loadgen, busybox = (folder / f"{name}.tar" for name in ("simulated", "loadgen", "busybox"))
    write_simulated(simulated, [Sglang.image, Vllm.image], SIMULATED)
    write_loadgen(loadgen)
    write_busybox(busybox, [BUSYBOX])
    return [simulated, loadgen, busybox]


@pytest.fixture(scope="session")
def python_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This Python with the package's scripted servers and load generators."""
    path = tmp_path_factory.mktemp("image") / "python.tar"
    write_python(path)
    return path
