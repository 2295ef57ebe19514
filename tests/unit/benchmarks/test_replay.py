"""A trace is replayed at its own times, and its window is its time range, by a server that knows the truth."""

import json
from pathlib import Path
from statistics import median

import pytest

from autotuner.benchmarks.loadgen.spec import WorkerSpec
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.errors import UsageError
from autotuner.study.measurement import Measurement
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Api, Concurrency, TraceSpeed
from autotuner.testing.benchmark_kit import ChildRunner, UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, MockOpenAI, mock_openai

pytestmark = pytest.mark.anyio
TIMES = [0.0, 0.0, 0.5, 0.9, 1.0, 1.001, 1.4, 1.7, 1.8, 2.2, 2.9, 3.0, 3.4]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Thirteen requests within 3.4 seconds, each with a length of its own."""
    file = tmp_path / "trace.jsonl"
    rows = [
        {
            "timestamp": at,
            "input_tokens": 40 + 10 * index,
            "output_tokens": 2 + index,
            "prefix_ids": [1],
            "block_tokens": 32,
        }
        for index, at in enumerate(TIMES)
    ]
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


async def replayed(folder: Path, text: str, speed: float, **more: object) -> tuple[Measurement, MockOpenAI, WorkerSpec]:
    runner = ChildRunner()
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        window = make_window(folder, TraceSpeed(speed=speed), scenario=parse_scenario(text), **more)  # type: ignore[arg-type]
        endpoint = UrlEndpoint(server.url, client=runner)
        seen = await NativeBenchmark(NativeSettings()).measure(endpoint, window)
        return seen, server, WorkerSpec.from_json(runner.specs[0])


async def test_requests_arrive_when_they_did_in_the_trace(tmp_path: Path, trace: Path) -> None:
    seen, server, _ = await replayed(tmp_path, f"trace:{trace} from=1s to=3s", 2.0, warmup_s=0.25)
    records = read_records(tmp_path / "records.parquet")
    by_output = {t.body["max_tokens"]: t for t in server.log if t.body["max_tokens"] > 1}
    # half a second of the trace is the warm-up; what comes behind the range keeps the load up
    assert set(range(4, 13)) <= set(by_output) <= set(range(4, 15))
    begin = by_output[6].received_ns - round((TIMES[4] - 1) / 2 * 1e9)
    late = [
        (by_output[2 + index].received_ns - begin) / 1e9 - (at - 1) / 2
        for index, at in enumerate(TIMES)
        if 2 + index in by_output
    ]
    assert abs(median(late)) < 0.1
    scheduled = dict(zip(records.columns["asked_output"], records.columns["scheduled_ns"], strict=True))
    assert {n: round(at / 1e6) for n, at in scheduled.items()} == {
        2 + index: round((at - 1) / 2 * 1000) for index, at in enumerate(TIMES) if 2 + index in by_output
    }
    assert seen.arrived == seen.requests == 7
    assert seen.window_s == pytest.approx(1.0, abs=0.05)
    assert seen.self_check.asked_rate == pytest.approx(7.0)
    assert seen.level == TraceSpeed(speed=2.0)
    assert seen.steady


async def test_whole_trace_without_warm_up(tmp_path: Path, trace: Path) -> None:
    seen, server, spec = await replayed(tmp_path, f"trace:{trace}", 4.0)
    assert seen.requests == len(TIMES)
    assert spec.replay is not None
    assert min(spec.replay.at_s) == 0.0
    assert {t.body["max_tokens"] for t in server.log} - {1} == set(range(2, 15))
    assert any("token-exact" in warning for warning in seen.warnings), "prompts are made of words"


async def test_prompts_as_token_ids(tmp_path: Path, trace: Path) -> None:
    seen, server, _ = await replayed(tmp_path, f"trace:{trace} to=2s", 4.0, api=Api.COMPLETIONS, token_ids=True)
    sent = {t.body["max_tokens"]: t.body["prompt"] for t in server.log}
    assert {n: len(ids) for n, ids in sent.items()} == {2 + p: 40 + 10 * p for p in range(len(sent))}
    assert len({tuple(ids[:32]) for ids in sent.values()}) == 1
    assert len({tuple(ids[:48]) for ids in sent.values()}) == len(sent)
    assert not any("token-exact" in warning for warning in seen.warnings)


async def test_a_speed_needs_a_trace(tmp_path: Path, trace: Path) -> None:
    window = make_window(tmp_path, TraceSpeed(speed=1.0))
    with pytest.raises(UsageError):
        await NativeBenchmark(NativeSettings()).measure(UrlEndpoint("http://127.0.0.1:9"), window)
    closed = make_window(tmp_path, Concurrency(in_flight=1), scenario=parse_scenario(f"trace:{trace}"))
    with pytest.raises(UsageError):
        await NativeBenchmark(NativeSettings()).measure(UrlEndpoint("http://127.0.0.1:9"), closed)


async def test_preflight_says_what_the_trace_holds(trace: Path) -> None:
    workload = make_window(trace.parent, TraceSpeed(), scenario=parse_scenario(f"trace:{trace} sample=50%")).workload
    (check,) = await NativeBenchmark(NativeSettings()).preflight(workload)
    assert f"of {len(TIMES)} requests" in check.detail
    bad = make_window(trace.parent, TraceSpeed(), scenario=parse_scenario("trace:missing.csv")).workload
    (check,) = await NativeBenchmark(NativeSettings()).preflight(bad)
    assert "no such file" in check.detail
