"""Length of windows against a server: extended while they are thin, without an unsettled start."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Timer

import psutil
import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.plugins.benchmark import Progress
from autotuner.study.measurement import Measurement
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.workload import Arrivals, Concurrency, LoadLevel, RequestRate
from autotuner.testing.benchmark_kit import UrlEndpoint, fixed_scenario, make_window
from autotuner.testing.mock_openai import Behavior, mock_openai

pytestmark = pytest.mark.anyio
LOADGEN = "autotuner.benchmarks.loadgen"
P99 = SLO(metric="ttft", statistic="p99", threshold=9.0)
THROUGHPUT = Objective(metric="output_throughput", direction=Direction.MAX)


async def measured(folder: Path, behavior: Behavior, level: LoadLevel, **more: object) -> Measurement:
    async with mock_openai(behavior) as server:
        window = make_window(folder, level, scenario=fixed_scenario(16, 10), **more)
        window = replace(window, objectives=(THROUGHPUT,), slos=(P99,))
        return await NativeBenchmark(NativeSettings(drain=5.0)).measure(UrlEndpoint(server.url), window)


async def test_window_with_too_few_requests_is_extended(tmp_path: Path) -> None:
    slow = Behavior(ttft_s=0.05, itl_s=0.005)  # about 10 requests per second
    seen = await measured(tmp_path, slow, Concurrency(in_flight=1), duration_s=0.4)
    assert 0.5 < seen.window_s < 1.4
    assert seen.requests >= 8 or seen.thin
    short = await measured(tmp_path, slow, Concurrency(in_flight=1), duration_s=0.4, max_duration_s=0.4)
    assert short.window_s < 0.5
    assert short.requests < 8
    assert {str(short.requests), "8"} <= set(re.findall(r"\d+", short.thin[0]))


async def test_requested_number_of_requests_is_enough(tmp_path: Path) -> None:
    seen = await measured(tmp_path, Behavior(), Concurrency(in_flight=1), requests=3, duration_s=9.0)
    assert seen.requests == 3
    assert not any(re.match(r"3 ", reason) for reason in seen.thin)


async def test_compilation_at_the_start_does_not_decide_the_window(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.3, itl_s=0.001)

    def settle(number: int) -> str:
        behavior.ttft_s = 0.3 if number < 12 else 0.02
        return "length"

    behavior.finish = settle
    seen = await measured(tmp_path, behavior, Concurrency(in_flight=4), duration_s=1.0)
    ttft = seen.distributions["ttft"]
    assert ttft.p90 is not None
    assert ttft.p90 < 0.2, "the first requests are left out"
    left_out_s = read_records(tmp_path / "records.parquet").info.left_out_s
    assert left_out_s > 0
    assert any(warning.startswith(f"{left_out_s:.1f} s ") for warning in seen.warnings)


async def test_overloaded_window_is_not_extended(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.15, itl_s=0.0, slots=1)
    # 20 arrivals, the last of them 71 ms before the end and the next one exactly at the end
    level = RequestRate(rate=20.45, arrivals=Arrivals.CONSTANT)
    seen = await measured(tmp_path, behavior, level, duration_s=1.0, warmup_s=0.0)
    assert seen.overloaded
    assert not seen.steady
    assert seen.window_s == 1.0, "ends as scheduled, however late the process wakes up"
    assert seen.arrived == 20
    assert seen.distributions["ttft"].count == 20, "every request that arrived"
    assert seen.warnings[0].startswith("overloaded: 20 requests")


async def test_extended_window_of_a_rate_ends_as_scheduled(tmp_path: Path) -> None:
    slow = Behavior(ttft_s=0.3, itl_s=0.0)
    level = RequestRate(rate=20.45, arrivals=Arrivals.CONSTANT)
    seen = await measured(tmp_path, slow, level, duration_s=0.4, max_duration_s=0.58, warmup_s=0.0)
    assert seen.window_s == pytest.approx(0.58, abs=1e-8)
    assert seen.arrived == 12, "the last one 33 ms before the end, the next one 16 ms after it"


def stopped(moments: int, stopped_s: float) -> Callable[[Progress], None]:
    """Takes the processor away from the processes that send the load, at the opening of the window and later."""
    left = [moments]

    def stop(_: Progress) -> None:
        if left[0]:
            left[0] -= 1
            children = psutil.Process().children(recursive=True)
            senders = [p for p in children if LOADGEN in " ".join(p.cmdline()) and not p.children()]
            for process in senders:
                process.suspend()
            Timer(stopped_s, lambda: [process.resume() for process in senders]).start()

    return stop


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("pinned", "moments"), [(True, 1), (False, 1), (False, 2)])
async def test_a_moment_without_a_processor_does_not_spoil_the_window(
    tmp_path: Path, workers: int, moments: int, *, pinned: bool
) -> None:
    limits = Limits(lag_s=0.15, lag_share=0.0, rate_share=0.0, cpu_cores=64.0)
    benchmark = NativeBenchmark(NativeSettings(drain=3.0, limits=limits, workers=workers))
    length = {"duration_s": 1.0, "max_duration_s": 1.0 if pinned else 4.0}
    async with mock_openai(Behavior(ttft_s=0.02, itl_s=0.001)) as server:
        window = make_window(tmp_path, Concurrency(in_flight=4), on_progress=stopped(moments, 0.3), **length)
        seen = await benchmark.measure(UrlEndpoint(server.url), window)
    info = read_records(tmp_path / "records.parquet").info
    check = seen.self_check
    assert check.client_limited is pinned
    if pinned:
        assert check.lagged
        assert check.loop_lag_p99_s > 0.15
        assert seen.window_s < 1.3
        return
    assert check.loop_lag_p99_s < 0.15
    assert seen.window_s >= 0.99, "what is left is as long as what was asked for"
    assert seen.window_s + info.left_out_s > 1.2
    if moments == 2 and seen.window_s + info.left_out_s < 1.9:
        assert info.left_out_lagged, "2 of less than 200 moments"
        assert any("lagged" in warning for warning in seen.warnings)
