"""Datasets: the lengths of their rows are asked for, other files are refused with what they are."""

import gzip
import json
from pathlib import Path

import pytest

from autotuner.benchmarks.measuring.datasets import LENGTHS, read_dataset
from autotuner.errors import UsageError


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("{nonsense", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"text": "x"}', "neither"),
        ('{"prompt": ""}', "neither"),
        ('{"prompt": "a"}\n{"prompt": "x", "max_tokens": 0}', "above 0"),
        ('{"prompt": "x", "output_tokens": true}', "whole number"),
        ('{"prompt": "x", "max_tokens": 4, "output_tokens": 5}', "two lengths"),
    ],
)
def test_a_bad_dataset_is_named_with_its_line(tmp_path: Path, text: str, why: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match=why) as error:
        read_dataset(str(file))
    assert str(file) in str(error.value)


def test_a_dataset_is_read(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"prompt": "a", "max_tokens": 3}\n\n{"messages": [{"role": "user", "content": "b"}]}\n')
    found = read_dataset(str(file))
    first, second = found.rows
    assert first == {"prompt": "a", "max_tokens": 3}
    assert second == {"messages": [{"role": "user", "content": "b"}]}
    assert found.notes == ()


@pytest.mark.parametrize("field", LENGTHS)
def test_every_usual_name_of_a_length_is_honored(tmp_path: Path, field: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"prompt": "a", field: 7, "max_tokens": None} | {field: 7}))
    assert [dict(r) for r in read_dataset(str(file)).rows] == [{"prompt": "a", "max_tokens": 7}]


def test_fields_that_are_not_sent_are_named_once(tmp_path: Path) -> None:
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
def test_another_kind_of_file_is_refused_with_what_it_is(
    tmp_path: Path, content: str | bytes, what: str, remedy: str
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(UsageError) as error:
        read_dataset(str(file))
    (problem,) = error.value.problems
    assert what in problem.why
    assert remedy in problem.remedy
    assert "\n" not in str(problem)
