"""Fixtures for all tests."""

import os
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
    """What the machine's owner has set for their own studies is not part of a test, nor of the processes it starts."""
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_text("deploy: {}\n")
    before = os.environ.get("AUTOTUNER_SITE")
    os.environ["AUTOTUNER_SITE"] = str(path)
    yield path
    if before is None:
        del os.environ["AUTOTUNER_SITE"]
    else:
        os.environ["AUTOTUNER_SITE"] = before
