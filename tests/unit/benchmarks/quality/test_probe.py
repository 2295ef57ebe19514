"""Questions to servers that understand different requests."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.quality import records
from autotuner.benchmarks.quality.probe import METHODS, Probe
from autotuner.benchmarks.quality.prompts import MOST, prompts
from autotuner.benchmarks.quality.responses import tokens_of
from autotuner.net.target import Target
from autotuner.testing.scripted_http import Asked, Reply, json_reply, scripted_server
from autotuner.testing.toy_model import ToyModel

pytestmark = pytest.mark.anyio

MODEL = ToyModel()
KEYS = st.sampled_from(["choices", "logprobs", "content", "top_logprobs", "tokens", "text", "token", "id", "logprob"])


def answer(body: Any, tokens: int, listed: int) -> list[tuple[str, dict[str, float]]]:
    found = MODEL.answer(body["prompt"], tokens, Random(0))
    return [(t.text, dict(list(t.top.items())[:listed])) for t in found]


def older_openai(asked: Asked, most: int = 20) -> Reply:
    """As vLLM and SGLang."""
    body = asked.json
    if asked.target != "/v1/completions" or body.get("logprobs", 0) > most:
        return json_reply({"error": {"message": f"logprobs must be at most {most}"}}, 400)
    made = answer(body, body["max_tokens"], body.get("logprobs", 0))
    logprobs = {"tokens": [t for t, _ in made], "top_logprobs": [top for _, top in made]}
    text = " ".join(t for t, _ in made)
    return json_reply({"choices": [{"text": text, "logprobs": logprobs if body.get("logprobs") else None}]})


def listed(made: list[tuple[str, dict[str, float]]]) -> list[dict[str, Any]]:
    return [
        {"id": int(t[1:]), "token": "same", "top_logprobs": [{"id": int(k[1:]), "logprob": p} for k, p in top.items()]}
        for t, top in made
    ]


def llama_cpp(asked: Asked) -> Reply:
    body = asked.json
    made = answer(body, body["max_tokens"], body["logprobs"])
    return json_reply({"choices": [{"text": "", "logprobs": {"content": listed(made)}}]})


def older_llama_cpp(asked: Asked) -> Reply:
    body = asked.json
    if asked.target != "/completion":
        return json_reply({"choices": [{"text": "w1 w2"}]})
    return json_reply({"content": "", "completion_probabilities": listed(answer(body, body["n_predict"], 20))})


def strict(asked: Asked) -> Reply:
    """As servers that refuse fields they do not know."""
    if unknown := {"cache_prompt", "cache_salt"} & asked.json.keys():
        return json_reply({"error": {"message": f"extra inputs are not permitted: {sorted(unknown)}"}}, 400)
    return llama_cpp(asked)


def text_only(asked: Asked) -> Reply:
    if asked.target != "/v1/completions":
        return json_reply({"error": "not found"}, 404)
    return json_reply({"choices": [{"text": "one two three", "logprobs": None}]})


@pytest.mark.parametrize(
    ("server", "method", "top"),
    [
        (older_openai, 0, 12),
        (lambda asked: older_openai(asked, most=5), 2, 5),
        (llama_cpp, 0, 12),
        (strict, 1, 12),
        (older_llama_cpp, 4, 12),
        (text_only, 8, 0),
    ],
)
async def test_the_first_request_that_a_server_understands_is_used(
    server: Callable[[Asked], Reply], method: int, top: int
) -> None:
    with scripted_server(server) as running:
        found = await Probe(Target(running.url), "m", ["a", "b"], tokens=3, in_flight=2, limit_s=10).reference()
    assert found.full.method == METHODS[method].text
    for answers in (found.full, *found.controls):
        assert [len(a or ()) for a in answers.answers] == [3, 3]
        assert {len(t.top) for a in answers.answers for t in a or ()} == {top}
        assert not answers.late
    assert found.full.answers == found.controls[0].answers == found.controls[1].answers


async def test_controls_ask_one_at_a_time_and_in_another_order() -> None:
    texts = [f"p{n}" for n in range(16)]
    with scripted_server(llama_cpp) as running:
        await Probe(Target(running.url), "m", texts, tokens=1, in_flight=1, limit_s=10).reference()
    asked = [a.json["prompt"] for a in running.asked]
    assert asked[:1] == ["p0"]  # which request is understood
    assert asked[1:17] == asked[17:33] == texts
    assert sorted(asked[33:]) == sorted(texts)
    assert asked[33:] != texts


async def test_no_prompt_is_read_from_a_prefix_cache() -> None:
    with scripted_server(llama_cpp) as running:
        found = await Probe(Target(running.url), "m", ["a", "b"], tokens=1, in_flight=2, limit_s=10).reference()
    bodies = [a.json for a in running.asked]
    assert {body["cache_prompt"] for body in bodies} == {False}
    assert len({body["cache_salt"] for body in bodies}) == len(bodies) == 7
    assert "cache_prompt=False" in found.full.method


async def test_answers_say_which_prompts_were_asked() -> None:
    with scripted_server(llama_cpp) as running:
        target = Target(running.url)
        found = await Probe(target, "m", ["a", "b"], tokens=1, in_flight=2, limit_s=10).reference()
        other = await Probe(target, "m", ["b", "a"], tokens=1, in_flight=2, limit_s=10).answers(METHODS[0])
    assert found.prompts == ("a", "b")
    assert {a.prompts for a in (found.full, *found.controls)} == {found.full.prompts}
    assert len(found.full.prompts) == 16
    assert other.prompts != found.full.prompts


async def test_a_server_without_answers_is_reported_without_secrets() -> None:
    def refuse(asked: Asked) -> Reply:
        return json_reply({"error": {"message": f"not allowed: {asked.headers['authorization']}"}}, 403)

    key = {"Authorization": "Bearer sk-secret-key-123"}
    with scripted_server(refuse) as running:
        target = Target(running.url, headers=key)
        found = await Probe(target, "m", ["a"], tokens=1, in_flight=1, limit_s=10).reference()
    assert found.full.method == ""
    assert "not allowed" in found.full.problem
    assert "sk-secret" not in found.model_dump_json()


async def test_a_busy_server_is_asked_again_for_the_same_form() -> None:
    def busy_first(asked: Asked) -> Reply:
        if len(running.asked) <= 2:
            return json_reply({"error": {"message": "overloaded"}}, 503)
        return older_openai(asked)

    with scripted_server(busy_first) as running:
        probe = Probe(Target(running.url), "m", ["a", "b"], tokens=1, in_flight=1, limit_s=10, pause_s=0)
        assert (await probe.reference()).full.method == METHODS[0].text


async def test_a_server_that_stays_busy_is_not_asked_for_less() -> None:
    with scripted_server(lambda _: json_reply({"error": {"message": "overloaded"}}, 503)) as running:
        probe = Probe(Target(running.url), "m", ["a"], tokens=1, in_flight=1, limit_s=10, pause_s=0)
        found = await probe.reference()
    assert found.full.method == ""
    assert "overloaded" in found.full.problem
    assert {asked.json.get("logprobs") for asked in running.asked} == {20}


async def test_the_time_limit_keeps_what_was_answered() -> None:
    released = Event()

    def slow_after_three(asked: Asked) -> Reply:
        if len(running.asked) > 3:
            released.wait(20)
        return llama_cpp(asked)

    with scripted_server(slow_after_three) as running:
        probe = Probe(Target(running.url), "m", [f"p{n}" for n in range(8)], tokens=1, in_flight=1, limit_s=2)
        found = await probe.answers(METHODS[0])
        released.set()
    assert found.late
    assert sum(a is not None for a in found.answers) == 3


def test_log_probabilities_that_are_none_are_left_out() -> None:
    choice = {
        "text": "ab",
        "logprobs": {"tokens": ["a", "b"], "top_logprobs": [None, {"b": -0.5, "c": None, "d": True}]},
    }
    assert [dict(t.top) for t in tokens_of({"choices": [choice]})] == [{}, {"b": -0.5}]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS | st.text(), inner),
    max_leaves=30,
)


@given(JSON)
def test_no_response_is_an_error(response: Any) -> None:
    assert all(token.text is not None for token in tokens_of(response))
    assert all(token.text is not None for token in tokens_of({"choices": [response]}))
    assert all(token.text is not None for token in tokens_of({"choices": [{"logprobs": response}]}))


@pytest.mark.parametrize("response", [None, [], {}, {"choices": [{}]}, {"choices": [3]}, {"content": 4}])
def test_responses_without_text_have_no_tokens(response: Any) -> None:
    assert tokens_of(response) == ()


def test_prompts_differ() -> None:
    assert len(set(prompts(MOST))) == MOST == 64
    assert prompts(16) == prompts(MOST)[:16]


async def test_stored_answers_are_read_again(tmp_path: Path) -> None:
    with scripted_server(llama_cpp) as running:
        found = await Probe(Target(running.url), "m", ["a"], tokens=2, in_flight=1, limit_s=10).reference()
    records.write(tmp_path, records.REFERENCE_FILE, found)
    assert records.read_reference(tmp_path) == found
    (tmp_path / records.REFERENCE_FILE).write_bytes(b"\x1f\x8b cut off")
    assert records.read_reference(tmp_path) is None
    assert records.read_reference(tmp_path / "missing") is None
