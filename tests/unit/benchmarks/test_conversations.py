"""Windows of conversations: users take turns with the server's real answers, and the results tell turns apart."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.measurement import Measurement
from autotuner.study.text.forms import parse_scenario
from autotuner.study.workload import Users
from autotuner.testing.benchmark_kit import UrlEndpoint, make_window
from autotuner.testing.mock_openai import Behavior, Fault, mock_openai
from autotuner.testing.relaxed_settings import CALM_LIMITS

pytestmark = pytest.mark.anyio

SCENARIO = parse_scenario("D(32,3) turns=U(2,4) think=U(5ms,20ms) later=16")


async def measured(folder: Path, url: str, users: Users, **options: Any) -> Measurement:
    """One window of conversations."""
    benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
    window = make_window(folder, users, duration_s=20.0, min_requests=0, **options)
    return await benchmark.measure(UrlEndpoint(url), window)


async def test_users_take_turns(tmp_path: Path) -> None:
    async with mock_openai(Behavior(ttft_s=0.002, itl_s=0.001)) as server:
        seen = await measured(tmp_path, server.url, Users(count=3), scenario=SCENARIO, requests=60, max_duration_s=20.0)
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


@pytest.mark.parametrize("scenario", ["D(32,3) turns=3 later=16", "dataset:{} turns=all"])
async def test_answers_in_one_piece_are_part_of_the_next_turn(tmp_path: Path, scenario: str) -> None:
    found = parse_scenario(scenario.format(chat_file(tmp_path, 30)))
    async with mock_openai(Behavior(ttft_s=0.001, itl_s=0.0)) as server:
        seen = await measured(
            tmp_path,
            server.url,
            Users(count=2),
            scenario=found,
            api="completions",
            stream=False,
            warmup_s=0.0,
            requests=20,
        )
    assert seen.failed == 0
    assert [part.distributions.keys() for part in seen.slices] == [{"e2e_latency"}] * 2
    assert sum(part.requests for part in seen.slices) == seen.requests
    prompts = {request.body["prompt"] for request in server.log}
    longer = [prompt for prompt in prompts if prompt.count("\n") >= 2]
    assert longer
    for prompt in longer:
        earlier, answer, _ = prompt.rsplit("\n", 2)
        assert earlier in prompts
        assert set(answer.split()) == {"x"}, "the server's own answer"


async def test_reasoning_is_not_sent_back(tmp_path: Path) -> None:
    async with mock_openai(Behavior(ttft_s=0.001, itl_s=0.0, first="reasoning_content")) as server:
        seen = await measured(
            tmp_path,
            server.url,
            Users(count=2),
            scenario=parse_scenario("D(32,20) turns=3 later=16"),
            warmup_s=0.0,
            requests=20,
        )
    assert seen.failed == 0
    answers = {m["content"] for t in server.log for m in t.body["messages"] if m["role"] == "assistant"}
    assert answers == {"x "}, "one token of content after the reasoning"
    assert not [warning for warning in seen.warnings if "on average" in warning]


async def test_shared_prefixes_are_sent_before_the_first_turn(tmp_path: Path) -> None:
    scenario = parse_scenario("D(32,40) prefixes=3 prefix_tokens=40 turns=2 later=16")
    async with mock_openai(Behavior(ttft_s=0.001, itl_s=0.0)) as server:
        seen = await measured(tmp_path, server.url, Users(count=2), scenario=scenario, warmup_s=0.0, requests=20)
    assert seen.failed == 0
    assert not any("shared prefixes" in warning for warning in seen.warnings)
    texts = [request.body["messages"][0]["content"] for request in server.log]
    begun = next(n for n, request in enumerate(server.log) if request.body["max_tokens"] > 1)
    primed = texts[begun - 3 : begun]
    assert len(set(primed)) == 3
    assert set(texts[begun:]) <= set(primed)
    columns = read_records(tmp_path / "records.parquet").columns
    assert set(columns["prefix"]) <= {0, 1, 2}


async def test_a_failed_turn_ends_its_conversation(tmp_path: Path) -> None:
    behavior = Behavior(ttft_s=0.001, itl_s=0.0, fault=Fault.STATUS, fault_when=lambda number: number % 5 == 4)
    async with mock_openai(behavior) as server:
        seen = await measured(tmp_path, server.url, Users(count=2), scenario=SCENARIO, requests=40)
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


def chat_file(folder: Path, count: int) -> Path:
    """Conversations of 1 to 3 turns, whose answers have 2 tokens each."""
    file = folder / "chats.jsonl"
    rows = []
    for number in range(count):
        turns = [f"question {number}.{turn}" for turn in range(1 + number % 3)]
        messages = [m for t in turns for m in ({"role": "user", "content": t}, {"role": "assistant", "content": "old"})]
        rows.append({"messages": messages, "output_tokens": 2})
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


async def test_recorded_conversations_are_answered_anew_and_never_sent_twice(tmp_path: Path) -> None:
    scenario = parse_scenario(f"dataset:{chat_file(tmp_path, 60)} turns=all think=U(1ms,3ms)")
    seen = []
    logged = []
    async with mock_openai(Behavior(ttft_s=0.001, itl_s=0.0)) as server:
        benchmark = NativeBenchmark(NativeSettings.model_validate({"limits": CALM_LIMITS}))
        endpoint = UrlEndpoint(server.url)
        for number, requests in enumerate((20, 20, 140)):
            folder = tmp_path / str(number)
            folder.mkdir()
            window = make_window(
                folder,
                Users(count=2),
                scenario=scenario,
                warmup_s=0.0,
                requests=requests,
                duration_s=20.0,
                min_requests=0,
            )
            seen.append(await benchmark.measure(endpoint, window))
            logged.append(len(server.log))
    assert all(found.failed == 0 for found in seen)
    assert {part.label for part in seen[0].slices} == {"first turns", "later turns"}
    bodies = [request.body for request in server.log]
    firsts = [body["messages"][0]["content"] if len(body["messages"]) == 1 else None for body in bodies]
    early = [first for first in firsts[: logged[1]] if first]
    assert len(set(early)) == len(early), "no row comes twice as long as there are others"
    assert len(set(filter(None, firsts))) == 60
    assert {body["max_tokens"] for body in bodies} <= {1, 2}
    for messages in (body["messages"] for body in bodies):
        assert [m["role"] for m in messages] == ["user", "assistant"] * (len(messages) // 2) + ["user"]
        assert all(m["content"] != "old" for m in messages), "answers are the server's own"
        asked = [m["content"].split(".") for m in messages[::2]]
        assert all(a[0] == b[0] and int(a[1]) + 1 == int(b[1]) for a, b in pairwise(asked))
    repeated = [any("sent to this server before" in warning for warning in found.warnings) for found in seen]
    assert repeated == [False, False, True]
