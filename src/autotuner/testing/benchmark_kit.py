"""Conformance tests for benchmarks, and test doubles of benchmarks.

Subclass :class:`BenchmarkConformance` in a test module and provide a fixture ``benchmark``.
"""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from inspect import isawaitable
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from pydantic import BaseModel

from autotuner.errors import UsageError
from autotuner.plugins.benchmark import Benchmark, Progress, Window
from autotuner.plugins.deployer import CommandRunner, Endpoint
from autotuner.study.base import FrozenModel
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import Failure, TrialFailedError
from autotuner.study.launch import Identity, Labels
from autotuner.study.measurement import Distribution, Measurement, SelfCheck
from autotuner.study.metric import METRICS
from autotuner.study.workload import Concurrency, LoadLevel, RequestRate, Scenario, TokenLengths, Workload
from autotuner.testing.mock_openai import Behavior, Fault, MockOpenAI, mock_openai

_LINE_LIMIT = 256 * 1024 * 1024


class ChildRunner(CommandRunner):
    """Runs a worker as a plain child process and records its input and output."""

    def __init__(self, argv: Sequence[str] | None = None) -> None:
        self._argv = argv
        """Replaces ``python -m module``."""
        self.specs: list[bytes] = []
        self.output: list[bytes] = []
        self.stderr = b""

    @asynccontextmanager
    async def run(self, module: str, spec: bytes, *, labels: Labels) -> AsyncIterator[AsyncIterator[bytes]]:
        """See :class:`CommandRunner`."""
        self.specs.append(spec)
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(self._argv or (sys.executable, "-m", module)), stdin=pipe, stdout=pipe, stderr=pipe, limit=_LINE_LIMIT
        )
        if process.stdin is None or process.stderr is None:
            raise RuntimeError("the child has no pipes")
        errors = asyncio.create_task(process.stderr.read())
        try:
            process.stdin.write(spec)
            with suppress(ConnectionError):
                await process.stdin.drain()
            process.stdin.close()
            yield self._lines(process, errors)
        finally:
            if process.returncode is None:
                process.kill()
            self.stderr = await errors
            await process.wait()

    async def _lines(self, process: asyncio.subprocess.Process, errors: asyncio.Task[bytes]) -> AsyncIterator[bytes]:
        if process.stdout is None:
            raise RuntimeError("the child has no stdout")
        async for line in process.stdout:
            self.output.append(line)
            yield line
        if await process.wait() != 0:
            tail = (await errors).decode(errors="replace")[-2000:]
            message = f"the worker exited with code {process.returncode}"
            raise TrialFailedError.benchmark(message, log_tail=tail)


class UrlEndpoint(Endpoint):
    """A server of which only the URL is known."""

    def __init__(self, url: str, model: str = "mock", client: CommandRunner | None = None) -> None:
        self.url = url
        self.model = model
        self.argv = ()
        self.client = client or ChildRunner()

    async def identity(self) -> Identity:
        """Always the same."""
        return Identity(kind="external", id=self.url)

    async def died(self) -> Failure:
        """Never."""
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    async def log_tail(self, lines: int = 40) -> str:
        """There is no log."""
        return ""

    def pids(self) -> frozenset[int]:
        """Unknown."""
        return frozenset()


class ScriptedSettings(FrozenModel):
    """The scripted benchmark has none."""


Script = Callable[[Endpoint, Window], "Measurement | Awaitable[Measurement]"]


class ScriptedBenchmark(Benchmark):
    """Returns what a callable returns for (endpoint, window), and records the windows."""

    kind: ClassVar[str] = "scripted"
    Settings: ClassVar[type[BaseModel]] = ScriptedSettings

    def __init__(self, script: Script) -> None:
        super().__init__(ScriptedSettings())
        self.script = script
        self.windows: deque[Window] = deque()

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """The script's result."""
        self.windows.append(window)
        window.on_progress(Progress(elapsed_s=0.0, total_s=1.0, completed=0, failed=0, output_throughput=0.0))
        result = self.script(endpoint, window)
        return await result if isawaitable(result) else result

    async def preflight(self, workload: Workload) -> list[Check]:
        """No checks."""
        return []


def scripted_measurement(
    window: Window, *, rate: float = 100.0, requests: int = 50, failed: int = 0, foreign: float = 0.0, **changes: object
) -> Measurement:
    """A measurement with ``rate`` tokens/s, and a TTFT of 0.1 s if at least one request succeeded."""
    good = requests - failed
    times = dict.fromkeys(("mean", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"), 0.1)
    ttft = Distribution(count=good, std=0.0, **times)
    measured = Measurement(
        scenario=window.scenario.text,
        level=window.level,
        window_s=1.0,
        requests=requests,
        failed=failed,
        distributions={"ttft": ttft} if good else {},
        scalars={"output_throughput": rate, "success_rate": good / requests if requests else 0.0},
        errors={"http_500": failed} if failed else {},
        self_check=SelfCheck(foreign_cpu_cores=foreign),
        records=window.records_name,
    )
    return measured.model_copy(update=changes)


def fixed_scenario(tokens_in: int = 16, tokens_out: int = 8) -> Scenario:
    """``D(in,out)``."""
    return Scenario(
        text=f"D({tokens_in},{tokens_out})",
        input=TokenLengths(kind="fixed", a=tokens_in),
        output=TokenLengths(kind="fixed", a=tokens_out),
    )


def make_window(
    folder: Path,
    level: LoadLevel,
    *,
    scenario: Scenario | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
    headers: dict[str, str] | None = None,
    **workload: object,
) -> Window:
    """A short window; ``workload`` overrides fields of its :class:`Workload`."""
    scenario = scenario or fixed_scenario()
    fields = {"warmup_s": 0.1, "duration_s": 0.6, "request_timeout_s": 5.0, **workload}
    return Window(
        scenario=scenario,
        level=level,
        workload=Workload.model_validate({"scenarios": [scenario], "levels": [level], **fields}),
        labels=Labels(study="kit", trial=0, owner="kit"),
        folder=folder,
        records_name="records.parquet",
        headers=headers,
        on_progress=on_progress,
    )


class BenchmarkConformance:
    """Subclass it and provide a fixture ``benchmark`` that can measure an OpenAI-compatible URL."""

    pytestmark: ClassVar = [pytest.mark.anyio]
    open_loop: ClassVar[bool] = True
    """Whether the benchmark supports request rates; if not, it has to report so before the first trial."""

    async def _measure(
        self, benchmark: Benchmark, server: MockOpenAI, folder: Path, level: LoadLevel, **more: object
    ) -> Measurement:
        return await benchmark.measure(UrlEndpoint(server.url), make_window(folder, level, **more))  # type: ignore[arg-type]

    async def test_reports_what_it_measured(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """Scenario and level are those of the window, and every metric has a known name and a plausible value."""
        level = Concurrency(in_flight=2)
        async with mock_openai() as server:
            measured = await self._measure(benchmark, server, tmp_path, level)
        assert (measured.scenario, measured.level) == ("D(16,8)", level)
        assert measured.requests > 0
        assert measured.failed == 0
        assert measured.window_s > 0
        assert set(measured.distributions) | set(measured.scalars) <= set(METRICS)
        assert measured.scalars["success_rate"] == 1.0
        assert all(v >= 0 for v in measured.scalars.values())

    async def test_an_open_loop_is_measured_or_refused(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """A request rate is a load level like any other; a benchmark that does not support it sends nothing."""
        level = RequestRate(rate=20.0)
        async with mock_openai() as server:
            if not self.open_loop:
                checks = await benchmark.preflight(make_window(tmp_path, level).workload)
                assert [c.remedy for c in checks if c.status is CheckStatus.FAIL and level.text in c.detail]
                with pytest.raises(UsageError, match="rate"):
                    await self._measure(benchmark, server, tmp_path, level)
                assert not server.log
                return
            measured = await self._measure(benchmark, server, tmp_path, level)
        assert measured.level == level
        assert measured.requests > 0

    async def test_failing_requests_are_part_of_the_measurement(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """They lower the success rate; they are neither raised nor dropped."""
        behavior = Behavior(fault=Fault.STATUS, fault_when=lambda number: number % 2 == 1)
        async with mock_openai(behavior) as server:
            measured = await self._measure(benchmark, server, tmp_path, Concurrency(in_flight=2))
        assert 0 < measured.failed < measured.requests
        assert sum(measured.errors.values()) == measured.failed
        assert measured.scalars["success_rate"] == pytest.approx(1 - measured.failed / measured.requests)

    async def test_a_server_that_always_fails_is_measured(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """If no request succeeds, there is no latency."""
        async with mock_openai(Behavior(fault=Fault.STATUS)) as server:
            measured = await self._measure(benchmark, server, tmp_path, Concurrency(in_flight=2))
        assert measured.requests == measured.failed > 0
        assert measured.value("ttft", "p50") is None

    async def test_progress_is_reported(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """At least once per window."""
        seen: list[Progress] = []
        async with mock_openai() as server:
            await self._measure(benchmark, server, tmp_path, Concurrency(in_flight=1), on_progress=seen.append)
        assert seen

    async def test_preflight_returns_checks(self, benchmark: Benchmark, tmp_path: Path) -> None:
        """A list of checks, which may be empty."""
        workload = make_window(tmp_path, Concurrency(in_flight=1)).workload
        assert isinstance(await benchmark.preflight(workload), list)
