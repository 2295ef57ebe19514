"""Predicted latencies and throughput: directions that must hold, slopes, capacities, what is not modeled."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.predict.gpus import GPUS, gpu_named
from autotuner.predict.models import MODELS
from autotuner.predict.performance import PARAMETERS, forecast
from autotuner.predict.queueing import Batching, Lengths, closed_loop, open_loop, peak
from autotuner.predict.roofline import REAL, SIMULATED
from autotuner.study.metric import CAPACITY_METRICS
from autotuner.study.search.forecast import OUTPUT_THROUGHPUT, TPOT, TTFT, Channel, Forecast
from autotuner.study.search.serving import Serving
from autotuner.study.workload import (
    CapacityLoad,
    Concurrency,
    LoadLevel,
    LoadUnit,
    RequestRate,
    Scenario,
    TokenLengths,
    Users,
    Workload,
)

SGLANG = Serving(engine="sglang")


def workload(*levels: LoadLevel, prompt: int = 512, output: int = 128, spread: int = 0) -> Workload:
    kind = "normal" if spread else "fixed"
    scenario = Scenario(
        text="s",
        input=TokenLengths(kind="fixed", a=prompt),
        output=TokenLengths.model_validate({"kind": kind, "a": output, "b": spread}),
    )
    return Workload(scenarios=(scenario,), levels=levels)


def predicted(
    *levels: LoadLevel, serving: Serving = SGLANG, model: str = "Llama-3.1-8B", gpu: str = "H100", **given: int
) -> Forecast:
    found = forecast(MODELS[model], gpu_named(gpu), serving, workload(*levels, **given))
    assert found is not None
    return found


def value(found: Forecast, channel: Channel, index: int = 0) -> float:
    return math.exp(found.levels[index].log_mean[channel])


ENGINES = st.sampled_from(("sglang", "vllm"))
NAMES = st.sampled_from(("Qwen3-0.6B", "Llama-3.1-8B", "Qwen3-30B-A3B", "DeepSeek-V3"))
CARDS = st.sampled_from(sorted(GPUS))


@settings(max_examples=60)
@given(ENGINES, NAMES, CARDS, st.sampled_from((1, 8)), st.integers(1, 300), st.integers(1, 300),
       st.integers(16, 9000), st.integers(2, 2000), st.sampled_from((0, 40)))  # fmt: skip
def test_more_load_never_lowers_tpot(
    engine: str, model: str, gpu: str, tp: int, load: int, more: int, prompt: int, output: int, spread: int
) -> None:
    levels = Concurrency(in_flight=load), Concurrency(in_flight=load + more)
    serving = Serving(engine=engine, tp=tp)
    asked = workload(*levels, prompt=prompt, output=output, spread=min(spread, output // 4))
    found = forecast(MODELS[model], gpu_named(gpu), serving, asked, slopes=False)
    if found is None:
        return  # it does not fit
    assert value(found, TPOT, 1) >= 0.99 * value(found, TPOT, 0)
    for index, level in enumerate(levels):  # Little's law
        time_s = value(found, TTFT, index) - REAL.request_s + (output - 1) * value(found, TPOT, index)
        rate = value(found, OUTPUT_THROUGHPUT, index) / output
        assert rate * time_s == pytest.approx(level.in_flight, rel=0.25)


@settings(max_examples=60)
@given(ENGINES, st.floats(0.05, 0.9), st.floats(0.0, 0.5), st.integers(16, 4000), st.integers(2, 500))
def test_a_higher_rate_never_lowers_latencies(engine: str, part: float, more: float, prompt: int, output: int) -> None:
    serving = Serving(engine=engine)
    asked = workload(Concurrency(in_flight=100_000), prompt=prompt, output=output)
    full = forecast(MODELS["Llama-3.1-8B"], gpu_named("H100"), serving, asked, staggered=False, slopes=False)
    assert full is not None
    most = value(full, OUTPUT_THROUGHPUT) / output
    rates = RequestRate(rate=part * most), RequestRate(rate=(part + more) * most)
    found = predicted(*rates, serving=serving, prompt=prompt, output=output)
    assert value(found, TTFT, 1) >= 0.9 * value(found, TTFT, 0)
    assert value(found, TPOT, 1) >= 0.9 * value(found, TPOT, 0)
    assert value(found, OUTPUT_THROUGHPUT, 1) <= 1.001 * most * output


@pytest.mark.parametrize("busy", [0.1, 0.5, 0.9])
def test_prompts_wait_as_in_an_m_d_1_queue(busy: float) -> None:
    prompt_s = 0.05
    batching = Batching(lambda _, tokens: prompt_s * tokens / 100, slots=64, budget=100, mixed=False)
    lengths = Lengths(prompt=100, output=1)
    found = open_loop(batching, lengths, busy / prompt_s, window_s=60.0)
    wait_s = prompt_s * busy / (2 * (1 - busy))
    assert found.ttft_s == pytest.approx(prompt_s + wait_s)
    doubled = open_loop(replace(batching, queue=2.0), lengths, busy / prompt_s, window_s=60.0)
    assert doubled.ttft_s == pytest.approx(prompt_s + 2 * wait_s)


def test_beyond_the_peak_the_wait_grows_with_the_window() -> None:
    batching = Batching(lambda n, tokens: 0.01 + 1e-4 * n + 1e-5 * tokens, slots=64, budget=8192, mixed=True)
    lengths = Lengths(prompt=100, output=50)
    most = peak(batching, lengths)
    short, long = (open_loop(batching, lengths, 2 * most, window_s) for window_s in (10.0, 100.0))
    assert long.ttft_s > 9 * short.ttft_s - 10 * short.tpot_s * 50
    assert short.requests_s == pytest.approx(most)
    assert closed_loop(batching, lengths, 1000).ttft_s > closed_loop(batching, lengths, 64).ttft_s


@pytest.mark.parametrize("level", [Concurrency(in_flight=16), RequestRate(rate=4.0)])
def test_slopes_say_what_a_change_of_a_parameter_does(level: LoadLevel) -> None:
    shape = MODELS["Llama-3.1-70B"]
    serving = Serving(engine="vllm", tp=4)
    base = forecast(shape, gpu_named("H100"), serving, workload(level), REAL)
    assert base is not None
    slopes = base.levels[0].slopes
    for name in PARAMETERS:
        moved = replace(REAL, **{name: getattr(REAL, name) * 1.02})
        found = forecast(shape, gpu_named("H100"), serving, workload(level), moved, slopes=False)
        assert found is not None
        for channel in (TTFT, TPOT, OUTPUT_THROUGHPUT):
            change = found.levels[0].log_mean[channel] - base.levels[0].log_mean[channel]
            assert change == pytest.approx(slopes.get(channel, {}).get(name, 0.0) * math.log(1.02), abs=3e-3)
    assert slopes[TPOT]["memory"] < -0.3, "decoding waits for memory"
    assert slopes[TTFT]["compute"] < 0
    assert slopes[TPOT]["link"] < 0
    assert slopes[TPOT]["step"] > 0


def test_what_is_not_modeled_has_no_forecast() -> None:
    shape = MODELS["Llama-3.1-8B"]
    gpu = gpu_named("H100")
    asked = workload(Concurrency(in_flight=4))
    for serving in (
        Serving(engine="tensorrt_llm"),
        Serving(engine="vllm", speculative="ngram"),
        Serving(engine="vllm", weights="bitsandbytes"),
        Serving(engine="vllm", tp=3),
        Serving(engine="vllm", memory_fraction=0.1),
    ):
        assert forecast(shape, gpu, serving, asked) is None
    assert forecast(shape, gpu, SGLANG, workload(Users(count=4))) is None
    recorded = Workload(scenarios=(Scenario(text="d", dataset="d.jsonl"),), levels=(Concurrency(in_flight=4),))
    assert forecast(shape, gpu, SGLANG, recorded) is None


def test_replicas_share_the_load() -> None:
    one = predicted(Concurrency(in_flight=16))
    two = predicted(Concurrency(in_flight=32), serving=SGLANG.replaced(dp=2))
    assert value(two, TPOT) == pytest.approx(value(one, TPOT))
    assert value(two, OUTPUT_THROUGHPUT) == pytest.approx(2 * value(one, OUTPUT_THROUGHPUT))


def test_prefixes_in_the_cache_save_their_prefill() -> None:
    scenario = workload(Concurrency(in_flight=1)).scenarios[0]
    shared = Workload(scenarios=(scenario,), levels=(Concurrency(in_flight=1),), prefix_tokens=4096)
    found = {}
    for cache in (True, False):
        made = forecast(
            MODELS["Llama-3.1-8B"], gpu_named("H100"), SGLANG.replaced(prefix_cache=cache), shared, SIMULATED
        )
        assert made is not None
        found[cache] = value(made, TTFT)
    assert found[True] < 0.3 * found[False]


@pytest.mark.parametrize("unit", [LoadUnit.RATE, LoadUnit.CONCURRENCY])
def test_a_capacity_is_where_a_bound_is_met(unit: LoadUnit) -> None:
    shape = MODELS["Llama-3.1-8B"]
    gpu = gpu_named("H100")
    serving = SGLANG.replaced(dp=2)
    asked = workload(CapacityLoad(unit=unit))
    channel = Channel(CAPACITY_METRICS[unit])

    def capacity(bounds: dict[Channel, float]) -> float:
        found = forecast(shape, gpu, serving, asked, bounds=bounds, slopes=False)
        return math.exp(found.levels[0].log_mean[channel]) if found else 0.0

    bounds = {TTFT: 0.4, TPOT: 0.02}
    most = capacity(bounds)
    levels: tuple[LoadLevel, LoadLevel] = (RequestRate(rate=0.97 * most), RequestRate(rate=1.03 * most))
    if unit is LoadUnit.CONCURRENCY:
        levels = Concurrency(in_flight=math.floor(0.97 * most)), Concurrency(in_flight=math.ceil(1.03 * most))
    [inside, beyond] = predicted(*levels, serving=serving).levels
    assert all(inside.log_mean[c] <= math.log(bound) for c, bound in bounds.items())
    assert any(beyond.log_mean[c] > math.log(bound) for c, bound in bounds.items())
    assert capacity({TTFT: 0.01}) == 0.0
    assert most <= capacity({TPOT: 0.02}) <= capacity({TPOT: 0.03}) <= capacity({})
