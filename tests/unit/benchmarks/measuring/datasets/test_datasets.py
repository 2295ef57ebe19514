"""Datasets: every format gives the same rows, and refusals name the row or the format."""

import gzip
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.datasets.dataset_rows import LENGTHS, RowError, read_row
from autotuner.benchmarks.measuring.datasets.datasets import read_dataset
from autotuner.errors import UsageError


def _nested(inner: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    keys = st.sampled_from(
        ["prompt", "messages", "conversations", "body", "from", "value", "role", "max_tokens", "url"]
    )
    return st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)


@pytest.mark.parametrize(
    ("text", "line", "value", "named"),
    [
        ("", None, "", "max_tokens"),
        ("{nonsense", 1, "", "max_tokens"),
        ("[1]", " row 1", "", "max_tokens"),
        ("\n7", 2, "", "max_tokens"),
        ('{"text": "x"}', 1, "", "messages"),
        ('{"prompt": ""}', 1, "", "messages"),
        ('{"prompt": "a"}\n{"prompt": "x", "max_tokens": 0}', 2, "0", "max_tokens"),
        ('{"prompt": "x", "output_tokens": true}', 1, "True", "output_tokens"),
        ('{"prompt": "x", "max_tokens": 4, "output_tokens": 5}', 1, "", "max_tokens 4, output_tokens 5"),
        ('{"prompt": "x"}\n\n{"prompt": 1}', 3, "", "messages"),
        ('{"messages": ["x"]}', 1, "", "role"),
        ('{"prompt": "x", "messages": 1}', 1, "", "role"),
        ('{"prompt": "x", "messages": {"role": "user", "content": "y"}}', 1, "", "must be a list"),
        ('{"prompt": "x", "messages": {}}', 1, "", "must be a list"),
        ('[{"prompt": "x"},\n{"prompt": 1}]', " row 2", "", "messages"),
        ('[{"prompt": "x"}, 3]', " row 2", "", "max_tokens"),
        ('[{"prompt": "x"}, {"prompt": "y"', " row 2", "", "not closed"),
        ('[{"prompt": "x"}, {"prompt" "y"}]', " row 2", "", "max_tokens"),
        ('[{"conversations": [{"from": "human", "value": 3}, {"from": "gpt", "value": "a"}]}]', " row 1", "", "from"),
        ('{"conversations": [{"value": "q"}, {"from": "gpt", "value": "a"}]}', 1, "", "from"),
        ('{"conversations": [1, 2]}', 1, "", "from"),
        ('[{"conversations": [{"from": "gpt", "value": "a"}]}]', None, "", "conversation"),
        ('{"custom_id": "1", "url": "/v1/embeddings", "body": {"input": "x"}}', 1, "/v1/embeddings", "completions"),
        ('{"custom_id": "1", "url": "/v1/completions", "body": {"input": "x"}}', 1, "", "messages"),
    ],
)
def test_refusal_names_the_line(tmp_path: Path, text: str, line: int | str | None, value: str, named: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_dataset(str(file))
    (problem,) = error.value.problems
    assert problem.where == (
        f"{file}{f':{line}' if isinstance(line, int) else line}" if line else f"workload.scenarios dataset:{file}"
    )
    assert problem.value == value
    assert named in f"{problem.why} {problem.remedy}"
    assert "\n" not in str(error.value)


def test_rows_and_their_lengths(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "max_tokens": 3}\n\n{"messages": [{"role": "user", "content": "b"}]}\n')
    found = read_dataset(str(file))
    first, second = found.rows
    assert first == {"prompt": "a", "max_tokens": 3}
    assert second == {"messages": [{"role": "user", "content": "b"}]}
    assert found.notes == ()


@pytest.mark.parametrize("field", LENGTHS)
def test_every_common_name_of_the_output_length_is_accepted(tmp_path: Path, field: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a", field: 7, "max_tokens": None} | {field: 7}))
    assert [dict(r) for r in read_dataset(str(file)).rows] == [{"prompt": "a", "max_tokens": 7}]


def test_note_names_fields_that_are_not_sent(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"prompt": str(n), "id": n, "temperature": 1}) for n in range(9)))
    (note,) = read_dataset(str(file)).notes
    assert "id, temperature" in note


def sharegpt(*turns: str) -> dict[str, object]:
    roles = {"h": "human", "g": "gpt", "s": "system"}
    return {"id": "1", "conversations": [{"from": roles[t[0]], "value": t[1:]} for t in turns]}


@pytest.mark.parametrize("form", [json.dumps, lambda rows: "\n".join(map(json.dumps, rows))])
def test_first_answered_question_of_a_sharegpt_conversation_is_used(
    tmp_path: Path, form: Callable[[list[object]], str]
) -> None:
    file = tmp_path / "sharegpt.json"
    rows = [
        sharegpt("hfirst", "g" + "x" * 40, "hsecond", "gmore"),
        sharegpt("gleft over", "hlater", "g" + "x" * 7),
        sharegpt("sbe brief", "hwith a system prompt", "gok"),
        sharegpt("hnever answered"),
        {**sharegpt("hcounted", "gok"), "output_tokens": 9},
    ]
    file.write_text(form(rows))
    found = read_dataset(str(file))
    system = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "with a system prompt"}]
    assert list(found.rows) == [
        {"prompt": "first", "max_tokens": 11},
        {"prompt": "later", "max_tokens": 2},
        {"messages": system, "max_tokens": 1},
        {"prompt": "counted", "max_tokens": 9},
    ]
    assert found.estimated
    assert len(found.notes) == 1
    assert "1 of 5" in found.notes[0]


def test_openai_batch_file(tmp_path: Path) -> None:
    file = tmp_path / "batch.jsonl"
    messages = [{"role": "user", "content": "a"}]
    bodies = [
        ("/v1/chat/completions", {"model": "m", "messages": messages, "max_completion_tokens": 5, "temperature": 0}),
        ("/v1/completions", {"model": "m", "prompt": "b", "max_tokens": 6}),
    ]
    rows = [{"custom_id": str(n), "method": "POST", "url": url, "body": body} for n, (url, body) in enumerate(bodies)]
    file.write_text("\n".join(map(json.dumps, rows)))
    found = read_dataset(str(file))
    assert list(found.rows) == [{"messages": messages, "max_tokens": 5}, {"prompt": "b", "max_tokens": 6}]
    assert found.unsent == ("temperature",)
    assert not found.estimated


@given(st.lists(st.tuples(st.text(min_size=1, max_size=20), st.integers(1, 99)), min_size=1, max_size=8), st.data())
def test_every_format_gives_the_same_rows(rows: list[tuple[str, int]], data: st.DataObject) -> None:
    plain = [{"prompt": text, "output_tokens": length} for text, length in rows]
    batch = [{"custom_id": "c", "url": "/v1/completions", "body": {"prompt": t, "max_tokens": n}} for t, n in rows]
    talk = [{**sharegpt(f"h{text}", "ganswer"), "output_tokens": length} for text, length in rows]
    found = []
    with TemporaryDirectory() as folder:
        for number, form in enumerate((plain, batch, talk)):
            whole = data.draw(st.booleans())
            file = Path(folder) / f"{number}.json"
            file.write_text(json.dumps(form) if whole else "\n".join(map(json.dumps, form)))
            dataset = read_dataset(str(file))
            found.append(list(dataset.rows))
            prompts = [text for text, _ in rows]
            assert dataset.duplicate_of.tolist() == [prompts.index(text) for text in prompts]
    assert found == [[{"prompt": text, "max_tokens": length} for text, length in rows]] * 3


@given(st.recursive(st.none() | st.integers() | st.text(max_size=5), _nested, max_leaves=12))
def test_any_json_is_a_row_or_refused(found: object) -> None:
    with suppress(RowError):
        row = read_row(found)
        assert row is None or row.used.keys() <= {"prompt", "messages", "max_tokens"}


def test_changed_file_is_indexed_again(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a"}\n')
    before = read_dataset(str(file))
    assert read_dataset(str(file)) is before
    file.write_text('{"prompt": "another"}\n{"prompt": "b"}\n')
    assert len(read_dataset(str(file)).rows) == 2
    with pytest.raises(UsageError, match="changed while"):
        list(before.rows)


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (json.dumps({"timestamp": 0, "input_length": 9, "output_length": 4, "hash_ids": [1]}), "trace", "trace:FILE"),
        (gzip.compress(b'{"prompt": "a"}'), "gzip", "gunzip"),
        (b"PAR1\x00\x00", "Parquet", "JSON lines"),
    ],
)
def test_refusal_of_other_formats_names_them(tmp_path: Path, content: str | bytes, what: str, remedy: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as error:
        read_dataset(str(file))
    (problem,) = error.value.problems
    assert what in problem.why
    assert remedy in problem.remedy
    assert "\n" not in str(problem)
