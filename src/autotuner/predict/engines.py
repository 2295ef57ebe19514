"""The engines whose memory and speed are predicted, by kind."""

from collections.abc import Mapping

from autotuner.predict.llama_cpp_memory import LlamaCppMemory
from autotuner.predict.memory import MemoryRules
from autotuner.predict.sglang_memory import SglangMemory
from autotuner.predict.vllm_memory import VllmMemory

MEMORY_RULES: Mapping[str, MemoryRules] = {
    rules.engine: rules for rules in (SglangMemory(), VllmMemory(), LlamaCppMemory())
}
