"""No prompt reaches a server twice: not in the next window, not in the next run."""

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


def rows(folder: Path, count: int) -> Scenario:
    file = folder / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"question {n}", "output_tokens": 4}) for n in range(count)))
    return Scenario(text=f"dataset:{file}", dataset=str(file))


async def test_a_second_run_sends_other_prompts(tmp_path: Path) -> None:
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
        assert len(set(ids)) == 2, "kept with the records, so that a run can be told from another"


async def test_the_windows_of_one_server_share_no_row(tmp_path: Path) -> None:
    scenario = rows(tmp_path, 2000)
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings())
        endpoint = UrlEndpoint(server.url)
        for level in (TWO, Concurrency(in_flight=4), TWO):
            seen = await benchmark.measure(endpoint, make_window(tmp_path, level, scenario=scenario, requests=8))
            assert not any("prefix cache" in w for w in seen.warnings)
        assert len(set(prompts(server))) == len(prompts(server))
        assert {t.body["max_tokens"] for t in server.log} <= {1, 2, 3, 4}


async def test_rows_that_are_sent_again_are_told_by_their_share(tmp_path: Path) -> None:
    scenario = rows(tmp_path, 12)
    async with mock_openai(Behavior(itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings())
        endpoint = UrlEndpoint(server.url)
        window = make_window(tmp_path, TWO, scenario=scenario, requests=4, warmup_s=0.0)
        first = await benchmark.measure(endpoint, window)
        assert not any("prefix cache" in w for w in first.warnings), "12 rows are enough for what was sent"
        window = make_window(tmp_path, TWO, scenario=scenario, requests=40, warmup_s=0.0, duration_s=5.0)
        second = await benchmark.measure(endpoint, window)
        (said,) = [w for w in second.warnings if "prefix cache" in w]
        share = int(said.partition("%")[0])
        assert 50 < share <= 100
