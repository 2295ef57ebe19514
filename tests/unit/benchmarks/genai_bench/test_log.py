"""Parser of genai-bench's log, on the log of a real run through every fault, split at any position."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.genai_bench.log import Answer, Event, Failed, LogReader, Started

LOG = (Path(__file__).parent / "genai_bench_0_0_5.log").read_bytes()
"""Recorded with version 0.0.5 against the mock server, one user; one kind of fault after another."""
ANSWER = (
    "DEBUG    2026-01-05 01:36:04.%f - genai_bench.user.openai_user:parse_chat_response - Generated text: {text} \n"
    "Time at first token: {first} \nFinish reason: {finish}\nPrompt Tokens: {prompt} \nCompletion Tokens: {tokens}\n"
    "Start Time: 10.0\nEnd Time: 10.5\n"
)
NEXT = b"DEBUG    2026-01-05 01:36:04.%f - locust.runners:send_message - Running locally\n"


def read(data: bytes) -> list[Event]:
    return LogReader().feed(data, 7)


def test_every_request_of_a_real_log_has_one_outcome() -> None:
    events = read(LOG)
    answers = [e for e in events if isinstance(e, Answer)]
    failed = [e for e in events if isinstance(e, Failed)]
    assert len([e for e in events if isinstance(e, Started)]) == len(answers) + len(failed) == 40
    assert [e.error for e in failed] == [
        "http_500",
        "stream_error",
        "cut_stream",
        "empty",
        "cut_stream",
        "bad_response",
        "stream_error",
    ]
    assert [bool(a.finish) for a in answers].count(False) == 1
    assert {a.output_tokens for a in answers if a.finish} == {8}
    assert all(a.sent_ns < a.first_ns < a.end_ns < a.sent_ns + 200_000_000 for a in answers)
    assert (answers[0].sent_ns, answers[0].first_ns, answers[0].prompt_tokens) == (1693885550475, 1693914567536, 20)


@given(st.lists(st.integers(0, len(LOG)), max_size=20))
def test_any_split_yields_the_same_events(cuts: list[int]) -> None:
    reader = LogReader()
    places = [0, *sorted(cuts), len(LOG)]
    pieces = [event for a, b in pairwise(places) for event in reader.feed(LOG[a:b], 7)]
    assert pieces == read(LOG)


def test_text_of_a_model_is_not_parsed_as_log_lines() -> None:
    lines = "a\nEnd Time: 3.0\nERROR    2026-01-05 01:36:04.%f - locust.user.task:run - no\n\nz"
    found = read(ANSWER.format(text=lines, first=10.1, finish="None", prompt=None, tokens=0).encode())
    assert [(e.text, bool(e.finish)) for e in found if isinstance(e, Answer)] == [(lines, False)]


def test_answer_without_a_token_counts_only_by_its_exception() -> None:
    silent = ANSWER.format(text="", first=None, finish="stop", prompt=None, tokens=0).encode()
    error = (
        b"ERROR    2026-01-05 01:36:04.%f - locust.user.task:run - response.time_at_first_token is None\nTraceback\n"
    )
    assert [e.error for e in read(silent + error + NEXT) if isinstance(e, Failed)] == ["empty"]


def test_long_message_is_one_failure_with_a_short_detail() -> None:
    text = (
        b"WARNING  2026-01-05 01:36:04.%f - genai_bench.user.base_user:collect_metrics - Received error response from "
    )
    text += b"server. Error code: -1, message: " + b"a very long line\n" * 500 + b".\n" + NEXT
    (failed,) = read(text)
    assert isinstance(failed, Failed)
    assert failed.error == "stream_error"
    assert failed.detail.startswith("a very long line\na very")
    assert len(failed.detail) <= 200


def test_other_output_is_kept_only_in_the_tail() -> None:
    reader = LogReader()
    assert reader.feed(b"\xff\xfe[transformers] nothing\nTraceback (most recent call last)\nError: no", 1) == []
    assert reader.tail.endswith("Error: no")


def test_secret_is_redacted_before_truncation() -> None:
    for before in range(180, 205):
        reader = LogReader("sk-very-secret")
        text = b"ERROR    2026-01-05 01:36:04.%f - locust.user.task:run - " + b"x" * before + b"sk-very-secret\n"
        (failed,) = reader.feed(text + NEXT + b"rest sk-very-secret", 1)
        assert isinstance(failed, Failed)
        assert "sk-" not in failed.detail + reader.tail
