"""The cases of every engine, by name."""

from support.engine_cases import EngineCases
from support.engine_cases.llama_cpp import LLAMA_CPP
from support.engine_cases.sglang import SGLANG
from support.engine_cases.simulated import SIMULATED_SGLANG, SIMULATED_VLLM
from support.engine_cases.tensorrt_llm import TENSORRT_LLM
from support.engine_cases.vllm import VLLM

ALL: dict[str, EngineCases] = {
    "llama_cpp": LLAMA_CPP,
    "sglang": SGLANG,
    "vllm": VLLM,
    "tensorrt_llm": TENSORRT_LLM,
    "simulated_sglang": SIMULATED_SGLANG,
    "simulated_vllm": SIMULATED_VLLM,
}
