"""The window within a run of genai-bench, in virtual time."""

from collections.abc import Mapping
from typing import Any

import pytest

from autotuner.benchmarks.genai_bench.log import Answer, Failed, Started
from autotuner.benchmarks.genai_bench.timeline import Plan, Timeline

MS = 1_000_000
PLAN = Plan(1, warmup_s=0.1, duration_s=1.0, requests=None, request_timeout_s=5.0, asked_input=16, asked_output=8)


def answer(sent_ms: int, end_ms: int, tokens: int = 8, prompt: int | None = 16) -> Answer:
    first = sent_ms + (end_ms - sent_ms) // 2
    return Answer(sent_ms * MS, first * MS, end_ms * MS, finish="length", prompt_tokens=prompt, output_tokens=tokens)


def one_user(timeline: Timeline, until_ms: int, *, step_ms: int = 50) -> list[Mapping[str, Any]]:
    """Requests one after another, each for 50 ms."""
    emitted: list[Mapping[str, Any]] = []
    for now in range(1000, 1000 + until_ms, step_ms):
        timeline.take(Started(now * MS))
        emitted += timeline.tick((now + 1) * MS)
        timeline.take(answer(now, now + step_ms - 1))
        emitted += timeline.tick((now + step_ms - 1) * MS)
    return emitted


def plan(**changes: object) -> Plan:
    return Plan(**{**PLAN.__dict__, **changes})  # type: ignore[arg-type]


def test_window_opens_after_the_warm_up_and_has_the_requested_length() -> None:
    timeline = Timeline(PLAN)
    emitted = one_user(timeline, 1500)
    assert [(s["kind"], s.get("state")) for s in emitted if s["kind"] == "window"] == [
        ("window", "begin"),
        ("window", "end"),
    ]
    assert timeline.begin_ns is not None
    assert timeline.end_ns is not None
    assert timeline.begin_ns >= 1100 * MS
    assert timeline.end_ns - timeline.begin_ns == 1000 * MS
    assert timeline.over
    assert sum(s["kind"] == "progress" for s in emitted) == 2
    assert next(s for s in emitted if s["kind"] == "progress")["total_s"] == 1.0


def test_window_waits_for_the_first_request_of_every_user_up_to_a_limit() -> None:
    timeline = Timeline(plan(concurrency=2))
    timeline.take(Started(1000 * MS))
    timeline.take(Started(1001 * MS))
    timeline.take(answer(1001, 1050))
    timeline.take(Started(1051 * MS))
    assert timeline.tick(1500 * MS) == []
    timeline.take(answer(1000, 1600))
    assert timeline.tick(1600 * MS)[0]["state"] == "begin"
    ramps = {row["end_ns"] // MS: row["ramp"] for row in timeline.rows()}
    assert ramps == {1050 - 1600: True, 0: True}
    stuck = Timeline(plan(concurrency=2))
    stuck.take(Started(1000 * MS))
    assert stuck.tick(2099 * MS) == []
    assert stuck.tick(2100 * MS)[0]["state"] == "begin"


def test_request_count_ends_the_window_with_its_last_request() -> None:
    timeline = Timeline(plan(requests=3))
    one_user(timeline, 1000)
    assert timeline.begin_ns is not None
    assert timeline.end_ns is not None
    inside = [r for r in timeline.rows() if 0 <= r["end_ns"] < timeline.end_ns - timeline.begin_ns]
    assert len(inside) == 3


def test_requests_of_the_window_are_awaited_until_they_time_out() -> None:
    timeline = Timeline(PLAN)
    one_user(timeline, 1000)
    timeline.take(Started(2000 * MS))
    timeline.tick(2300 * MS)
    assert timeline.end_ns is not None
    assert not timeline.over
    timeline.tick(6999 * MS)
    assert not timeline.over
    timeline.tick(7001 * MS)
    assert timeline.over
    assert timeline.unanswered == 1
    (hung,) = [r for r in timeline.rows() if r["error"] == "timeout"]
    assert hung["sent_ns"] == 2000 * MS - (timeline.begin_ns or 0)


def test_start_without_an_end_is_dropped_when_its_user_starts_again() -> None:
    timeline = Timeline(PLAN)
    timeline.take(Started(1000 * MS))
    one_user(timeline, 1500)
    assert timeline.over
    assert timeline.unanswered == 0


def test_failure_is_matched_with_the_remaining_start() -> None:
    timeline = Timeline(plan(concurrency=2))
    timeline.take(Started(1000 * MS))
    timeline.take(Started(1010 * MS))
    timeline.take(answer(1009, 1100))
    timeline.take(Failed(1200 * MS, "http_500", "refused"))
    timeline.take(Failed(1300 * MS, "connect", "its start is unknown"))
    rows = timeline.rows()
    assert [(r["sent_ns"] // MS, r["end_ns"] // MS, r["error"], r["complete"]) for r in rows] == [
        (1009, 1100, None, True),
        (1000, 1200, "http_500", False),
        (1300, 1300, "connect", False),
    ]


@pytest.mark.parametrize(("tokens", "gaps"), [(8, [25 * MS]), (1, [])])
def test_record_of_an_answer(tokens: int, gaps: list[int]) -> None:
    timeline = Timeline(plan(asked_input=None, asked_output=None))
    timeline.take(Started(1000 * MS))
    timeline.take(answer(1000, 1050, tokens=tokens, prompt=None))
    (row,) = timeline.rows()
    assert row["gaps_ns"] == gaps
    assert (row["asked_input"], row["asked_output"], row["input_tokens"]) == (0, tokens, None)
    assert row["token_source"] == "tokenizer"
    assert row["scheduled_ns"] is None
