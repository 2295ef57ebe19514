"""The installed aiconfigurator (``make test-aiconfigurator`` installs it)."""

import math
import socket
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from autotuner.plugins import loading
from autotuner.plugins.prior import KnownServer, NoPredictionError, RequestTokens
from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import shape_named
from autotuner.predict.performance import forecast_by
from autotuner.study.search.forecast import OUTPUT_THROUGHPUT, TPOT, TTFT, Channel, Forecast
from autotuner.study.search.serving import Serving
from autotuner.study.workload import CapacityLoad, Concurrency, LoadUnit, RequestRate, Scenario, TokenLengths, Workload

pytestmark = [
    pytest.mark.aiconfigurator,
    pytest.mark.skipif(find_spec("aiconfigurator_core") is None, reason="make test-aiconfigurator installs it"),
]
LEVELS = (Concurrency(in_flight=8), Concurrency(in_flight=64), RequestRate(rate=1.0), CapacityLoad(unit=LoadUnit.RATE))
SCENARIO = Scenario(text="s", input=TokenLengths(kind="fixed", a=1024), output=TokenLengths(kind="fixed", a=256))


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def server(model: str, gpu: str, serving: Serving) -> KnownServer:
    found = loading.prior("aiconfigurator").server(model, gpu, serving)
    assert found is not None
    return found


def forecast(model: str, serving: Serving, *, shaped: bool = True, gpu: str = "H200") -> Forecast | None:
    workload = Workload(scenarios=(SCENARIO,), levels=LEVELS)
    shape = shape_named(model) if shaped else None
    return forecast_by(loading.prior("aiconfigurator"), model, shape, gpu_named(gpu), serving, workload)


KIMI = "moonshotai/Kimi-K2.5"
DEEPSEEK = "deepseek-ai/DeepSeek-R1"
FP4 = Serving(engine="vllm", tp=8, weights="modelopt_fp4")


@pytest.mark.parametrize(
    ("model", "gpu", "serving", "isl", "osl", "batch", "ttft_ms", "tpot_ms"),
    [
        (KIMI, "B200", FP4, 1024, 1024, 4, 114.1191, 7.2242),
        (KIMI, "B300", FP4.replaced(tp=4), 8192, 1024, 4, 318.6450, 12.5620),
        (KIMI, "B200", FP4.replaced(tp=4, dp=4, ep=16), 1024, 1024, 8, 416.8943, 43.2166),
        (DEEPSEEK, "B200", FP4.replaced(engine="sglang", ep=8, kv="fp8"), 1024, 1024, 8, 62.2990, 8.6835),
        (DEEPSEEK, "B200", FP4.replaced(engine="sglang", tp=4, kv="fp8"), 1024, 8192, 16, 105.0139, 11.2243),
    ],
)
def test_steps_add_up_to_its_own_predictions(
    model: str, gpu: str, serving: Serving, isl: int, osl: int, batch: int, ttft_ms: float, tpot_ms: float
) -> None:
    """The figures are those of ``cli_estimate`` of aiconfigurator 0.12.0; the formulas are those of its ``run_agg``."""
    known = server(model, gpu, serving)
    tokens = RequestTokens(0, isl, osl)
    mixed_ms = known.step_s(batch - 1, isl, tokens) * 1e3
    decoding_ms = known.step_s(batch, 0, tokens) * 1e3
    if serving.engine == "vllm":
        mixed = batch
        first_ms = (mixed_ms + 61 * 0.8) * (1 + math.log2(batch) / 8)  # 61 layers
    else:
        mixed = batch - 3
        first_ms = mixed_ms * (2 + (batch - 3) / 20)
    assert first_ms == pytest.approx(ttft_ms, rel=1e-3)
    found_ms = (mixed * mixed_ms + (osl - batch) * decoding_ms) / (mixed + osl - batch)
    assert found_ms == pytest.approx(tpot_ms, rel=1e-3)


@pytest.mark.parametrize("shaped", [True, False])
def test_every_kind_of_level_is_predicted(shaped: bool) -> None:
    found = forecast("Qwen/Qwen3-32B", Serving(engine="vllm", tp=2), shaped=shaped)
    assert found is not None
    assert (found.source, len(found.levels)) == ("aiconfigurator", len(LEVELS))
    few, many, slow, most = (level.log_mean for level in found.levels)
    assert few[TPOT] < many[TPOT]
    assert few[OUTPUT_THROUGHPUT] < many[OUTPUT_THROUGHPUT]
    assert few[TTFT] > slow[TTFT]
    assert math.exp(most[Channel("capacity")]) > 1


def test_more_gpus_are_faster_and_hold_a_larger_cache() -> None:
    tokens = RequestTokens(0, 1024, 256)
    few, many = (server("Qwen/Qwen3-32B", "H100", Serving(engine="sglang", tp=n, memory_fraction=0.9)) for n in (2, 8))
    assert many.step_s(16, 0, tokens) < few.step_s(16, 0, tokens) < few.step_s(64, 0, tokens)
    assert few.step_s(16, 0, tokens) < few.step_s(16, 1024, tokens)
    less = few.kv_tokens()
    more = many.kv_tokens()
    assert less is not None
    assert more is not None
    assert more > 3 * less


def test_the_cache_is_as_large_as_it_is_set() -> None:
    plain = Serving(engine="vllm", tp=2, memory_fraction=0.9)
    assert server("Qwen/Qwen3-32B", "H100", plain.replaced(max_tokens=5000)).kv_tokens() == 5000
    tokens = [server("Qwen/Qwen3-32B", "H100", plain.replaced(static_gb=gb)).kv_tokens() or 0 for gb in (4, 8)]
    assert tokens[1] == pytest.approx(2 * tokens[0], abs=1)
    assert server("Qwen/Qwen3-32B", "H100", plain.replaced(tp=1, memory_fraction=0.5)).kv_tokens() is None


def test_formats_of_the_cache_differ() -> None:
    tokens = RequestTokens(0, 8000, 256)
    wide, narrow = (server("Qwen/Qwen3-32B", "H100", Serving(engine="vllm", tp=2, kv=kv)) for kv in ("auto", "fp8"))
    assert narrow.step_s(64, 0, tokens) < wide.step_s(64, 0, tokens)


def test_what_it_does_not_know(tmp_path: Path) -> None:
    plain = Serving(engine="vllm")
    prior = loading.prior("aiconfigurator")
    assert prior.server("acme/unknown-7B", "H100", plain) is None
    assert prior.server("Qwen/Qwen3-32B", "RTX-4090", plain) is None
    assert prior.server("Qwen/Qwen3-32B", "H100", plain.replaced(engine="llama_cpp")) is None
    (tmp_path / "config.json").write_text('{"architectures": ["AcmeForCausalLM"]}')
    assert prior.server(str(tmp_path), "H100", plain) is None
    with pytest.raises(NoPredictionError):
        server("Qwen/Qwen3-32B", "H100", plain).step_s(1, 1024, RequestTokens(0, -1, 1))


def test_a_folder_with_a_configuration_is_a_model(tmp_path: Path) -> None:
    packaged = files("aiconfigurator_core") / "model_configs" / "Qwen--Qwen3-8B_config.json"
    (tmp_path / "config.json").write_text(packaged.read_text())
    plain = Serving(engine="vllm")
    tokens = RequestTokens(0, 512, 64)
    local, hub = (server(model, "H100", plain).step_s(8, 0, tokens) for model in (str(tmp_path), "Qwen/Qwen3-8B"))
    assert local == hub


def test_a_server_is_compiled_once_and_a_step_computed_once() -> None:
    serving = Serving(engine="sglang", tp=4)
    first = forecast("Qwen/Qwen3-32B", serving)
    from autotuner.priors.aiconfigurator import prior  # not at the top, because it needs the extra

    caches = [prior._compiled, prior._step_ms, prior._checkpoint]
    before = [cache.cache_info().misses for cache in caches]
    assert forecast("Qwen/Qwen3-32B", serving.replaced(flags={"port": 1})) == first
    assert [cache.cache_info().misses for cache in caches] == before
