"""Windows of mixes: the server receives every kind of request, for its own model, and the results tell them apart."""

import json
from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import RequestRate
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, mock_openai
from autotuner.testing.relaxed_settings import CALM_LIMITS

pytestmark = pytest.mark.anyio

MIX = parse_scenario("mix:60% D(32,3) + 40% D(16,2) prefixes=3 prefix_tokens=20 model=adapter")


async def test_parts_reach_the_server_and_the_results(tmp_path: Path) -> None:
    async with mock_openai(Behavior(ttft_s=0.002, itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
        window = make_window(
            tmp_path, RequestRate(rate=100.0), scenario=MIX, warmup_s=0.1, requests=60, duration_s=20.0, min_requests=0
        )
        seen = await benchmark.measure(UrlEndpoint(server.url), window)
        probes = len([truth for truth in server.log if truth.body["max_tokens"] == 1])
        again = await benchmark.measure(UrlEndpoint(server.url), window)
    loaded = [truth for truth in server.log if truth.body["max_tokens"] > 1]
    for truth in loaded:
        adapter = truth.body["model"] == "adapter"
        assert truth.body["max_tokens"] == (2 if adapter else 3)
        assert len(truth.text.split()) + 5 == pytest.approx(36 if adapter else 32, abs=1)
    columns = read_records(tmp_path / "records.parquet").columns
    assert set(columns["part"]) == {0, 1}
    assert all((prefix is None) == (part == 0) for part, prefix in zip(columns["part"], columns["prefix"], strict=True))
    assert [part.label for part in seen.slices] == [
        "0.6 D(32,3)",
        "0.4 D(16,2) prefixes=3 prefix_tokens=20 model=adapter",
    ]
    assert sum(part.requests for part in again.slices) == again.requests
    assert seen.failed == again.failed == 0
    assert probes > 3, "both parts are calibrated, and three prefixes are sent ahead"


async def test_the_rows_of_a_part_are_sent_once(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": f"row {n}", "max_tokens": 4}) for n in range(100)))
    mix = parse_scenario(f"mix:1 D(32,3) + 1 dataset:{file}")
    async with mock_openai(Behavior(ttft_s=0.001, itl_s=0.0)) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
        endpoint = UrlEndpoint(server.url)
        for number in range(2):
            folder = tmp_path / str(number)
            folder.mkdir()
            level = RequestRate(rate=200.0)
            window = make_window(
                folder, level, scenario=mix, warmup_s=0.0, requests=40, duration_s=20.0, min_requests=0, seed=3
            )
            seen = await benchmark.measure(endpoint, window)
            assert seen.failed == 0
            assert [part.label for part in seen.slices] == ["1 D(32,3)", f"1 dataset:{file}"]
            assert all(part.requests > 5 for part in seen.slices)
            assert not [warning for warning in seen.warnings if "on average" in warning or "before" in warning]
    rows = [truth.text for truth in server.log if truth.text.startswith("row")]
    assert len(rows) == len(set(rows)) > 20
    assert {truth.body["max_tokens"] for truth in server.log if truth.text.startswith("row")} == {4}
