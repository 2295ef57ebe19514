"""The native load generator itself: its self-check, secrets, exit, and measurements of a URL."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest

from autotuner.benchmarks.measure_url import bench
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.errors import UsageError
from autotuner.net.target import Target
from autotuner.secrets import HIDDEN
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.workload import RequestRate
from autotuner.testing.benchmark_kit import (
    ChildRunner,
    UrlEndpoint,
    fixed_scenario,
    make_window,
)
from autotuner.testing.mock_openai import Behavior, Fault, mock_openai
from support.native_windows import FOUR, measured
from support.request_records import numbers

pytestmark = pytest.mark.anyio


async def test_blocked_load_generator_reports_itself_as_the_bottleneck(tmp_path: Path) -> None:
    seen = await measure_with(BLOCKED, tmp_path)
    assert seen.self_check.client_limited
    lags = [figures[1] for figures in map(numbers, seen.self_check.reasons) if figures[0] == 99]
    assert max(lags) == pytest.approx(1000 * max(seen.self_check.loop_lag_p99_s, seen.self_check.send_lag_p99_s), 0.01)


async def test_idle_load_generator_is_not_limited(tmp_path: Path) -> None:
    seen, _ = await measured(tmp_path, Behavior())
    assert seen.self_check.client_cpu_cores < 0.9
    assert all(numbers(reason)[0] == 99 for reason in seen.self_check.reasons), "at most a lag on a busy machine"


async def test_secret_header_reaches_only_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret-1234")
    runner = ChildRunner()
    behavior = Behavior(fault=Fault.STATUS, fault_status=401, echo_headers=True, fault_when=lambda n: n % 2 == 1)
    async with mock_openai(behavior) as server:
        benchmark = NativeBenchmark(NativeSettings(api_key_env="MY_KEY"))
        window = make_window(tmp_path, FOUR, headers={"X-Long": "y" * 110, "X-Other": "another-secret"})
        seen = await benchmark.measure(UrlEndpoint(server.url, client=runner), window)
        assert server.log[0].headers["authorization"] == "Bearer sk-very-secret-1234"
        assert server.log[0].headers["x-other"] == "another-secret"
    assert seen.errors == {"http_401": seen.failed}
    output = b"".join(runner.output) + runner.stderr + seen.model_dump_json().encode()
    output += orjson.dumps(read_records(tmp_path / "records.parquet").columns)
    assert HIDDEN.encode() in output, "the server echoed the headers, so there was a secret to redact"
    assert b"sk-very-secret" not in output
    assert b"another-secret" not in output
    assert "sk-very-secret" not in repr(benchmark.settings)


async def test_missing_key_is_found_before_the_first_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    benchmark = NativeBenchmark(NativeSettings(api_key_env="MY_KEY"))
    window = make_window(tmp_path, FOUR)
    checks = await benchmark.preflight(window.workload)
    assert [c.status for c in checks] == [CheckStatus.FAIL]
    assert "MY_KEY" in checks[0].remedy
    with pytest.raises(UsageError, match="MY_KEY"):
        await benchmark.measure(UrlEndpoint("http://127.0.0.1:1"), window)


async def test_crashed_worker_fails_the_benchmark(tmp_path: Path) -> None:
    with pytest.raises(TrialFailedError, match="code 3") as error:
        await measure_with("raise SystemExit(3)", tmp_path)
    assert error.value.failure.cause is FailureCause.BENCHMARK_FAILED


async def test_foreign_cpu_is_unknown_without_pids_of_the_server(tmp_path: Path) -> None:
    class Known(UrlEndpoint):
        def pids(self) -> frozenset[int]:
            return frozenset({os.getpid()})

    async with mock_openai() as server:
        benchmark = NativeBenchmark(NativeSettings())
        window = make_window(tmp_path, FOUR)
        unknown = await benchmark.measure(UrlEndpoint(server.url), window)
        known = await benchmark.measure(Known(server.url), window)
    assert unknown.self_check.foreign_cpu_cores is None
    assert known.self_check.foreign_cpu_cores is not None


async def test_bench_measures_every_scenario_at_every_level(tmp_path: Path) -> None:
    workload = make_window(tmp_path, FOUR, duration_s=0.3).workload.model_copy(
        update={"levels": (FOUR, RequestRate(rate=20.0)), "scenarios": (fixed_scenario(), fixed_scenario(8, 4))}
    )
    reported: list[str] = []
    async with mock_openai() as server:
        found = await bench(
            Target(server.url),
            "mock",
            workload,
            client=ChildRunner(),
            folder=tmp_path,
            on_progress=lambda scenario, level, _: reported.append(f"{scenario.text} {level.text}"),
        )
    assert [(m.scenario, m.level) for m in found] == [
        (s.text, level) for s in workload.scenarios for level in workload.levels
    ]
    assert len(set(reported)) == 4
    assert len({m.records for m in found}) == 4


class HiccupRunner(ChildRunner):
    """Its first load generators cannot keep up."""

    def __init__(self, limited: int) -> None:
        super().__init__()
        self._limited = limited

    @asynccontextmanager
    async def run(self, module: str, spec: bytes, *, labels: Labels) -> AsyncIterator[AsyncIterator[bytes]]:
        self._argv = (sys.executable, "-c", BLOCKED) if len(self.specs) < self._limited else None
        async with super().run(module, spec, labels=labels) as lines:
            yield lines


@pytest.mark.parametrize("limited", [1, 5])
async def test_bench_measures_a_lagging_window_again_and_says_so(tmp_path: Path, limited: int) -> None:
    fields = {"duration_s": 0.5, "max_duration_s": 0.5}
    workload = make_window(tmp_path, FOUR, **fields).workload.replaced(levels=(FOUR,), scenarios=(fixed_scenario(),))
    told: list[str] = []
    patient = NativeSettings(limits=Limits(lag_s=0.05, lag_share=0.0, cpu_cores=64.0))
    async with mock_openai() as server:
        (found,) = await bench(
            Target(server.url),
            "mock",
            workload,
            client=HiccupRunner(limited),
            folder=tmp_path,
            settings=patient,
            on_repeat=lambda _scenario, _level, why: told.append(why),
        )
    repeats = min(limited, 2)
    assert len(told) == len(found.set_aside) >= repeats
    assert found.self_check.client_limited is (limited > repeats)
    assert found.records == f"records-0-0-{len(told)}.parquet"
    assert [one.records for one in found.set_aside] == ["records-0-0.parquet", "records-0-0-1.parquet"][: len(told)]
    assert all((tmp_path / str(one.records)).exists() for one in found.set_aside)
    assert all(one.self_check.lagged and numbers(one.why)[0] == 99 for one in found.set_aside)
    assert told == [one.why for one in found.set_aside]


async def measure_with(code: str, folder: Path) -> Measurement:
    """Measures with a worker that runs the given code."""
    async with mock_openai() as server:
        runner = ChildRunner(argv=(sys.executable, "-c", code))
        benchmark = NativeBenchmark(NativeSettings())
        return await benchmark.measure(UrlEndpoint(server.url, client=runner), make_window(folder, FOUR))


BLOCKED = """
import asyncio, time
from autotuner.benchmarks.loadgen import window, worker

sample_lag = window.Window._sample_lag

async def blocked(self):
    lag = asyncio.ensure_future(sample_lag(self))
    while True:
        time.sleep(0.1)
        await asyncio.sleep(0.01)

window.Window._sample_lag = blocked
raise SystemExit(worker.main())
"""
