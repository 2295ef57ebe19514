"""TensorRT-LLM's knowledge, without a server."""

import pytest

from autotuner.engines.tensorrt_llm import TensorrtLlm, TensorrtLlmSettings
from autotuner.testing.engine_kit import EngineConformance


class TestTensorrtLlm(EngineConformance):
    @pytest.fixture
    def engine(self) -> TensorrtLlm:
        return TensorrtLlm(TensorrtLlmSettings(set_flag=True))
