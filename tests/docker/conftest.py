"""A Docker engine of this test run's own, and a deployer that uses it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from autotuner.deployers.docker import DockerDeployer, DockerSettings
from autotuner.testing.docker_engine import OwnEngine, why_not

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
