"""Rows of a JSON file come out as they went in, however the file is cut into chunks."""

import io
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.datasets import json_rows
from autotuner.benchmarks.measuring.datasets.json_rows import RowFormError, raw_rows

TEXT = st.text(alphabet='a"\\{}[], \n\té', max_size=9)
VALUE = st.recursive(
    TEXT | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=9,
)
ROW = st.dictionaries(TEXT, VALUE, max_size=4)


SIZES = st.integers(1, 90)


def read(text: bytes, chunk: int = json_rows.CHUNK, longest: int = json_rows.MAX_ROW) -> list[Any]:
    found = []
    for row in raw_rows(io.BytesIO(text), chunk=chunk, longest=longest):
        assert text[row.offset : row.offset + len(row.text)] == row.text
        found.append(json.loads(row.text))
    return found


@given(st.lists(ROW, max_size=6), st.sampled_from([None, 1]), st.booleans(), SIZES)
def test_an_array_gives_its_elements(rows: list[Any], indent: int | None, ascii_only: bool, size: int) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_only).encode()
    assert read(text, size) == rows
    assert read(b"\xef\xbb\xbf \n" + text + b"\n \n", size) == rows


@given(st.lists(ROW, max_size=6), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_json_lines_give_their_lines(rows: list[Any], end: str) -> None:
    text = end.join(json.dumps(row) for row in rows).encode()
    if rows:
        assert read(text) == read(b"\xef\xbb\xbf" + text + b"\n") == rows


@given(st.binary(max_size=60), SIZES)
def test_any_bytes_give_rows_or_say_what_is_wrong(text: bytes, size: int) -> None:
    for data in (text, b"[" + text, b"[{}," + text + b"]"):
        with suppress(RowFormError):
            assert all(row.text.strip() for row in raw_rows(io.BytesIO(data), chunk=size))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('[{"a": 1}, 2]', 2),
        ('[{"a": 1}, "b", {"c": 1}]', 2),
        ('[{"a": 1}, [1]]', 2),
        ('[{"a": 1} {"b": 1}]', 2),
        ('[{"a": 1},]', 2),
        ('[{"a": 1}, {"b": 1}', 2),
        ('[{"a": 1}, {"b": ', 2),
        ('[{"a": 1}] x', 2),
    ],
)
def test_what_is_not_an_array_of_objects_is_refused_with_its_row(text: str, number: int) -> None:
    with pytest.raises(RowFormError) as error:
        read(text.encode(), chunk=5)
    assert error.value.number == number
    with pytest.raises(RowFormError):
        read(text.encode())


@pytest.mark.parametrize("text", ['[{"a": "' + "x" * 400 + '"}]', '{"a": "' + "x" * 400 + '"}', '["' + "x" * 400])
def test_a_row_beyond_all_measure_is_refused(text: str) -> None:
    with pytest.raises(RowFormError, match="more than 300 bytes"):
        read(text.encode(), chunk=32, longest=300)
