"""Windows whose rate changes: as long as their stages, sent on schedule, with results of each stage."""

from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.text.forms import parse_stages
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, mock_openai
from autotuner.testing.relaxed_settings import CALM_LIMITS

pytestmark = pytest.mark.anyio

LOAD = parse_stages("20/s:500ms,100/s:300ms,0/s:100ms,100..20/s:100ms constant")


async def test_stages_are_sent_and_told_apart(tmp_path: Path) -> None:
    async with mock_openai(Behavior(ttft_s=0.002, itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS, "drain": 2}))
        window = make_window(tmp_path, LOAD, warmup_s=0.1, min_requests=10_000, duration_s=20.0, max_duration_s=60.0)
        seen = await benchmark.measure(UrlEndpoint(server.url), window)
    assert seen.window_s == pytest.approx(1.0)
    assert seen.level == LOAD
    assert [(part.kind, part.label, part.requests) for part in seen.slices] == [
        ("stage", "stage 1: 20/s:0.5s", 10),
        ("stage", "stage 2: 100/s:0.3s", 30),
        ("stage", "stage 3: 0/s:0.1s", 0),
        ("stage", "stage 4: 100..20/s:0.1s", 6),
    ]
    assert seen.arrived == 46
    assert seen.steady, "a changing load is not checked for steadiness"
    scheduled = [at for at in read_records(tmp_path / "records.parquet").columns["scheduled_ns"] if at >= 0]
    assert scheduled[:10] == pytest.approx([index * 50_000_000 for index in range(10)], abs=1000)


async def test_a_peak_beyond_capacity_is_not_overload(tmp_path: Path) -> None:
    # None is due so shortly before the end that a late start would move it out of the window.
    peak = parse_stages("10/s:500ms,200/s:500ms,0/s:100ms")
    async with mock_openai(Behavior(ttft_s=0.02, itl_s=0.0, slots=1)) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS, "drain": 10}))
        window = make_window(tmp_path, peak, warmup_s=0.0, min_requests=0)
        seen = await benchmark.measure(UrlEndpoint(server.url), window)
    calm, full = (part.distributions["ttft"] for part in seen.slices[:2])
    assert not seen.overloaded
    assert (calm.count, full.count) == (5, 100)
    assert (full.p50 or 0) > 5 * (calm.p50 or 1)
