"""SGLang's knowledge, without a server."""

import pytest

from autotuner.engines.sglang import Sglang, SglangSettings
from autotuner.testing.engine_kit import EngineConformance


class TestSglang(EngineConformance):
    @pytest.fixture
    def engine(self) -> Sglang:
        return Sglang(SglangSettings())
