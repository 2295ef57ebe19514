"""Fixtures: a Docker engine that the test run starts, and a deployer that uses it."""

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
    """One engine for all tests; no test may stop it."""
    if why := why_not():
        pytest.skip(f"no Docker engine can be started: {why}")
    with OwnEngine() as own:
        yield own


@pytest.fixture
def disposable_engine() -> Iterator[OwnEngine]:
    """An engine for a test that stops it; it has no NVIDIA hook."""
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
    """Checks that no container is left after the test."""
    yield
    assert [c["Names"] for c in engine.containers()] == []


async def _get_report(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as client:
        report: dict[str, Any] = (await client.get("/")).json()
        return report


@pytest.fixture
def get_report() -> Callable[[str], Awaitable[dict[str, Any]]]:
    """Gets what the server of ``telling_plan`` reports about its process."""
    return _get_report


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
