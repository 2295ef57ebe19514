"""Datasets: rows with their output lengths, and refusals that name the line or the format."""

import gzip
import json
from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.datasets import LENGTHS, read_dataset
from autotuner.errors import UsageError


@pytest.mark.parametrize(
    ("text", "line", "value", "named"),
    [
        ("", None, "", "max_tokens"),
        ("{nonsense", 1, "", "max_tokens"),
        ("[1]", 1, "", "max_tokens"),
        ("\n7", 2, "", "max_tokens"),
        ('{"text": "x"}', 1, "", "messages"),
        ('{"prompt": ""}', 1, "", "messages"),
        ('{"prompt": "a"}\n{"prompt": "x", "max_tokens": 0}', 2, "0", "max_tokens"),
        ('{"prompt": "x", "output_tokens": true}', 1, "True", "output_tokens"),
        ('{"prompt": "x", "max_tokens": 4, "output_tokens": 5}', 1, "", "max_tokens 4, output_tokens 5"),
    ],
)
def test_refusal_names_the_line(tmp_path: Path, text: str, line: int | None, value: str, named: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read_dataset(str(file))
    (problem,) = error.value.problems
    assert problem.where == (f"{file}:{line}" if line else f"workload.scenarios dataset:{file}")
    assert problem.value == value
    assert named in f"{problem.why} {problem.remedy}"


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


@pytest.mark.parametrize(
    ("content", "what", "remedy"),
    [
        (json.dumps([{"id": "1", "conversations": [{"from": "human", "value": "a"}]}]), "ShareGPT", "jq"),
        (json.dumps({"conversations": [{"from": "human", "value": "a"}]}), "ShareGPT", "jq"),
        (json.dumps([{"prompt": "a"}], indent=1), "JSON array", "jq"),
        (json.dumps({"timestamp": 0, "input_length": 9, "output_length": 4, "hash_ids": [1]}), "trace", "rates"),
        (json.dumps({"custom_id": "1", "url": "/v1", "body": {"messages": []}}), "batch file", "jq"),
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
