"""Fixtures for unit tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from autotuner.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store, in a home of its own."""
    monkeypatch.setenv("AUTOTUNER_HOME", str(tmp_path / "home"))
    with Store.open(f"sqlite:///{tmp_path / 'autotuner.db'}") as opened:
        yield opened
