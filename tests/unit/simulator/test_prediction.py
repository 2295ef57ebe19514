"""The queueing model agrees with the schedulers, which compute each step, on a virtual clock."""

import math
from dataclasses import replace
from itertools import count
from random import Random

import pytest

from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import MODELS
from autotuner.predict.performance import forecast
from autotuner.simulator.config import EngineConfig
from autotuner.simulator.options import Simulation
from autotuner.simulator.request import Request, token_ids
from autotuner.simulator.scheduler import Scheduler
from autotuner.simulator.sglang.scheduler import SGLangScheduler
from autotuner.simulator.sglang.start import SGLangStart
from autotuner.simulator.vllm.scheduler import VllmScheduler
from autotuner.simulator.vllm.start import VllmStart
from autotuner.study.search.forecast import OUTPUT_THROUGHPUT, TPOT, TTFT
from autotuner.study.search.serving import Serving
from autotuner.study.workload import Concurrency, Scenario, TokenLengths, Workload

_UNIQUE = count()
SIMULATION = Simulation(shape="Llama-3.1-8B")


def server(engine: str) -> tuple[Scheduler, Serving]:
    """The scheduler of a server with default flags but for the prefix cache, and what is known before its launch."""
    config: EngineConfig
    if engine == "sglang":
        sglang = SGLangStart({"model_path": "m", "disable_radix_cache": True}, SIMULATION, lambda _: None)
        config = sglang.run()
        return SGLangScheduler(config), sglang.serving()
    vllm = VllmStart({"model": "m", "enable_prefix_caching": False}, SIMULATION, lambda _: None)
    config = vllm.run()
    return VllmScheduler(replace(config, context=131072)), vllm.serving()


def served(
    scheduler: Scheduler, prompt: int, output: int, in_flight: int, *, staggered: bool = False
) -> tuple[float, float, float]:
    """(mean TTFT, mean TPOT, output tokens per second) of a closed loop, without the first and last requests.

    ``staggered``: the first requests get shorter answers, as those of the load generator do.
    """
    random = Random(in_flight)
    shares = [random.uniform(0.1, 1.0) if staggered else 1.0 for _ in range(in_flight)] + [1.0] * (4 * in_flight)
    outputs = [max(1, round(share * output)) for share in shares]
    waiting = [Request(token_ids([f"{next(_UNIQUE)}"] * prompt), n, ignore_eos=True) for n in outputs]
    judged = waiting[in_flight:-in_flight] if in_flight > 1 else list(waiting)
    now = 0.0
    sent: dict[Request, float] = {}
    first: dict[Request, float] = {}
    last: dict[Request, float] = {}
    active = tokens = 0
    while waiting or not scheduler.idle:
        while waiting and active < in_flight:
            request = waiting.pop(0)
            sent[request] = now
            scheduler.add(request)
            active += 1
        step = scheduler.next_step()
        assert step is not None
        now += step.seconds
        for request in scheduler.finish_step(step):
            first.setdefault(request, now)
            last[request] = now
            tokens += 1
            active -= request.left <= 0
    ttft = sum(first[r] - sent[r] for r in judged) / len(judged)
    tpot = sum((last[r] - first[r]) / (output - 1) for r in judged) / len(judged)
    return ttft, tpot, tokens / now


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
@pytest.mark.parametrize(
    ("prompt", "output", "in_flight"),
    [(200, 50, 1), (200, 50, 64), (1000, 100, 16), (2000, 20, 16), (3000, 60, 16), (6000, 50, 4), (12000, 30, 4)],
)
def test_a_closed_loop_is_predicted_as_it_is_scheduled(engine: str, prompt: int, output: int, in_flight: int) -> None:
    scheduler, serving = server(engine)
    ttft, tpot, throughput = served(scheduler, prompt, output, in_flight)
    lengths = (TokenLengths(kind="fixed", a=prompt), TokenLengths(kind="fixed", a=output))
    scenario = Scenario(text="s", input=lengths[0], output=lengths[1])
    workload = Workload(scenarios=(scenario,), levels=(Concurrency(in_flight=in_flight),))
    found = forecast(MODELS["Llama-3.1-8B"], gpu_named("H100"), serving, workload, staggered=False, slopes=False)
    assert found is not None
    means = found.levels[0].log_mean
    assert means[TTFT] == pytest.approx(math.log(ttft), abs=0.15)
    assert means[TPOT] == pytest.approx(math.log(tpot), abs=0.1)
    assert means[OUTPUT_THROUGHPUT] == pytest.approx(math.log(throughput), abs=0.06)


@pytest.mark.parametrize("engine", ["sglang", "vllm"])
@pytest.mark.parametrize(
    ("prompt", "output", "in_flight"),
    [(200, 50, 16), (200, 50, 64), (1000, 100, 16), (1000, 100, 64), (2000, 200, 16), (6000, 50, 4), (500, 250, 128)],
)
def test_requests_that_end_apart_wait_for_few_prompts(engine: str, prompt: int, output: int, in_flight: int) -> None:
    scheduler, serving = server(engine)
    ttft, tpot, throughput = served(scheduler, prompt, output, in_flight, staggered=True)
    lengths = (TokenLengths(kind="fixed", a=prompt), TokenLengths(kind="fixed", a=output))
    scenario = Scenario(text="s", input=lengths[0], output=lengths[1])
    workload = Workload(scenarios=(scenario,), levels=(Concurrency(in_flight=in_flight),))
    found = forecast(MODELS["Llama-3.1-8B"], gpu_named("H100"), serving, workload, slopes=False)
    assert found is not None
    means = found.levels[0].log_mean
    # A real client's next request arrives while a step is computed, which this loop has none of.
    step_s = math.exp(means[TPOT])
    assert ttft * math.exp(-0.2) <= math.exp(means[TTFT]) <= (ttft + step_s / 2) * math.exp(0.2)
    assert means[TPOT] == pytest.approx(math.log(tpot), abs=0.1)
    # The seen throughput contains the beginning and the end, when few requests are in flight.
    assert math.log(throughput) - 0.02 <= means[OUTPUT_THROUGHPUT] <= math.log(throughput) + 0.2
