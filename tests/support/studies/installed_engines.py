"""Engines of the tests among the installed plugins."""

from typing import Any

import pytest

from autotuner.plugins import loading
from autotuner.plugins.engine import Engine


class _Loaded:
    """An entry point whose class is loaded already."""

    def __init__(self, plugin: type[Engine]) -> None:
        self._plugin = plugin

    def load(self) -> type[Engine]:
        return self._plugin


def install_engines(monkeypatch: pytest.MonkeyPatch, *engines: type[Engine]) -> None:
    """Adds engines to the plugins until the test ends, so that study files can name them."""
    installed = loading.kinds

    def kinds(group: loading.Group) -> dict[str, Any]:
        added = {engine.kind: _Loaded(engine) for engine in engines} if group == "engines" else {}
        return {**installed(group), **added}

    monkeypatch.setattr(loading, "kinds", kinds)
