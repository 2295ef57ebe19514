"""Memory and speed by hand calculation, and their monotonicity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.errors import UsageError
from autotuner.predict.gpus import GPUS, gpu_named
from autotuner.predict.models import MODELS
from autotuner.predict.roofline import FP8, GIB, INT4, Replica, Work, decode, prefill

SIZES = st.sampled_from([1, 2, 4, 8])
NAMES = st.sampled_from(sorted(MODELS))
CARDS = st.sampled_from(sorted(GPUS))


def replica(model: str = "Llama-3.1-8B", gpu: str = "H100", **given: object) -> Replica:
    return Replica.model_validate({"model": MODELS[model], "gpu": gpu_named(gpu), **given})


def test_llama_8b_in_bf16_is_16_gb_and_in_fp8_about_half() -> None:
    assert replica().weight_bytes / 1e9 == pytest.approx(16.06, rel=0.01)  # 8.03e9 parameters of two bytes
    half = replica(weights=FP8).weight_bytes / 1e9
    assert half == pytest.approx(6.98 + 2.1, rel=0.01)  # layers at one byte, 2 x 128,256 x 4,096 at two


def test_kv_bytes_of_llama_8b_by_hand() -> None:
    assert replica().kv_bytes_per_token == 2 * 32 * 8 * 128 * 2  # K and V, layers, KV heads, width, bytes: 128 KiB
    assert replica(tp=8).kv_bytes_per_token == 2 * 32 * 1 * 128 * 2
    assert replica(tp=16).kv_bytes_per_token == 2 * 32 * 1 * 128 * 2, "KV heads are copied where GPUs are more"
    assert replica(pp=2).kv_bytes_per_token == 2 * 16 * 8 * 128 * 2


def test_latent_attention_is_not_split_by_tensor_parallelism() -> None:
    assert replica("DeepSeek-V3", "H200", tp=8).kv_bytes_per_token == 61 * (512 + 64) * 2


@pytest.mark.parametrize(
    ("model", "gpu", "tp", "weights", "fits"),
    [
        ("Llama-3.1-8B", "H100", 1, "bf16", True),
        ("Llama-3.1-8B", "L4", 1, "bf16", True),  # 16 of 22 GiB
        ("Llama-3.1-70B", "H100", 1, "bf16", False),  # 141 GB
        ("Llama-3.1-70B", "H100", 2, "bf16", True),
        ("Llama-3.1-70B", "H100", 4, "bf16", True),
        ("Llama-3.1-70B", "H100", 1, "int4", True),
        ("Llama-3.1-70B", "H200", 1, "bf16", False),  # 131 of 139.8 GiB, more than 0.9 of it
        ("Llama-3.1-405B", "H100", 8, "bf16", False),  # 812 GB of 633
        ("Llama-3.1-405B", "H100", 8, "fp8", True),
        ("DeepSeek-V3", "H100", 8, "bf16", False),  # published in fp8, and still 671 GB
        ("DeepSeek-V3", "H200", 8, "bf16", True),
    ],
)
def test_model_fits_or_not(model: str, gpu: str, tp: int, weights: str, fits: bool) -> None:
    form = {"fp8": FP8, "int4": INT4}.get(weights)
    made = replica(model, gpu, tp=tp, **({"weights": form} if form else {}))
    assert (made.kv_tokens(0.9) > 0) is fits


def test_decoding_one_request_is_bound_by_reading_weights() -> None:
    made = replica()
    seconds = made.step_s(decode(1, 1))
    assert 15.01e9 / made.gpu.bandwidth < seconds < 2 * 15.01e9 / made.gpu.bandwidth


def test_long_prompt_is_bound_by_computing() -> None:
    made = replica()
    flops = 2 * 6.98e9 * 8192
    assert flops / made.gpu.bf16_flops < made.step_s(prefill(8192)) < 2.5 * flops / made.gpu.bf16_flops


@given(NAMES, CARDS, SIZES, SIZES)
def test_more_gpus_never_reduce_the_cache(model: str, gpu: str, tp: int, pp: int) -> None:
    small = replica(model, gpu, tp=tp, pp=pp)
    for more in (replica(model, gpu, tp=2 * tp, pp=pp), replica(model, gpu, tp=tp, pp=2 * pp)):
        assert more.weight_bytes <= small.weight_bytes
        if small.kv_tokens(0.9) > 0:
            assert more.kv_tokens(0.9) >= small.kv_tokens(0.9)


@given(NAMES, CARDS, SIZES)
def test_fp8_cache_holds_twice_as_much(model: str, gpu: str, tp: int) -> None:
    room = max(0, replica(model, gpu, tp=tp).kv_tokens(0.95))
    assert replica(model, gpu, tp=tp, kv_bytes=1.0).kv_tokens(0.95) == pytest.approx(2 * room, abs=2) or room == 0


@given(NAMES, CARDS, st.floats(0.1, 0.8), st.floats(0.01, 0.2))
def test_larger_fraction_never_reduces_the_cache(model: str, gpu: str, fraction: float, more: float) -> None:
    made = replica(model, gpu, tp=8)
    assert made.kv_tokens(fraction + more) >= made.kv_tokens(fraction)


@given(NAMES, CARDS, SIZES, st.integers(1, 512), st.integers(1, 8192))
def test_more_work_never_takes_less_time_and_batches_pay(model: str, gpu: str, tp: int, batch: int, ctx: int) -> None:
    made = replica(model, gpu, tp=tp)
    one = decode(batch, ctx)
    more = decode(batch + 1, ctx)
    assert made.step_s(more) >= made.step_s(one)
    assert made.step_s(decode(batch, ctx + 1)) >= made.step_s(one)
    assert made.decode_throughput(batch + 1, ctx) >= 0.999 * made.decode_throughput(batch, ctx)
    assert made.step_s(one, graph=False) >= made.step_s(one)


@given(NAMES, st.integers(1, 4096), st.integers(0, 4096))
def test_chunks_of_a_prompt_add_up_to_the_whole(model: str, first: int, second: int) -> None:
    whole = prefill(first + second)
    pieces = prefill(first) + prefill(second, cached=first)
    assert pieces.pairs == pytest.approx(whole.pairs)
    assert pieces.tokens == whole.tokens
    made = replica(model, "H200", tp=8)
    assert made.step_s(prefill(first)) + made.step_s(prefill(second, first)) >= made.step_s(whole) or second == 0


def test_tensor_parallelism_gains_less_over_pcie() -> None:
    gains = {}
    for gpu in ("H100", "H100-PCIe"):
        gains[gpu] = replica(gpu=gpu).step_s(prefill(4096)) / replica(gpu=gpu, tp=4).step_s(prefill(4096))
    assert 1.0 < gains["H100-PCIe"] < gains["H100"] < 4.0


def test_fp8_weights_compute_faster_only_on_gpus_with_fp8() -> None:
    for gpu, faster in (("H100", True), ("A100", False)):
        plain = replica(gpu=gpu).step_s(prefill(8192))
        small = replica(gpu=gpu, weights=FP8).step_s(prefill(8192))
        assert (small < 0.9 * plain) is faster


def test_empty_step_takes_time_and_memory_is_in_gib() -> None:
    assert replica().step_s(Work(0, 0)) > 0
    assert replica().gpu.memory_gb * GIB == pytest.approx(84.9e9, rel=0.01)


@pytest.mark.parametrize(("given", "name"), [("h100", "H100"), ("A100", "A100-80GB"), ("rtx 4090", "RTX-4090")])
def test_common_spellings_of_gpus(given: str, name: str) -> None:
    assert gpu_named(given).name == name


def test_unknown_gpu_suggests_the_closest() -> None:
    with pytest.raises(UsageError, match='did you mean "H100"'):
        gpu_named("H10O")
