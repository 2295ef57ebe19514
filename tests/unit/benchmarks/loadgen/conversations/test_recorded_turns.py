"""Requests of a dataset's conversations: turns from the rows, answers from the server."""

from dataclasses import replace
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.conversations.recorded_turns import RecordedTurnFactory
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.prompts import DEFAULT_OUTPUT
from autotuner.benchmarks.loadgen.request_factories import request_factory
from autotuner.benchmarks.loadgen.run_window import rows_used
from autotuner.benchmarks.loadgen.spec import Calibration, Conversations, Pauses, Share, WorkerSpec


def row(name: str, lengths: list[int | None]) -> dict[str, Any]:
    turns: list[dict[str, Any]] = []
    for number, length in enumerate(lengths):
        turns.append({"messages": [{"role": "user", "content": f"{name}{number}"}]})
        if length is not None:
            turns[-1]["max_tokens"] = length
    return {"turns": turns}


ROWS = (row("a", [3, None]), row("b", [4]) | {"reused": True}, row("c", [5, 6, 7]))


SPEC = WorkerSpec(
    url="http://x",
    model="m",
    users=2,
    conversations=Conversations(None, Pauses("uniform", 0.5, 2.0)),
    rows=ROWS,
    row_order="again",
)


def made(**changes: Any) -> RecordedTurnFactory:
    spec = replace(SPEC, **changes)
    found = request_factory(WorkerSpec.from_json(spec.to_json()), [Calibration()], "x")
    assert isinstance(found, RecordedTurnFactory)
    return found


def body(request: Request) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(request.payload.partition(b"\r\n\r\n")[2])
    return found


def held(factory: RecordedTurnFactory, user: int = 0, number: int = 0, answer: str = "real") -> list[Request]:
    conversation = factory.begin(user, number)
    found = []
    while not conversation.over:
        request = factory.turn(conversation)
        assert request.texts is not None
        request.texts.append(answer)
        request.sent_ns = 1
        factory.answered(conversation, request)
        found.append(request)
    return found


def test_turns_come_from_the_row_and_answers_from_the_server() -> None:
    factory = made()
    first, second = held(factory)
    assert body(first)["messages"] == [{"role": "user", "content": "a0"}]
    assert body(second)["messages"] == [
        {"role": "user", "content": "a0"},
        {"role": "assistant", "content": "real"},
        {"role": "user", "content": "a1"},
    ]
    assert [r.asked_output for r in (first, second)] == [3, DEFAULT_OUTPUT]
    assert [r.turn for r in (first, second)] == [0, 1]


def test_completions_have_one_prompt_that_grows() -> None:
    first, second = held(made(api="completions"))
    assert body(second)["prompt"] == f"{body(first)['prompt']}\nreal\na1"


def test_completions_have_the_text_of_content_parts() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    rows = ({"turns": [{"messages": [{"role": "user", "content": parts}]}]},)
    (only,) = held(made(api="completions", rows=rows))
    assert body(only)["prompt"] == "a\nb"


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9), st.text(max_size=5))
def test_conversations_begin_in_the_order_of_the_rows_whoever_holds_them(users: list[int], answer: str) -> None:
    one = made()
    other = made()
    requests: list[Request] = []
    for number, user in enumerate(users):
        left = held(one, user, number, answer)
        right = held(other, 0, number)
        requests += left
        assert [body(r)["messages"][0] for r in left] == [body(r)["messages"][0] for r in right]
        assert [r.asked_output for r in left] == [r.asked_output for r in right]
        assert left[0].reused == (number >= len(ROWS) or number == 1)
    assert rows_used(SPEC, requests) == [len(users)]


def test_pauses_follow_from_the_row() -> None:
    factories = made(), made()
    one, other = (factory.begin(user, 0) for user, factory in enumerate(factories))
    assert factories[0].pause_s(one) == factories[1].pause_s(other)


def test_shares_hold_the_rows_of_one_process() -> None:
    shares = [made(rows=ROWS[index::2], share=Share(index, 2)) for index in range(2)]
    whole = made()
    used = []
    for number, factory in enumerate((shares[0], shares[1], shares[0])):
        own = factory.begin(0, number)
        wanted = whole.begin(0, number)
        assert own.recorded == wanted.recorded
        assert factory.pause_s(own) == whole.pause_s(wanted)
        request = factory.turn(own)
        assert rows_used(SPEC, [request]) == [0], "it has not been sent"
        request.sent_ns = 1
        used += rows_used(SPEC, [request])
    assert used == [1, 2, 3]
