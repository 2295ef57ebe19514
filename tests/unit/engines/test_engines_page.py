"""The reference page of the engines lists every engine with its settings, image and version."""

from pathlib import Path

import pytest

from autotuner.engines.shared.gpu_engine import GpuEngine
from autotuner.plugins import loading

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "engines.md").read_text()


@pytest.mark.parametrize("kind", sorted(loading.kinds("engines")))
def test_the_page_describes_every_engine(kind: str) -> None:
    engine = loading.load("engines", kind)
    assert f"`{kind}`" in PAGE
    assert all(f"`{name}`" in PAGE for name in engine.Settings.model_fields)
    if issubclass(engine, GpuEngine):
        assert f"`{engine.image}`" in PAGE
        assert engine.version in PAGE
