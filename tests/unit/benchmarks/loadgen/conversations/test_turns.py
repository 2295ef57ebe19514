"""Requests of conversations: what each turn carries, and what does not depend on the server."""

from itertools import pairwise
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.conversations.turns import TurnFactory, pause_s
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.request_factories import request_factory
from autotuner.benchmarks.loadgen.spec import Calibration, Conversations, Lengths, Pauses, Prefixes, WorkerSpec

CALIBRATION = Calibration(((10, 10), (1000, 1000)))


def spec(**changes: Any) -> WorkerSpec:
    conversations = Conversations(Lengths("uniform", 2, 6), Pauses("uniform", 0.5, 2.0), Lengths("fixed", 12))
    return WorkerSpec(
        **{
            "url": "http://x",
            "model": "m",
            "users": 2,
            "conversations": conversations,
            "input": Lengths("normal", 60, 10),
            "output": Lengths("uniform", 4, 9),
            "salt": "a",
            **changes,
        }
    )


def body(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(request.payload.partition(b"\r\n\r\n")[2])
    return found


def held(made: WorkerSpec, user: int = 0, number: int = 0, *, answer: str = "yes") -> list[Request]:
    """All turns of a conversation, each answered with the same text."""
    factory = TurnFactory(made, CALIBRATION, "x")
    conversation = factory.begin(user, number)
    found = []
    while not conversation.over:
        request = factory.turn(conversation)
        assert request.texts is not None
        request.texts.append(answer)
        request.chunks.extend([1, 2])
        factory.answered(conversation, request)
        found.append(request)
    return found


def test_each_turn_carries_the_ones_before_it() -> None:
    turns = held(spec())
    assert [(r.user, r.conversation, r.turn) for r in turns] == [(0, 0, n) for n in range(len(turns))]
    for before, after in pairwise(turns):
        history = body(before)["messages"]
        messages = body(after)["messages"]
        assert messages[: len(history)] == history
        assert messages[len(history)] == {"role": "assistant", "content": "yes"}
        assert messages[-1]["role"] == "user"
        assert len(messages[-1]["content"].split()) == 12
        assert after.asked_input == before.asked_input + 2 + 12


def test_completions_have_one_prompt_that_grows() -> None:
    turns = held(spec(api="completions", prefix_tokens=16), answer=" so it is")
    prompts = [body(r)["prompt"] for r in turns]
    for before, after in pairwise(prompts):
        assert after.startswith(f"{before}\n so it is\n")


@given(st.integers(0, 9), st.integers(0, 9), st.text(max_size=30))
def test_the_shape_does_not_depend_on_answers_and_salt(user: int, number: int, answer: str) -> None:
    one = held(spec(), user, number)
    two = held(spec(salt="b"), user, number, answer=answer)
    assert [r.asked_output for r in one] == [r.asked_output for r in two]
    assert [r.asked_input for r in one] == [r.asked_input for r in two]
    assert body(one[0])["messages"] != body(two[0])["messages"], "no text is sent again in another window"


def test_conversations_differ() -> None:
    firsts = {body(held(spec(), user, number)[0])["messages"][0]["content"] for user in range(4) for number in range(4)}
    assert len(firsts) == 16


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_all_turns_of_a_conversation_begin_with_its_prefix(api: str) -> None:
    calibration = Calibration(((10, 10), (1000, 1000)), 40)
    made = spec(prefixes=Prefixes(3, 1.0), prefix_tokens=40, api=api)
    factory = request_factory(made, [calibration], "x")
    assert isinstance(factory, TurnFactory)
    assert factory.prefixes is not None
    texts = [factory.prefixes.prefix(rank) for rank in range(3)]
    ranks = set()
    for number in range(20):
        conversation = factory.begin(1, number)
        ranks.add(conversation.prefix)
        while not conversation.over:
            request = factory.turn(conversation)
            assert request.prefix == conversation.prefix is not None
            if api == "chat":
                assert body(request)["messages"][0] == {"role": "system", "content": texts[request.prefix]}
            else:
                assert body(request)["prompt"].startswith(texts[request.prefix])
            if request.turn == 0:
                assert request.asked_input >= 40 + 20
            factory.answered(conversation, request)
        assert factory.begin(1, number).prefix == conversation.prefix, "a prefix follows from user and number"
    assert ranks == {0, 1, 2}


@pytest.mark.parametrize(
    ("pauses", "low", "high"),
    [
        (Pauses("fixed", 1.5), 1.5, 1.5),
        (Pauses("uniform", 1.0, 2.0), 1.0, 2.0),
        (Pauses("normal", 0.1, 1.0), 0.0, 10.0),
    ],
)
def test_pauses_stay_within_their_bounds(pauses: Pauses, low: float, high: float) -> None:
    found = [pause_s(pauses, Random(n)) for n in range(200)]
    assert low <= min(found)
    assert max(found) <= high
    assert pauses.kind == "fixed" or len(set(found)) > 50


def test_the_spec_survives_its_way_to_the_process() -> None:
    made = spec()
    assert WorkerSpec.from_json(made.to_json()) == made
    with pytest.raises(ValueError, match="users"):
        WorkerSpec.from_json(spec(concurrency=2).to_json())
