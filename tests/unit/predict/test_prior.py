"""Forecasts from the step times of a prior."""

import math
from dataclasses import dataclass
from typing import ClassVar

import pytest

from autotuner.plugins.prior import KnownServer, NoPredictionError, Prior, RequestTokens
from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import MODELS, ModelShape
from autotuner.predict.performance import forecast, forecast_by
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
    Workload,
)

VLLM = Serving(engine="vllm", tp=2)


@dataclass
class Linear(KnownServer):
    """Steps whose duration is linear in their work."""

    serving: Serving
    most: float = math.inf
    """Requests that it knows steps for."""
    tokens: int | None = 100_000

    def step_s(self, requests: float, prompt: float, tokens: RequestTokens) -> float:
        if requests > self.most:
            raise NoPredictionError(f"{requests} requests")
        return 0.01 + 1e-4 * requests + 1e-5 * prompt + 1e-9 * tokens.cached * (prompt > 0)

    def kv_tokens(self) -> int | None:
        return self.tokens


class Known(Prior):
    """Knows one model on one GPU."""

    kind: ClassVar[str] = "known"
    version = "7"

    def __init__(self, most: float = math.inf, tokens: int | None = 100_000) -> None:
        self._most = most
        self._tokens = tokens

    def server(self, model: str, gpu: str, serving: Serving) -> KnownServer | None:
        assert serving.max_sequences is not None, "the engine's own choices are filled in"
        return Linear(serving, self._most, self._tokens) if (model, gpu) == ("acme/new", "H100") else None


def predicted(
    *levels: LoadLevel,
    serving: Serving = VLLM,
    prior: Prior | None = None,
    shape: ModelShape | None = None,
    model: str = "acme/new",
    bounds: dict[Channel, float] | None = None,
) -> Forecast | None:
    lengths = [TokenLengths(kind="fixed", a=n) for n in (1000, 101)]
    workload = Workload(scenarios=(Scenario(text="s", input=lengths[0], output=lengths[1]),), levels=levels)
    gpu = gpu_named("H100")
    return forecast_by(prior or Known(), model, shape, gpu, serving, workload, bounds=bounds)


def value(found: Forecast | None, channel: Channel, index: int = 0) -> float:
    assert found is not None
    return math.exp(found.levels[index].log_mean[channel])


def test_a_single_request_takes_the_steps_of_the_prior() -> None:
    found = predicted(Concurrency(in_flight=1))
    assert found is not None
    assert (found.source, found.version) == ("known", "7")
    assert value(found, TPOT) == pytest.approx(0.0101)
    assert value(found, TTFT) == pytest.approx(0.02 + 0.02, rel=0.02), "with HTTP and tokenizer"
    assert set(found.levels[0].slopes.get(TPOT, {})) <= {"queue"}, "steps are taken as they are"


def test_every_kind_of_level_follows_from_the_steps() -> None:
    levels = (
        Concurrency(in_flight=8),
        Concurrency(in_flight=64),
        RequestRate(rate=0.5),
        CapacityLoad(unit=LoadUnit.RATE),
    )
    found = predicted(*levels)
    assert found is not None
    assert [level.level for level in found.levels] == [level.text for level in levels]
    assert value(found, TPOT, 0) < value(found, TPOT, 1)
    assert value(found, OUTPUT_THROUGHPUT, 0) < value(found, OUTPUT_THROUGHPUT, 1)
    assert value(found, OUTPUT_THROUGHPUT, 2) == pytest.approx(0.5 * 101)
    tight = predicted(CapacityLoad(unit=LoadUnit.RATE), bounds={TPOT: 0.012})
    assert value(tight, Channel("capacity")) < value(found, Channel("capacity"), 3)


@pytest.mark.parametrize("tokens", [2200, 100_000])
def test_the_cache_of_an_unknown_shape_limits_what_runs(tokens: int) -> None:
    found = predicted(Concurrency(in_flight=8), prior=Known(tokens=tokens))
    waits = value(found, TTFT) > 1
    assert waits == (tokens < 8 * 1101)
    assert predicted(Concurrency(in_flight=8), prior=Known(tokens=None)) is None


def test_a_known_shape_determines_the_cache_itself() -> None:
    shape = MODELS["Llama-3.1-8B"]
    assert predicted(Concurrency(in_flight=64), prior=Known(tokens=None), shape=shape) is not None
    large = MODELS["Llama-3.1-405B"]
    assert predicted(Concurrency(in_flight=64), shape=large) is None, "it does not fit"


def test_only_the_levels_whose_steps_are_known_are_predicted() -> None:
    found = predicted(Concurrency(in_flight=8), Concurrency(in_flight=64), prior=Known(most=20))
    assert found is not None
    assert [level.level for level in found.levels] == ["concurrency=8"]
    assert predicted(Concurrency(in_flight=64), prior=Known(most=20)) is None


def test_unknown_servers_have_no_prediction() -> None:
    level = Concurrency(in_flight=8)
    assert predicted(level, model="acme/other") is None
    assert predicted(level, serving=VLLM.replaced(speculative="eagle")) is None
    assert predicted(level, serving=VLLM.replaced(engine="other")) is None


def test_the_rest_of_the_prediction_is_the_same_as_by_the_roofline() -> None:
    """Scenarios without known lengths are left out, and replicas share the load."""
    shape = MODELS["Llama-3.1-8B"]
    one, two = (predicted(Concurrency(in_flight=n), serving=VLLM.replaced(dp=n // 8), shape=shape) for n in (8, 16))
    assert value(two, OUTPUT_THROUGHPUT) == pytest.approx(2 * value(one, OUTPUT_THROUGHPUT))
    nothing = Workload(scenarios=(Scenario(text="s"),), levels=(Concurrency(in_flight=8),))
    assert forecast_by(Known(), "acme/new", shape, gpu_named("H100"), VLLM, nothing) is None
    assert forecast(shape, gpu_named("H100"), VLLM, nothing) is None
