"""Answers in one piece: what counts as complete, as a failure of which kind, and the tokens of each server's form."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.http.whole_answer import WholeAnswer

END = 5_000


def answered(body: object, *, expected: int | None = None, complete: bool = True, asked: int = 4) -> WholeAnswer:
    """A request whose answer arrived in pieces of ten bytes."""
    request = WholeAnswer(0, b"", 0, asked if expected is None else 0, keep_text=True)
    request.expected = expected
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    for at in range(0, len(text), 10):
        request.receive(text[at : at + 10])
    request.end_ns = END
    request.close(complete=complete)
    return request


def chat(text: str | None, finish: str | None = "length", **message: Any) -> dict[str, Any]:
    choice = {"message": {"content": text, **message}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}


@pytest.mark.parametrize(
    "body",
    [
        chat("four words"),
        chat(None, reasoning_content="hm"),
        chat(None, tool_calls=[{"function": {"name": "f"}}]),
        {"choices": [{"text": "x", "finish_reason": "stop"}], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
    ],
)
def test_text_is_one_chunk_at_the_end(body: dict[str, Any]) -> None:
    request = answered(body)
    assert (request.error, request.chunks, request.usage_tokens, request.usage_prompt_tokens) == (None, [END], 4, 9)


@pytest.mark.parametrize(
    ("body", "complete", "kind"),
    [
        (chat(""), True, "empty"),
        (b"", True, "empty"),
        (b'{"choices": [', False, "cut_stream"),
        (b"<!doctype html><h1>hello</h1>", True, "html"),
        (b"hello", True, "not_json"),
        ({"error": {"message": "out of memory"}}, True, "error_in_200"),
        ({"object": "error", "message": "no"}, True, "error_in_200"),
        ({"choices": 3}, True, "bad_response"),
        ({"choices": [3]}, True, "bad_response"),
        ({}, True, "bad_response"),
        ([], True, "bad_response"),
        (7, True, "bad_response"),
        (chat("x", "abort"), True, "finish_abort"),
    ],
)
def test_failures_of_text(body: object, complete: bool, kind: str) -> None:
    assert answered(body, complete=complete).error == kind


def test_whole_document_is_an_answer_even_if_the_connection_closed() -> None:
    assert answered(chat("x"), complete=False).error is None


VECTOR = {"embedding": [0.5]}


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"data": [VECTOR, VECTOR], "usage": {"prompt_tokens": 8, "total_tokens": 8}}, 8),
        ({"data": [{"embedding": "AACAPw=="}] * 2}, None),
        ({"results": [{"relevance_score": 0}, {"relevance_score": -1.5}], "usage": {"total_tokens": 7}}, 7),
        ([{"score": 0.5, "meta_info": {"prompt_tokens": 3}}, {"score": 0, "meta_info": {"prompt_tokens": 4}}], 7),
        ([{"score": 0.5}, {"score": 0.25}], None),
    ],
)
def test_results_of_documents(body: object, tokens: int | None) -> None:
    request = answered(body, expected=2)
    assert (request.error, request.chunks, request.usage_prompt_tokens) == (None, [END], tokens)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"data": [VECTOR]}, "too_few_results"),
        ({"data": [VECTOR, {"embedding": []}]}, "too_few_results"),
        ({"data": []}, "empty"),
        ({}, "empty"),
        ({"results": [{"relevance_score": None}] * 2}, "empty"),
        ([], "empty"),
        ("text", "bad_response"),
        ({"data": [1, 2]}, "bad_response"),
    ],
)
def test_failures_of_documents(body: object, kind: str) -> None:
    assert answered(body, expected=2).error == kind


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda s: (
            st.lists(s)
            | st.dictionaries(st.sampled_from(["choices", "data", "results", "usage", "error", "message", "score"]), s)
        ),
    )
)
def test_any_json_is_judged(body: object) -> None:
    for expected in (None, 2):
        request = answered(body, expected=expected)
        assert request.error is not None or request.chunks == [END]
