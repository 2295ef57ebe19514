"""Fixtures for all tests."""

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def anyio_backend() -> str:
    """One event loop implementation everywhere: the one the program runs on."""
    return "asyncio"
