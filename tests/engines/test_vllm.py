"""vLLM's knowledge, without a server."""

import pytest

from autotuner.engines.vllm import Vllm, VllmSettings
from autotuner.testing.engine_kit import EngineConformance


class TestVllm(EngineConformance):
    @pytest.fixture
    def engine(self) -> Vllm:
        return Vllm(VllmSettings())
