"""Requests of documents: how many, how long, all different, and the same for the same seed."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.endpoints.document_prompts import DocumentFactory
from autotuner.benchmarks.loadgen.spec import Calibration, Documents, WorkerSpec

TWO_PER_WORD = Calibration(points=((8, 16), (400, 800)))


def factory(documents: Documents, **more: Any) -> DocumentFactory:
    api = "embeddings" if documents.query_tokens is None else "rerank"
    spec = WorkerSpec(url="http://x", model="m", api=api, stream=False, concurrency=1, documents=documents, **more)
    return DocumentFactory(spec, TWO_PER_WORD, "x")


def body(payload: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(payload.partition(b"\r\n\r\n")[2])
    return found


@given(st.integers(1, 20), st.integers(2, 300), st.none() | st.integers(2, 100))
def test_lengths(count: int, tokens: int, query: int | None) -> None:
    request = factory(Documents(count, tokens, query)).next()
    sent = body(request.payload)
    texts = sent["input"] if query is None else sent["documents"]
    texts = texts if isinstance(texts, list) else [texts]
    assert len(texts) == request.documents == count
    assert request.asked_input == count * (tokens + (query or 0))
    for text in texts:
        words = len(f"{sent.get('query', '')} {text}".split())
        assert 2 * words == pytest.approx(tokens + (query or 0), abs=3)


def test_documents_differ_in_every_request_and_follow_from_the_seed() -> None:
    made = factory(Documents(4, 100))
    texts = [text for _ in range(5) for text in body(made.next().payload)["input"]]
    assert len(set(texts)) == 20
    again = factory(Documents(4, 100))
    assert [text for _ in range(5) for text in body(again.next().payload)["input"]] == texts
    other = factory(Documents(4, 100), salt="another window")
    assert set(body(other.next().payload)["input"]).isdisjoint(texts)


def test_one_document_is_sent_as_a_text() -> None:
    assert isinstance(body(factory(Documents(1, 100)).next().payload)["input"], str)


@pytest.mark.parametrize(("top_n", "expected"), [(None, 20), (5, 5), (50, 20)])
def test_top_n_is_what_an_answer_must_hold(top_n: int | None, expected: int) -> None:
    body_fields = {} if top_n is None else {"top_n": top_n}
    request = factory(Documents(20, 10, 4), extra_body=body_fields).next()
    assert getattr(request, "expected", None) == expected
    assert body(request.payload).get("top_n") == top_n


def test_paths() -> None:
    assert factory(Documents(1, 9)).next().payload.startswith(b"POST /v1/embeddings HTTP/1.1\r\n")
    assert factory(Documents(1, 9, 3)).next().payload.startswith(b"POST /v1/rerank HTTP/1.1\r\n")
