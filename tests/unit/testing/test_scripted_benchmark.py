"""The benchmark double passes the conformance tests of real benchmarks."""

import httpx
import pytest

from autotuner.plugins.benchmark import Benchmark, Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.measurement import Measurement
from autotuner.study.workload import Concurrency
from autotuner.testing.benchmark_kit import BenchmarkConformance, ScriptedBenchmark, UrlEndpoint, make_window


async def ask_four_times(endpoint: Endpoint, window: Window) -> Measurement:
    """A script that reports what it measures."""
    body = {"model": endpoint.model, "max_tokens": 2, "messages": [{"role": "user", "content": "hello"}]}
    async with httpx.AsyncClient(trust_env=False) as client:
        answers = [await client.post(f"{endpoint.url}/v1/chat/completions", json=body) for _ in range(4)]
    failed = sum(answer.status_code != 200 for answer in answers)
    return Measurement(
        scenario=window.scenario.text,
        level=window.level,
        window_s=1.0,
        requests=4,
        failed=failed,
        errors={"http_500": failed} if failed else {},
        scalars={"success_rate": 1 - failed / 4},
    )


class TestScriptedBenchmark(BenchmarkConformance):
    """The kit."""

    @pytest.fixture
    def benchmark(self) -> Benchmark:
        return ScriptedBenchmark(ask_four_times)


@pytest.mark.anyio
async def test_windows_are_recorded_and_plain_functions_accepted(tmp_path: object) -> None:
    window = make_window(tmp_path, Concurrency(in_flight=1))  # type: ignore[arg-type]
    answer = Measurement(scenario="D(1,1)", level=window.level, window_s=1.0, requests=0, failed=0)
    double = ScriptedBenchmark(lambda endpoint, asked: answer)
    assert await double.measure(UrlEndpoint("http://127.0.0.1:1"), window) is answer
    assert list(double.windows) == [window]
