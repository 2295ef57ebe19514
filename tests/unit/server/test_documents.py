"""Large bodies: made once, compressed or not, with what changes at their end."""

import gzip
import json
import math
from collections.abc import Mapping

import pytest
from starlette.requests import Request

from autotuner import Notice, Page
from autotuner.report.exports import plain_data
from autotuner.secrets import clean, clean_model
from autotuner.server.documents import Bodies, Entries
from autotuner.study.base import FrozenModel


def request(encoding: str = "gzip, deflate") -> Request:
    return Request({"type": "http", "headers": [(b"accept-encoding", encoding.encode())]})


def content(body: Bodies, key: object, fields: dict[str, object], last: dict[str, object]) -> object:
    made = [body.response(request(way), "a", key, lambda: fields, last) for way in ("gzip", "identity")]
    assert [one.headers.get("content-encoding") for one in made] == ["gzip", None]
    packed, plain = (bytes(one.body) for one in made)
    assert gzip.decompress(packed) == plain
    return json.loads(plain)


def notice(text: str) -> Notice:
    return Notice(seq=1, at=2.0, study="s", text=text)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "größe", "none": None, "bad": math.inf, "empty": (), "list": [1, 2]},
        {"trials": (notice("a"), notice("b")), "words": ("--api-key", "x")},
        {"trials": tuple(notice(str(n)) for n in range(2000))},
    ],
)
def test_a_body_is_the_json_of_its_fields(fields: dict[str, object]) -> None:
    expected = plain_data(fields) | {"read_at": 1.5}
    if "words" in expected:
        expected["words"] = ["--api-key", "***"]
    assert content(Bodies(), 1, fields, {"read_at": 1.5}) == expected


class Row(FrozenModel):
    """Like a row of a page."""

    number: int
    text: str
    values: Mapping[str, float | str]
    inner: "Row | None" = None


def test_rows_are_written_without_a_copy_of_their_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study has thousands; only those with numbers that JSON does not have are converted first."""
    converted = list[object]()

    def noted(data: object) -> object:
        converted.append(data)
        return plain_data(data)

    rows = [
        Row(number=1, text="größe HF_TOKEN=hf_abcdefABCDEF12", values={"api_key": "abc", "x": 1.0}),
        Row(number=2, text="NaN", values={"x": 0.1}),
        Row(number=3, text="", values={}, inner=Row(number=4, text="--password=hunter2", values={"y": math.inf})),
        *(Row(number=n, text="a", values={"x": n / 3}) for n in range(10, 1000)),
    ]
    expected = [clean(plain_data(row)) for row in rows]
    monkeypatch.setattr("autotuner.server.documents.plain_data", noted)
    assert content(Bodies(), 1, {"rows": tuple(rows)}, {"at": 1}) == {"rows": expected, "at": 1}
    assert "hunter2" not in json.dumps(expected)
    assert [one for one in converted if isinstance(one, Row)] == [rows[1], clean_model(rows[2])]


def test_a_body_is_made_again_if_what_it_was_made_from_changes() -> None:
    bodies = Bodies()
    assert content(bodies, 1, {"a": 1}, {"at": 1}) == {"a": 1, "at": 1}
    assert content(bodies, 1, {"a": 2}, {"at": 2}) == {"a": 1, "at": 2}
    assert content(bodies, 2, {"a": 3}, {"at": 3}) == {"a": 3, "at": 3}


def test_bodies_read_least_recently_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autotuner.server.documents._MOST_BODIES", 1)
    bodies = Bodies()
    made = list[str]()
    for name in ("a", "b", "b", "a"):
        bodies.response(request(), name, 1, lambda name=name: made.append(name) or {"x": 1}, {"y": 1})  # type: ignore[misc]
    assert made == ["a", "b", "a"]


def test_entries_of_a_page_are_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Entries()
    items = (notice("a"), notice("b"))
    page = Page(items=items, total=7, offset=2)
    first = entries.page(page).body
    assert json.loads(bytes(first)) == {"items": [plain_data(one) for one in items], "total": 7, "offset": 2}
    monkeypatch.setattr("autotuner.server.documents.compact_json", lambda _: pytest.fail("written again"))
    assert entries.page(page).body == first
    assert json.loads(bytes(entries.page(Page(items=(), total=0, offset=0)).body)) == {
        "items": [],
        "total": 0,
        "offset": 0,
    }
