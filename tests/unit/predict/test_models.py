"""Parameter counts of model shapes, compared with the published ones."""

import pytest

from autotuner.errors import UsageError
from autotuner.predict.models import MODELS, shape_from_config, shape_named

PUBLISHED = {
    # Billions, all and active, of the models' cards and papers.
    "Llama-3.2-1B": (1.24, 1.24),
    "Llama-3.2-3B": (3.21, 3.21),
    "Llama-3.1-8B": (8.03, 8.03),
    "Llama-3.1-70B": (70.6, 70.6),
    "Llama-3.1-405B": (405.9, 405.9),
    "Mistral-7B": (7.25, 7.25),
    "Qwen3-0.6B": (0.6, 0.6),
    "Qwen3-8B": (8.2, 8.2),
    "Qwen3-32B": (32.8, 32.8),
    "Qwen3-30B-A3B": (30.5, 3.3),
    "Qwen3-235B-A22B": (235.0, 22.0),
    "Mixtral-8x7B": (46.7, 12.9),
    "DeepSeek-V3": (671.0, 37.0),
    "Kimi-K2": (1026.0, 32.9),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_match_the_published_ones(name: str) -> None:
    everything, active = PUBLISHED[name]
    assert MODELS[name].parameters / 1e9 == pytest.approx(everything, rel=0.01)
    assert MODELS[name].active_parameters / 1e9 == pytest.approx(active, rel=0.03)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama-3.1-8B"),
        ("/models/Meta-Llama-3.1-70B-Instruct/", "Llama-3.1-70B"),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507", "Qwen3-30B-A3B"),
        ("deepseek-ai/DeepSeek-V3-0324", "DeepSeek-V3"),
        ("qwen3-8b", "Qwen3-8B"),
    ],
)
def test_common_spellings_of_names(given: str, name: str) -> None:
    assert shape_named(given).name == name


def test_unknown_name_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match=r'did you mean "Llama-3\.1-8B"'):
        shape_named("Lama-3.1-8B")


def test_config_file_yields_the_shape_of_the_table() -> None:
    llama = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128256,
        "max_position_embeddings": 131072,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    assert shape_from_config("Llama-3.1-8B", llama) == MODELS["Llama-3.1-8B"]
    moe = {
        "architectures": ["Qwen3MoeForCausalLM"],
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "head_dim": 128,
        "num_attention_heads": 32,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "vocab_size": 151936,
        "max_position_embeddings": 40960,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "moe_intermediate_size": 768,
    }
    assert shape_from_config("Qwen3-30B-A3B", moe) == MODELS["Qwen3-30B-A3B"]
    latent = {
        "architectures": ["DeepseekV3ForCausalLM"],
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "num_attention_heads": 128,
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "vocab_size": 129280,
        "max_position_embeddings": 163840,
        "n_routed_experts": 256,
        "num_experts_per_tok": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
        "first_k_dense_replace": 3,
        "q_lora_rank": 1536,
        "kv_lora_rank": 512,
        "qk_rope_head_dim": 64,
        "qk_nope_head_dim": 128,
        "v_head_dim": 128,
        "quantization_config": {"quant_method": "fp8"},
    }
    assert shape_from_config("DeepSeek-V3", latent) == MODELS["DeepSeek-V3"]


@pytest.mark.parametrize("config", [{}, {"hidden_size": "wide", "num_attention_heads": 1}, {"hidden_size": 0}])
def test_config_of_another_kind_is_refused(config: dict[str, object]) -> None:
    with pytest.raises(UsageError) as raised:
        shape_from_config("x", config)
    assert len(raised.value.problems) == 1
