"""Rows as conversations: every format gives the same turns, and a row that cannot be sent is named."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.datasets.conversation_rows import read_conversation
from autotuner.benchmarks.measuring.datasets.dataset_rows import Row, RowError
from autotuner.benchmarks.measuring.datasets.datasets import read_dataset
from autotuner.errors import UsageError


def said(role: str, text: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": text, **more}


def human(text: str) -> dict[str, str]:
    return {"from": "human", "value": text}


def gpt(text: str) -> dict[str, str]:
    return {"from": "gpt", "value": text}


def turn(*messages: dict[str, Any], tokens: int | None = None) -> dict[str, Any]:
    return {"messages": list(messages), **({"max_tokens": tokens} if tokens else {})}


FOUR = "four five"  # 9 characters, estimated as 3 tokens


@pytest.mark.parametrize(
    ("row", "turns", "answers"),
    [
        ({"prompt": "a"}, [turn(said("user", "a"))], [None]),
        ({"prompt": "a", "max_tokens": 7}, [turn(said("user", "a"), tokens=7)], [None]),
        ({"messages": [said("user", "a"), said("assistant", FOUR), said("user", "b")]},
         [turn(said("user", "a"), tokens=3), turn(said("user", "b"))], [FOUR, None]),
        ({"messages": [said("user", "a"), said("assistant", FOUR), said("user", "b")], "output_tokens": [5, 6]},
         [turn(said("user", "a"), tokens=5), turn(said("user", "b"), tokens=6)], [None, None]),
        ({"messages": [said("user", "a"), said("assistant", FOUR), said("user", "b", output_len=6)], "max_tokens": 9},
         [turn(said("user", "a"), tokens=9), turn(said("user", "b"), tokens=6)], [None, None]),
        ({"messages": [said("user", "a"), said("assistant", FOUR, output_tokens=4)]},
         [turn(said("user", "a"), tokens=4)], [None]),
        ({"messages": [said("system", "s"), said("assistant", "hi"), said("user", "a", name="n"), said("user", "b")]},
         [turn(said("system", "s"), said("user", "a", name="n"), said("user", "b"))], [None]),
        ({"messages": [said("user", [{"type": "text", "text": "a"}]), said("assistant", None), said("system", "s")]},
         [turn(said("user", [{"type": "text", "text": "a"}]))], [None]),
        ({"custom_id": "1", "url": "/v1/chat/completions",
          "body": {"messages": [said("user", "a"), said("assistant", "x"), said("user", "b")], "max_tokens": [5, 6]}},
         [turn(said("user", "a"), tokens=5), turn(said("user", "b"), tokens=6)], [None, None]),
        ({"conversations": [gpt("x"), human("a"), gpt(FOUR), human("b"), gpt(""), gpt(FOUR), human("c")]},
         [turn(said("user", "a"), tokens=3), turn(said("user", "b"), tokens=3)], [FOUR, FOUR]),
        ({"conversation": [human("a"), gpt(FOUR), human("b")], "output_tokens": 8},
         [turn(said("user", "a"), tokens=8), turn(said("user", "b"), tokens=8)], [None, None]),
    ],
)  # fmt: skip
def test_turns_of_a_row(row: Any, turns: list[Any], answers: list[str | None]) -> None:
    found = read_conversation(row)
    assert found is not None
    assert found.used == {"turns": turns}
    assert list(found.answers) == answers


@pytest.mark.parametrize("row", [{"conversations": []}, {"conversations": [gpt("x")]}, {"conversations": [human("a")]}])
def test_a_conversation_without_an_answered_question_is_skipped(row: Any) -> None:
    assert read_conversation(row) is None


_ROLES = st.sampled_from(["user", "assistant", "system"])


@given(st.lists(st.tuples(_ROLES, st.text(min_size=1, max_size=9)), min_size=1, max_size=12))
def test_users_say_all_that_they_said_and_answers_are_left_out(spoken: list[tuple[str, str]]) -> None:
    messages = [said(role, text) for role, text in spoken]
    try:
        row = read_conversation({"messages": messages})
    except RowError:
        assert "user" not in {role for role, _ in spoken}
        return
    assert row is not None
    sent = [message for one in row.used["turns"] for message in one["messages"]]
    asking = [message for message in messages if message["role"] != "assistant"]
    last = max(index for index, message in enumerate(asking) if message["role"] == "user")
    assert sent == asking[: len(sent)]
    assert len(sent) > last
    assert all(one["messages"][-1]["role"] != "assistant" for one in row.used["turns"])
    assert len(row.answers) == len(row.used["turns"])
    same = row.with_lengths(len)
    assert [one["messages"] for one in same.used["turns"]] == [one["messages"] for one in row.used["turns"]]
    assert [o.get("max_tokens") for o in same.used["turns"]] == [None if a is None else len(a) for a in row.answers]


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    keys = st.sampled_from(
        ["prompt", "messages", "conversations", "body", "from", "value", "role", "content", "max_tokens"]
    )
    return st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)


@given(st.recursive(st.none() | st.integers(-1, 3) | st.sampled_from(["", "user", "gpt", "assistant"]), _nested))
def test_anything_is_read_or_refused(found: object) -> None:
    with suppress(RowError):
        row = read_conversation(found)
        assert row is None or isinstance(row, Row)


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (3, "object"),
        ({"text": "x"}, "messages"),
        ({"messages": [said("system", "s"), said("assistant", "x")]}, '"user"'),
        ({"messages": [said("user", "")]}, "no content"),
        ({"messages": [said("user", 3)]}, "no content"),
        ({"messages": [{"role": "user"}]}, "no content"),
        ({"prompt": "a", "messages": said("user", "b")}, "must be a list"),
        ({"messages": [said("user", "a"), said("tool", "b")]}, '"tool"'),
        ({"conversations": [human("a"), {"from": "tool", "value": "b"}, gpt("x")]}, '"tool"'),
        ({"conversations": [human("a"), gpt("x"), {"value": "b"}]}, "from"),
        ({"messages": [said("user", "a")], "output_tokens": [1, 2]}, "2 output lengths for 1 turns"),
        ({"messages": [said("user", "a")], "output_tokens": []}, "0 output lengths"),
        ({"messages": [said("user", "a")], "output_tokens": [0]}, "at least 1"),
        ({"messages": [said("user", "a")], "output_tokens": [None]}, "every turn"),
        ({"messages": [said("user", "a")], "output_tokens": [1], "max_tokens": 1}, "conflicting"),
        ({"messages": [said("user", "a", max_tokens="x")]}, "at least 1"),
        ({"custom_id": "1", "url": "/v1/embeddings", "body": {"messages": [said("user", "a")]}}, "not measured"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: Any, named: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "good"}) + "\n" + json.dumps(row))
    with pytest.raises(UsageError) as error:
        read_dataset(str(file), turns=True)
    (problem,) = error.value.problems
    assert problem.where == f"{file}:2"
    assert named in problem.why
    assert "\n" not in str(error.value)


def test_conversations_that_begin_alike_are_the_same_prompt(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [[human(first), gpt("x"), human(second), gpt("y")] for first, second in ("ab", "ac", "ba")]
    file.write_text("\n".join(json.dumps({"conversations": row}) for row in rows))
    found = read_dataset(str(file), turns=True)
    assert found.duplicate_of.tolist() == [0, 0, 2]
    assert found.mean_output == 1.0
    assert found.estimated
    assert len(read_dataset(str(file)).rows) == 3, "the first question alone is another dataset"
