"""Windows measured by the native load generator against the mock server."""

from pathlib import Path

from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.measurement import Measurement
from autotuner.study.workload import Concurrency, LoadLevel
from autotuner.testing.benchmark_kit import (
    UrlEndpoint,
    make_window,
)
from autotuner.testing.mock_openai import Behavior, MockOpenAI, mock_openai

FOUR = Concurrency(in_flight=4)


async def measured(
    folder: Path, behavior: Behavior, level: LoadLevel = FOUR, **more: object
) -> tuple[Measurement, MockOpenAI]:
    settings = NativeSettings(drain=more.pop("drain_s", 3.0))  # type: ignore[arg-type]
    async with mock_openai(behavior) as server:
        window = make_window(folder, level, **more)  # type: ignore[arg-type]
        return await NativeBenchmark(settings).measure(UrlEndpoint(server.url), window), server
