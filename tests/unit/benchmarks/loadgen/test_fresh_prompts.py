"""Prompts that differ between windows and between runs, so that no prefix cache can serve them."""

import json
from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.workload import Concurrency, Scenario
from autotuner.testing.benchmark_kit import UrlEndpoint, fixed_scenario, make_window
from autotuner.testing.mock_openai import Behavior, MockOpenAI, mock_openai

pytestmark = pytest.mark.anyio
TWO = Concurrency(in_flight=2)


def prompts(server: MockOpenAI, since: int = 0) -> list[str]:
    return [t.text for t in server.log[since:] if t.body["max_tokens"] > 1]


def reused(folder: Path) -> float:
    """The share of the requests sent in the window whose prompt the server had received before."""
    found = read_records(folder / "records.parquet")
    sent = zip(found.columns["sent_ns"], found.columns["reused"], found.columns["ramp"], strict=True)
    flags = [flag for at, flag, ramp in sent if 0 <= at < found.info.window_ns and not ramp]
    return sum(flags) / len(flags)


def rows(folder: Path, count: int) -> Scenario:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"question {n}", "output_tokens": 4}) for n in range(count)))
    return Scenario(text=f"dataset:{file}", dataset=str(file))


async def test_second_run_sends_different_prompts(tmp_path: Path) -> None:
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        found = []
        ids = []
        for run in ("one", "two"):
            folder = tmp_path / run
            folder.mkdir()
            window = make_window(folder, TWO, scenario=fixed_scenario(32, 4), requests=8)
            since = len(server.log)
            await NativeBenchmark(NativeSettings()).measure(UrlEndpoint(server.url), window)
            found.append(prompts(server, since))
            ids.append(read_records(folder / window.records_name).info.run_id)
        assert not set(found[0]) & set(found[1])
        assert len(set(ids)) == 2, "the records identify their run"


async def test_windows_of_one_server_share_no_row(tmp_path: Path) -> None:
    scenario = rows(tmp_path, 2000)
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings())
        endpoint = UrlEndpoint(server.url)
        for level in (TWO, Concurrency(in_flight=4), TWO):
            await benchmark.measure(endpoint, make_window(tmp_path, level, scenario=scenario, requests=8))
            assert reused(tmp_path) == 0
        assert len(set(prompts(server))) == len(prompts(server))
        assert {t.body["max_tokens"] for t in server.log} <= {1, 2, 3, 4}


async def test_warning_states_the_share_of_reused_rows(tmp_path: Path) -> None:
    scenario = rows(tmp_path, 12)
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings())
        endpoint = UrlEndpoint(server.url)
        window = make_window(tmp_path, TWO, scenario=scenario, requests=4, warmup_s=0.0)
        first = await benchmark.measure(endpoint, window)
        assert reused(tmp_path) == 0, "12 rows are enough for what was sent"
        window = make_window(tmp_path, TWO, scenario=scenario, requests=40, warmup_s=0.0, duration_s=5.0)
        second = await benchmark.measure(endpoint, window)
        share = reused(tmp_path)
        assert 0.5 < share <= 1
        (warning,) = [w for w in second.warnings if w.startswith(f"{share:.0%} ")]
        assert not any(w.endswith(warning.partition("%")[2]) for w in first.warnings)


class LaunchedEndpoint(UrlEndpoint):
    """A server that the tuner launched for one trial."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.argv = ("server",)


async def test_trials_share_no_row_as_long_as_there_are_others(tmp_path: Path) -> None:
    scenario = rows(tmp_path, 3000)
    benchmark = NativeBenchmark(NativeSettings())
    sent = []
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        for _ in range(3):
            since = len(server.log)
            await benchmark.measure(
                LaunchedEndpoint(server.url), make_window(tmp_path, TWO, scenario=scenario, requests=8)
            )
            sent.append(prompts(server, since))
    assert len({text for trial in sent for text in trial}) == sum(map(len, sent))


@pytest.mark.parametrize("form", ["dataset", "synthetic"])
async def test_prompts_are_reused_where_asked_to(tmp_path: Path, form: str) -> None:
    scenario = rows(tmp_path, 200) if form == "dataset" else fixed_scenario(32, 4)
    sent = []
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        for _ in range(2):
            since = len(server.log)
            window = make_window(tmp_path, TWO, scenario=scenario, requests=8, reuse_prompts=True)
            await NativeBenchmark(NativeSettings()).measure(UrlEndpoint(server.url), window)
            sent.append(prompts(server, since)[:8])
    assert set(sent[0]) == set(sent[1])
