"""Fixtures for all tests."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """One event loop implementation everywhere: the one the program runs on."""
    return "asyncio"
