"""Shared prefixes: their popularity, their texts, and their place in a request."""

from collections import Counter

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prefix_prompts import PrefixFactory, popularity
from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, Prefixes, WorkerSpec

CALIBRATION = Calibration(((1, 21), (100, 120)), prefix_words=20)


def factory(count: int = 8, zipf: float = 1.0, **more: object) -> PrefixFactory:
    fields: dict[str, object] = {"url": "http://h:1", "model": "m", "concurrency": 1, "prefix_tokens": 20}
    fields |= {"input": Lengths("fixed", 40), "output": Lengths("uniform", 1, 3), "prefixes": Prefixes(count, zipf)}
    return PrefixFactory(WorkerSpec(**{**fields, **more}), CALIBRATION, "h:1")  # type: ignore[arg-type]


def body(request: Request) -> dict[str, object]:
    head, _, found = request.payload.partition(b"\r\n\r\n")
    assert int(head.rpartition(b" ")[2]) == len(found)
    parsed: dict[str, object] = orjson.loads(found)
    return parsed


def system(request: Request) -> str:
    messages = body(request)["messages"]
    assert isinstance(messages, list)
    assert [m["role"] for m in messages] == ["system", "user"]
    assert len(messages[1]["content"].split()) == 40
    return str(messages[0]["content"])


def test_a_prompt_begins_with_its_prefix() -> None:
    made = factory()
    texts: dict[int, str] = {}
    for _ in range(200):
        request = made.next()
        assert request.prefix is not None
        assert texts.setdefault(request.prefix, system(request)) == system(request) == made.prefix(request.prefix)
        assert request.asked_input == 60
    assert len(set(texts.values())) == len(texts) == 8
    assert {len(text.split()) for text in texts.values()} == {20}


def test_completions_have_one_text() -> None:
    request = factory(api="completions").next()
    assert request.prefix is not None
    prompt = str(body(request)["prompt"])
    assert prompt.startswith(factory().prefix(request.prefix) + " ")
    assert len(prompt.split()) == 60


@settings(max_examples=20)
@given(st.integers(1, 40), st.floats(0, 3))
def test_popularity_follows_zipf(count: int, zipf: float) -> None:
    weights = popularity(Prefixes(count, zipf))
    made = factory(count, zipf, output=Lengths("fixed", 1))
    drawn = Counter(made.next().prefix for _ in range(400))
    assert set(drawn) <= set(range(count))
    for rank in range(min(3, count)):
        share = (rank + 1) ** -zipf / weights[-1]
        assert drawn[rank] / 400 == pytest.approx(share, abs=5 * (share * (1 - share) / 400) ** 0.5 + 1e-9)


def test_every_window_has_the_same_sequence_and_the_same_prefixes_but_new_prompts() -> None:
    first = factory(salt="a", prefix_salt="server")
    second = factory(salt="b", prefix_salt="server")
    other = factory(salt="a", prefix_salt="other server")
    pairs = [(first.next(), second.next(), other.next()) for _ in range(50)]
    assert all(a.prefix == b.prefix == c.prefix for a, b, c in pairs)
    assert all(system(a) == system(b) != system(c) for a, b, c in pairs)
    assert all(body(a) != body(b) for a, b, _ in pairs)


def test_priming_sends_the_prefix_and_asks_for_one_token() -> None:
    made = factory()
    sent = body(made.priming(3))
    messages = sent["messages"]
    assert isinstance(messages, list)
    assert messages[0]["content"] == made.prefix(3)
    assert sent["max_tokens"] == 1
