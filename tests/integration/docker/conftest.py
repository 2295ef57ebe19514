"""A Docker engine of this test run's own, and a deployer that uses it."""

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotuner.deployers.docker.deployer import DockerDeployer, DockerSettings
from autotuner.testing.deployer_kit import Recorder
from support.labs.docker_engine import OwnEngine, why_not

Deploy = Callable[..., DockerDeployer]


@pytest.fixture(scope="session")
def engine() -> Iterator[OwnEngine]:
    """One engine for all tests; nobody may stop it."""
    if why := why_not():
        pytest.skip(f"no Docker engine can be started: {why}")
    with OwnEngine() as own:
        yield own


@pytest.fixture
def mortal() -> Iterator[OwnEngine]:
    """An engine for one test that ends it; it takes no requests for GPUs."""
    if why := why_not():
        pytest.skip(f"no Docker engine can be started: {why}")
    with OwnEngine(gpu_hook=False) as own:
        yield own


@pytest.fixture
def make(engine: OwnEngine) -> Deploy:
    """A deployer for the engine; keywords change its settings."""

    def deployer(**changes: Any) -> DockerDeployer:
        return DockerDeployer(DockerSettings.model_validate(engine.settings(**changes)))

    return deployer


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    """A trial's context in a folder of its own."""
    return Recorder(tmp_path / "trial")


@pytest.fixture
def nothing_left(engine: OwnEngine) -> Iterator[None]:
    """No container is there after the test."""
    yield
    assert [c["Names"] for c in engine.containers()] == []


async def _tells(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        told: dict[str, Any] = (await client.get("/")).json()
        return told


@pytest.fixture
def tells() -> Callable[[str], Awaitable[dict[str, Any]]]:
    """What a telling server says of itself."""
    return _tells


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
