"""Servers in aiconfigurator's terms, which need no aiconfigurator."""

import pytest

from autotuner.predict.gpus import GPUS
from autotuner.priors.aiconfigurator.servers import Checkpoint, Server, described, server_of
from autotuner.study.search.serving import Serving

DENSE = Checkpoint()
EXPERTS = Checkpoint(experts=True, weights="fp8_block")


def server(serving: Serving, checkpoint: Checkpoint = EXPERTS, gpu: str = "H200") -> Server:
    found = server_of("m", checkpoint, gpu, serving)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("serving", "divided"),
    [
        (Serving(engine="sglang", tp=8), (8, 1, 8, 1)),
        (Serving(engine="sglang", tp=8, ep=8), (8, 1, 1, 8)),
        (Serving(engine="sglang", tp=8, ep=4, attention_dp=8), (1, 8, 2, 4)),
        (Serving(engine="vllm", tp=4), (4, 1, 4, 1)),
        (Serving(engine="vllm", tp=2, dp=4, ep=8), (2, 4, 1, 8)),
        (Serving(engine="sglang", tp=4, dp=2), (4, 1, 4, 1)),
    ],
)
def test_attention_and_experts_are_divided_over_the_same_gpus(
    serving: Serving, divided: tuple[int, int, int, int]
) -> None:
    options = server(serving).options
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    assert tuple(options[name] for name in names) == divided


def test_replicas_of_a_dense_model_are_independent() -> None:
    assert server(Serving(engine="vllm", tp=2, dp=4, ep=8), DENSE).options["attention_dp_size"] == 1


@pytest.mark.parametrize(
    ("serving", "checkpoint"),
    [
        (Serving(engine="sglang", tp=8, attention_dp=3), EXPERTS),
        (Serving(engine="sglang", tp=8, ep=3), EXPERTS),
        (Serving(engine="sglang", tp=8, attention_dp=2), DENSE),
    ],
)
def test_a_division_that_it_does_not_know_has_no_server(serving: Serving, checkpoint: Checkpoint) -> None:
    assert server_of("m", checkpoint, "H200", serving) is None


@pytest.mark.parametrize(
    ("published", "asked", "used"),
    [
        ("", "", None),
        ("", "fp8", "fp8"),
        ("fp8_block", "", None),
        ("fp8_block", "fp8", None),
        ("fp8_block", "modelopt_fp4", "nvfp4"),
        ("nvfp4", "modelopt_fp4", None),
    ],
)
def test_a_format_is_named_only_if_it_is_not_that_of_the_checkpoint(
    published: str, asked: str, used: str | None
) -> None:
    found = server(Serving(engine="vllm", weights=asked), Checkpoint(weights=published))
    assert found.options["gemm_quant_mode"] == found.options["moe_quant_mode"] == used


def test_what_it_has_no_tables_for() -> None:
    plain = Serving(engine="vllm")
    assert described("H100", plain)
    assert described("H100", plain.replaced(kv="fp8_e4m3", weights="fp8"))
    unknown = [{"engine": "llama_cpp"}, {"graphs": False}, {"weights": "awq"}, {"kv": "int8"}]
    assert not [changes for changes in unknown if described("H100", plain.replaced(**changes))]
    assert not described("RTX-4090", plain)
    assert sum(described(gpu, plain) for gpu in GPUS) == 11, "each of its GPUs that is listed has our name"
