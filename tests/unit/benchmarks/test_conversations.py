"""Windows of conversations: users take turns with the server's real answers, and the results tell turns apart."""

from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Users
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, Fault, mock_openai
from autotuner.testing.relaxed_settings import CALM_LIMITS

pytestmark = pytest.mark.anyio

SCENARIO = parse_scenario("D(32,3) turns=U(2,4) think=U(5ms,20ms) later=16")


async def test_users_take_turns(tmp_path: Path) -> None:
    async with mock_openai(Behavior(ttft_s=0.002, itl_s=0.001)) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
        window = make_window(
            tmp_path,
            Users(count=3),
            scenario=SCENARIO,
            requests=60,
            duration_s=20.0,
            max_duration_s=20.0,
            min_requests=0,
        )
        seen = await benchmark.measure(UrlEndpoint(server.url), window)
    first, later = seen.slices
    assert (first.kind, first.label, later.label) == ("turn", "first turns", "later turns")
    assert first.requests + later.requests == seen.requests >= 60
    assert seen.failed == 0
    assert seen.distributions["ttft_first_turn"] == first.distributions["ttft"]
    assert seen.distributions["ttft_later_turns"] == later.distributions["ttft"]
    assert not {"ttft_first_turn", "ttft_later_turns"} & (first.distributions.keys() | later.distributions.keys())
    columns = read_records(tmp_path / "records.parquet").columns
    seats = list(zip(columns["user"], columns["conversation"], columns["turn"], strict=True))
    assert {user for user, _, _ in seats} == {0, 1, 2}
    assert len(set(seats)) == len(seats)
    assert all(turn == 0 or (user, number, turn - 1) in seats for user, number, turn in seats)
    longest = max((t.body["messages"] for t in server.log), key=len)
    assert [m["role"] for m in longest] == ["user", "assistant"] * (len(longest) // 2) + ["user"]
    assert all(m["content"] for m in longest), "answers are the server's own"


async def test_a_failed_turn_ends_its_conversation(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.001, itl_s=0.0, fault=Fault.STATUS, fault_when=lambda number: number % 5 == 4)
    async with mock_openai(behavior) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
        window = make_window(tmp_path, Users(count=2), scenario=SCENARIO, requests=40, duration_s=20.0, min_requests=0)
        seen = await benchmark.measure(UrlEndpoint(server.url), window)
    assert seen.failed > 0
    columns = read_records(tmp_path / "records.parquet").columns
    seats = {
        (user, number, turn): error
        for user, number, turn, error in zip(
            columns["user"], columns["conversation"], columns["turn"], columns["error"], strict=True
        )
    }
    for (user, number, turn), error in seats.items():
        if error is not None:
            assert (user, number, turn + 1) not in seats
