"""The engine double fulfills the contract of real engines."""

import pytest

from autotuner.testing.engine_kit import EngineConformance
from autotuner.testing.fake_engine import FakeEngine, FakeEngineSettings


class TestFakeEngine(EngineConformance):
    @pytest.fixture
    def engine(self) -> FakeEngine:
        return FakeEngine(FakeEngineSettings())
