"""Helpers for tests of genai-bench: the scripted double, windows, and checks of what is left behind."""

import json
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from autotuner.benchmarks.genai_bench.benchmark import GenaiBench, GenaiBenchSettings
from autotuner.benchmarks.measuring.records import read_records
from autotuner.plugins.benchmark import Benchmark, Progress
from autotuner.study.measurement import Measurement
from autotuner.study.workload import Concurrency, LoadLevel
from autotuner.testing.benchmark_kit import ChildRunner, UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, Fault, MockOpenAI, mock_openai

DOUBLE = Path(__file__).with_name("genai_double.py")
ONE = Concurrency(in_flight=1)
TWO = Concurrency(in_flight=2)
KEY = "sk-very-secret-1234"


def scripted(tokenizer: Path | None, *behavior: str, **settings: object) -> GenaiBench:
    command = (sys.executable, str(DOUBLE), *behavior)
    path = str(tokenizer) if tokenizer else None
    return GenaiBench(GenaiBenchSettings(command=command, tokenizer=path, **settings))  # type: ignore[arg-type]


async def measured(
    benchmark: Benchmark, folder: Path, behavior: Behavior | None = None, level: LoadLevel = TWO, **more: object
) -> tuple[Measurement, MockOpenAI]:
    async with mock_openai(behavior) as server:
        window = make_window(folder, level, **{"duration_s": 0.3, **more})  # type: ignore[arg-type]
        return await benchmark.measure(UrlEndpoint(server.url), window), server


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def files_of(folder: Path) -> dict[Path, bytes]:
    return {f: f.read_bytes() for f in folder.rglob("*") if f.is_file() and not f.is_symlink()}


def emptied(folder: Path) -> None:
    for entry in folder.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


async def key_stays_secret(benchmark: Benchmark, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Measures with a key and checks that it is nowhere; returns the output of the worker."""
    monkeypatch.setenv("MY_KEY", KEY)
    runner = ChildRunner()
    files_with_key = []

    def check(_: Progress) -> None:
        files = files_of(folder)
        files_with_key.append([f for f, content in files.items() if KEY.encode() in content])
        assert any(f.name == "tokenizer.json" for f in files)
        for process in psutil.process_iter(["cmdline"]):
            assert not any(KEY in part for part in process.info["cmdline"] or ())

    behavior = Behavior(fault=Fault.STATUS, fault_status=401, echo_headers=True, fault_when=lambda n: n % 2 == 1)
    async with mock_openai(behavior) as server:
        window = make_window(folder, TWO, on_progress=check, duration_s=1.0)
        seen = await benchmark.measure(UrlEndpoint(server.url, client=runner), window)
        assert server.log[0].headers["authorization"] == f"Bearer {KEY}"
    assert files_with_key
    assert not any(files_with_key)
    assert seen.errors == {"http_401": seen.failed}
    output = b"".join(runner.output) + runner.stderr + seen.model_dump_json().encode()
    assert KEY.encode() not in output
    assert KEY not in json.dumps(read_records(folder / "records.parquet").columns)
    return output
