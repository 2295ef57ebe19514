"""What fits on a GPU, by the rules of SGLang and vLLM."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.predict.engines import MEMORY_RULES
from autotuner.predict.gpus import GPUS, gpu_named, gpu_of_device
from autotuner.predict.memory import MARGIN, MemoryUse, Shortage, fits, surely_too_large
from autotuner.predict.models import MODELS, checkpoint_from_config, checkpoint_named
from autotuner.predict.roofline import GIB
from autotuner.study.search.serving import Serving

ENGINES = st.sampled_from(("sglang", "vllm"))
NAMES = st.sampled_from(sorted(MODELS))
CARDS = st.sampled_from(sorted(GPUS))
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072,
}  # fmt: skip


def used(engine: str, model: str, gpu: str, **given: object) -> MemoryUse:
    serving = Serving.model_validate({"engine": engine, **given})
    found = fits(MODELS[model], gpu_named(gpu), serving, MEMORY_RULES[engine])
    assert found is not None
    return found


@given(ENGINES, NAMES, CARDS, st.sampled_from((1, 2, 4)), st.floats(0.2, 0.9), st.floats(0.0, 0.09))
def test_each_part_moves_the_memory_in_one_direction(
    engine: str, model: str, gpu: str, tp: int, fraction: float, more: float
) -> None:
    base = used(engine, model, gpu, tp=tp, memory_fraction=fraction, graph_max=64, max_batched_tokens=4096)
    larger = used(engine, model, gpu, tp=tp, memory_fraction=fraction + more, graph_max=64, max_batched_tokens=4096)
    assert larger.budget >= base.budget
    assert larger.kv_tokens >= base.kv_tokens
    split = used(engine, model, gpu, tp=2 * tp, memory_fraction=fraction, graph_max=64, max_batched_tokens=4096)
    assert split.parts["weights"] < base.parts["weights"]
    graphs = used(engine, model, gpu, tp=tp, memory_fraction=fraction, graph_max=128, max_batched_tokens=4096)
    assert graphs.parts["graphs"] > base.parts["graphs"]
    assert graphs.budget <= base.budget
    small = used(engine, model, gpu, tp=tp, memory_fraction=fraction, graph_max=64, max_batched_tokens=4096, kv="fp8")
    assert small.kv_tokens >= base.kv_tokens
    assert all(part >= 0 for part in base.parts.values())
    assert base.fits is (base.why == "")


@given(ENGINES, NAMES, CARDS, st.sampled_from((1, 2, 4, 8)), st.floats(0.2, 0.97), st.integers(1, 200_000))
def test_what_is_refused_does_not_fit_by_the_engines_full_rule(
    engine: str, model: str, gpu: str, tp: int, fraction: float, context: int
) -> None:
    serving = Serving(engine=engine, tp=tp, memory_fraction=fraction, context=context)
    shape = MODELS[model]
    rules = MEMORY_RULES[engine]
    refused = surely_too_large(shape, gpu_named(gpu), serving, rules)
    whole = fits(shape, gpu_named(gpu), serving, rules)
    assert whole is not None
    if refused is not None:
        assert refused.why
        assert not whole.fits
    exact = surely_too_large(shape, gpu_named(gpu), serving.replaced(simulated=True), rules)
    assert (exact is None) is whole.fits


def test_a_real_gpu_is_credited_with_a_margin() -> None:
    shape = MODELS["Llama-3.1-8B"]
    gpu = gpu_named("H100")
    rules = MEMORY_RULES["sglang"]
    weights = used("sglang", "Llama-3.1-8B", "H100").parts["weights"]
    least = weights / (gpu.memory_gb * GIB)

    def refused(fraction: float) -> bool:
        return surely_too_large(shape, gpu, Serving(engine="sglang", memory_fraction=fraction), rules) is not None

    assert refused(least / (1 + MARGIN) - 0.001)
    assert not refused(least / (1 + MARGIN) + 0.001)


def test_only_a_context_that_was_set_is_refused_on_a_real_engine() -> None:
    shape = MODELS["Llama-3.1-8B"]
    gpu = gpu_named("L4")
    rules = MEMORY_RULES["vllm"]
    assert used("vllm", "Llama-3.1-8B", "L4").shortage is Shortage.CONTEXT
    assert surely_too_large(shape, gpu, Serving(engine="vllm"), rules) is None
    found = surely_too_large(shape, gpu, Serving(engine="vllm", context=131072), rules)
    assert found is not None
    assert found.shortage is Shortage.CONTEXT
    assert "131072 tokens" in found.why
    assert surely_too_large(shape, gpu, Serving(engine="vllm", context=8192), rules) is None


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
def test_a_fraction_that_was_not_set_is_not_held_against_a_real_engine(engine: str) -> None:
    """DeepSeek-V3 in FP8 runs on four B200, with little room: 157 of 178 GiB per GPU are weights."""
    rules = MEMORY_RULES[engine]
    shape = MODELS["DeepSeek-V3"]
    assert surely_too_large(shape, gpu_named("B200"), Serving(engine=engine, tp=4), rules) is None
    low = surely_too_large(shape, gpu_named("B200"), Serving(engine=engine, tp=4, memory_fraction=0.8), rules)
    assert low is not None
    assert "0.8" in low.why
    assert surely_too_large(shape, gpu_named("B200"), Serving(engine=engine, tp=2), rules) is not None


def test_an_unknown_format_is_never_refused() -> None:
    unknown = Serving(engine="vllm", weights="compressed-tensors", memory_fraction=0.01)
    assert surely_too_large(MODELS["DeepSeek-V3"], gpu_named("L4"), unknown, MEMORY_RULES["vllm"]) is None


def test_experts_spread_over_replicas_and_attention_groups_hold_more_each() -> None:
    plain = used("vllm", "DeepSeek-V3", "H200", tp=8)
    spread = used("vllm", "DeepSeek-V3", "H200", tp=8, dp=2, ep=16)
    assert spread.parts["weights"] < 0.6 * plain.parts["weights"]
    grouped = used("sglang", "DeepSeek-V3", "H200", tp=8, attention_dp=8)
    assert grouped.parts["weights"] > used("sglang", "DeepSeek-V3", "H200", tp=8).parts["weights"]


@pytest.mark.parametrize(
    ("hub_id", "shape", "bytes_per_weight"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B", 2.0),
        ("meta-llama/Meta-Llama-3.1-70B", "Llama-3.1-70B", 2.0),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507-FP8", "Qwen3-30B-A3B", 1.0),
        ("deepseek-ai/DeepSeek-V3-0324", "DeepSeek-V3", 1.0),
        ("Qwen/Qwen3-8B-AWQ", "", 0),
        ("Qwen/Qwen3-8B-GGUF", "", 0),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "", 0),
        ("someone/Llama-3.1-8B-Instruct", "", 0),
        ("Llama-3.1-8B", "", 0),
    ],
)
def test_a_checkpoint_is_known_only_by_an_unmistakable_name(hub_id: str, shape: str, bytes_per_weight: float) -> None:
    found = checkpoint_named(hub_id)
    assert (found.name if found else "") == shape
    assert found is None or found.native_bytes == bytes_per_weight


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, True),
        ({"quantization_config": {"quant_method": "fp8"}}, True),
        ({"quantization_config": {"quant_method": "awq"}}, False),
        ({"architectures": ["Qwen3NextForCausalLM"]}, False),
        ({"sliding_window": 4096}, False),
        ({"sliding_window": 4096, "use_sliding_window": False}, True),
        ({"layer_types": ["full_attention", "sliding_attention"]}, False),
        ({"num_hidden_layers": "many"}, False),
    ],
)
def test_a_config_is_known_only_if_the_shape_describes_it(changes: dict[str, object], known: bool) -> None:
    assert (checkpoint_from_config("m", {**LLAMA, **changes}) is not None) is known


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA-H100-80GB-HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", ""),
        ("NVIDIA Tesla K80", ""),
        ("", ""),
    ],
)
def test_a_gpu_is_recognized_by_its_drivers_name(device: str, name: str) -> None:
    found = gpu_of_device(device)
    assert (found.name if found else "") == name


def test_a_board_with_more_memory_counts_with_it() -> None:
    assert [gpu.memory_gb for m in (0.0, 60.0, 90.0) if (gpu := gpu_of_device("NVIDIA H100 80GB HBM3", m))] == [
        79.1,
        79.1,
        90.0,
    ]


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize(("model", "fraction", "raised"), [("Llama-3.1-8B", 0.15, True), ("Llama-3.1-70B", 0.5, False)])
def test_a_fraction_that_is_too_low_need_only_be_raised(
    engine: str, model: str, fraction: float, *, simulated: bool, raised: bool
) -> None:
    rules = MEMORY_RULES[engine]
    serving = Serving(engine=engine, memory_fraction=fraction, context=4096, graph_max=8, simulated=simulated)
    refused = surely_too_large(MODELS[model], gpu_named("H100"), serving, rules)
    assert refused is not None
    flag = {"sglang": "mem-fraction-static", "vllm": "gpu-memory-utilization"}[engine]
    assert refused.raise_flag == (flag if raised else "")
    more = serving.model_copy(update={"memory_fraction": 0.9})
    assert (surely_too_large(MODELS[model], gpu_named("H100"), more, rules) is None) is raised
