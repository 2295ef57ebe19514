"""Fixtures for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["ome.pytest_fixtures"]

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def anyio_backend() -> str:
    """One event loop implementation everywhere: the one the program runs on."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def no_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the machine's owner has set for their own studies, and their cluster, are no part of a test, nor of the
    processes it starts."""
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text("deploy: {}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNER_SITE", str(path))
        patch.setenv("KUBECONFIG", str(path.with_name("no-cluster")))
        yield path
