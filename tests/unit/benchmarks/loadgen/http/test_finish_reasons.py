"""Finish reasons and usage: the rules, and measurements against a server that misbehaves."""

import json
from pathlib import Path

import pytest

from autotuner.benchmarks.genai_bench.log import Answer, LogReader
from autotuner.benchmarks.genai_bench.timeline import Plan, Timeline
from autotuner.benchmarks.loadgen.http.request import Request, fail_unfinished
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.native import NativeBenchmark, NativeSettings
from autotuner.study.measurement import Measurement
from autotuner.study.workload import Api, Concurrency
from autotuner.testing.benchmark_kit import UrlEndpoint, fixed_scenario, make_window
from autotuner.testing.mock_openai import Behavior, mock_openai


def answered(*finishes: object, chunks: int = 3, done: bool = True, usage: dict[str, object] | None = None) -> Request:
    """A request whose response had so many chunks and these finish reasons, one per choice."""
    request = Request(0, b"", 8, chunks, keep_text=False)
    for at in range(chunks):
        request.event(b"", json.dumps({"choices": [{"delta": {"content": "x"}}]}).encode(), at + 1)
    for index, finish in enumerate(finishes):
        choice = {"index": index, "delta": {}, "finish_reason": finish}
        request.event(b"", json.dumps({"choices": [choice]}).encode(), 9)
    if usage is not None:
        request.event(b"", json.dumps({"choices": [], "usage": usage}).encode(), 9)
    if done:
        request.event(b"", b"[DONE]", 9)
    request.close(complete=True)
    return request


@pytest.mark.parametrize(
    "finish",
    ["stop", "length", "tool_calls", "function_call", "eos_token", "stop_sequence", "STOP", "MAX_TOKENS", "end_turn",
     {"type": "stop", "matched": 2}, {"type": "length", "length": 8}, None, ""],
)  # fmt: skip
def test_complete_answers_succeed(finish: object) -> None:
    assert answered(finish).error is None


@pytest.mark.parametrize(
    ("finish", "error"),
    [
        ("abort", "finish_abort"),
        ("error", "finish_error"),
        ("content_filter", "finish_content_filter"),
        ("cancelled", "finish_cancelled"),
        ("timeout", "finish_timeout"),
        ("insufficient system resource!", "finish_insufficient_system_resource"),
        ({"type": "abort", "message": "out of KV cache"}, "finish_abort"),
        ({"reason": "?"}, "finish_unknown"),
        (7, "finish_7"),
    ],
)
def test_aborted_answers_fail_with_their_reason(finish: object, error: str) -> None:
    assert answered(finish).error == error
    assert answered(finish, done=False).error == error
    assert answered("stop", finish).error == error, "one of several choices"
    assert answered(finish, "stop").error == error


def test_server_message_is_kept() -> None:
    assert answered({"type": "abort", "message": "out of KV cache"}).detail == "out of KV cache"


def test_done_alone_completes_an_answer_only_if_the_server_never_sends_finish_reasons() -> None:
    silent = [answered(None) for _ in range(3)]
    fail_unfinished(silent)
    assert {r.error for r in silent} == {None}
    mixed = [answered("stop"), answered(None), answered("length")]
    fail_unfinished(mixed)
    assert [r.error for r in mixed] == [None, "finish_missing", None]


@pytest.mark.parametrize(
    ("usage", "tokens", "prompt"),
    [
        ({"completion_tokens": 3, "prompt_tokens": 8}, 3, 8),
        ({"completion_tokens": 12, "prompt_tokens": 8}, 12, 8),  # several tokens per chunk
        ({"completion_tokens": 2, "prompt_tokens": 8}, None, 8),
        ({"completion_tokens": 0, "prompt_tokens": 0}, None, None),
        ({"completion_tokens": -1, "prompt_tokens": -1}, None, None),
        ({"completion_tokens": None, "prompt_tokens": "8"}, None, None),
        ({"completion_tokens": True}, None, None),
        ({}, None, None),
    ],
)
def test_implausible_usage_is_ignored(usage: dict[str, object], tokens: int | None, prompt: int | None) -> None:
    request = answered("stop", usage=usage)
    assert (request.usage_tokens, request.usage_prompt_tokens, request.error) == (tokens, prompt, None)


async def measured(folder: Path, behavior: Behavior, api: Api = Api.CHAT) -> Measurement:
    async with mock_openai(behavior) as server:
        window = make_window(folder, Concurrency(in_flight=2), scenario=fixed_scenario(16, 10), duration_s=0.6, api=api)
        return await NativeBenchmark(NativeSettings(drain=2.0)).measure(UrlEndpoint(server.url), window)


@pytest.mark.anyio
@pytest.mark.parametrize("api", [Api.CHAT, Api.COMPLETIONS])
async def test_aborted_answers_count_as_failed(tmp_path: Path, api: Api) -> None:
    aborted = {1: "abort", 2: "error"}
    seen = await measured(tmp_path, Behavior(finish=lambda n: aborted.get(n % 3, "length")), api)
    assert set(seen.errors) == {"finish_abort", "finish_error"}
    assert seen.failed / seen.requests == pytest.approx(2 / 3, abs=0.15)
    assert seen.distributions["ttft"].count <= seen.requests - seen.failed + 2


@pytest.mark.anyio
async def test_server_without_finish_reasons(tmp_path: Path) -> None:
    seen = await measured(tmp_path, Behavior(finish=lambda _: None))
    assert (seen.failed, seen.errors) == (0, {})


@pytest.mark.anyio
async def test_tokens_are_counted_by_chunks_if_usage_is_implausible(tmp_path: Path) -> None:
    seen = await measured(tmp_path, Behavior(told_tokens=lambda _: 2, told_prompt=lambda _: 0))
    assert seen.token_source == "chunks"
    tpot = seen.value("tpot", "p50")
    assert tpot is not None
    assert tpot < 0.006, "10 chunks at 2 ms, not 2 tokens"
    columns = read_records(tmp_path / "records.parquet").columns
    complete = [i for i, done in enumerate(columns["complete"]) if done and not columns["ramp"][i]]
    assert {(columns["usage_output"][i], columns["output_tokens"][i]) for i in complete} == {(2, 10)}
    assert {(columns["usage_input"][i], columns["input_tokens"][i]) for i in complete} == {(0, None)}


def test_genai_bench_answers_fail_with_their_reason() -> None:
    plan = Plan(1, 0.0, 1.0, None, 5.0, 8, 8)
    timeline = Timeline(plan)
    for number, finish in enumerate(("stop", "abort", "")):
        at = number * 1_000
        timeline.take(Answer(at, at + 1, at + 2, finish=finish, prompt_tokens=8, output_tokens=8))
    assert [r["error"] for r in timeline.rows()] == [None, "finish_abort", "cut_stream"]


@pytest.mark.parametrize(
    ("logged", "finish"), [("length", "length"), ("None", ""), ("{'type': 'abort', 'message': 'x'}", "abort")]
)
def test_finish_reason_in_genai_bench_log(logged: str, finish: str) -> None:
    lines = [
        "DEBUG x y - genai_bench.user.openai_user:parse_chat_response - Generated text: a ",
        "Time at first token: 2.0",
        f"Finish reason: {logged}",
        "Prompt Tokens: 8",
        "Completion Tokens: 4",
        "Start Time: 1.0",
        "End Time: 3.0",
        "",
    ]
    found = LogReader().feed("\n".join(lines).encode(), 0)
    assert [e.finish for e in found if isinstance(e, Answer)] == [finish]
