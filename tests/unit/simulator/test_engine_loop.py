"""The clock of the simulated engine."""

import asyncio
import contextlib

import pytest

from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import MODELS
from autotuner.predict.roofline import Replica
from autotuner.simulator.config import EngineConfig
from autotuner.simulator.engine_loop import EngineLoop
from autotuner.simulator.metrics import Histogram, sample
from autotuner.simulator.request import Request, token_ids
from autotuner.simulator.scheduler import Step
from autotuner.simulator.sglang.scheduler import SGLangScheduler

CONFIG = EngineConfig(
    model_path="m",
    served_name="m",
    host="",
    port=0,
    replica=Replica(model=MODELS["Llama-3.2-1B"], gpu=gpu_named("H100")),
    replicas=1,
    context=4096,
    kv_tokens=100_000,
    page=1,
    max_running=64,
    max_prefill=16384,
    chunk=8192,
    prefix_cache=True,
    decode_graph_max=256,
    prefill_graph_max=8192,
    overlap=True,
)


def loop(*, noise: float = 0.0, speed: float = 1.0, seen: list[Step] | None = None) -> EngineLoop:
    steps = [] if seen is None else seen
    return EngineLoop(
        SGLangScheduler(CONFIG),
        speed=speed,
        noise=noise,
        on_step=lambda _, step: steps.append(step),
        log=lambda _: None,
    )


def test_noise_is_seeded_and_off_by_default() -> None:
    step = Step(seconds=1.0)
    first, again = ([made._seconds(step) for _ in range(200)] for made in (loop(noise=0.1), loop(noise=0.1)))
    assert first == again
    assert len(set(first)) == 200
    assert sum(first) / 200 == pytest.approx(1.0, abs=0.05)
    assert loop()._seconds(step) == 1.0


@pytest.mark.parametrize(("speed", "seconds"), [(1.0, 1.0), (0.1, 10.0), (10.0, 0.1)])
def test_speed_is_a_factor_of_time(speed: float, seconds: float) -> None:
    assert loop(speed=speed)._seconds(Step(seconds=1.0)) == pytest.approx(seconds)


@pytest.mark.anyio
async def test_steps_follow_one_another_and_late_requests_wake_it() -> None:
    seen: list[Step] = []
    made = loop(speed=50.0, seen=seen)
    tokens = list[int]()
    running = asyncio.create_task(made.run())
    for round_ in range(2):
        done = asyncio.Event()

        def on_token(request: Request, done: asyncio.Event = done) -> None:
            tokens.append(request.generated)
            if request.left <= 0:
                done.set()

        made.add(Request(token_ids([f"r{round_}", "b", "c"]), 5, on_token=on_token))
        await asyncio.wait_for(done.wait(), 10)
        assert tokens[-5:] == [1, 2, 3, 4, 5]
        await asyncio.sleep(0.01)
    assert [len(s.prefill) for s in seen] == [1, 0, 0, 0, 0] * 2
    assert made.scheduler.idle
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def test_histograms_are_cumulative_and_labels_are_escaped() -> None:
    made = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        made.observe(value)
    lines = list(made.lines("x", {"m": 'a"b\\c'}))
    assert [line.rsplit(" ", 1)[1] for line in lines[1:]] == ["2", "3", "4", "12.0", "4"]
    assert lines[1] == 'x_bucket{m="a\\"b\\\\c",le="1.0"} 2'
    assert sample("y_total", 3, {}, "counter") == ["# TYPE y_total counter", "y_total 3"]
