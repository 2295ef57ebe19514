"""The Markdown report: the figures of the other outputs, and no markup from what others wrote."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.report.documents.markdown import code, rows, text
from autotuner.report.headline import headline
from autotuner.report.result import StudyResult
from autotuner.testing.samples import SampleKind
from support.web.reports import report_text

Sampled = Callable[[str], StudyResult]


@pytest.mark.parametrize("kind", SampleKind)
def test_every_kind_begins_with_its_answer_and_ends_with_its_file(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    lines = report_text(result).splitlines()
    assert lines[0].startswith(f"# Tuning report: {result.spec.name} (")
    answer = headline(result)
    assert f"**{text(answer[:1].upper() + answer[1:])}**" in lines
    assert lines[-1] == "```"
    assert f"name: {result.spec.name}" in lines


def test_tables_have_as_many_cells_as_heads(sampled: Sampled) -> None:
    for kind in ("winner", "several", "failures", "gpus", "huge"):
        tables = re.findall(r"(?:^\|.*\|\n)+", report_text(sampled(kind)), re.MULTILINE)
        assert len(tables) > 1
        for table in tables:
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_a_comment_on_a_pull_request_can_hold_it(sampled: Sampled) -> None:
    assert len(report_text(sampled("huge"))) < 65_536


@given(st.text())
def test_texts_stay_texts(given_text: str) -> None:
    written = text(given_text)
    assert "\n" not in written
    assert "<" not in written
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*\[\]|]", written)


@given(st.text(alphabet="`a\n"))
def test_no_text_ends_its_block_of_code(given_text: str) -> None:
    first, *inside, last = code(given_text).split("\n")
    assert first == last
    assert "\n".join(inside) == given_text
    assert all(first not in line for line in inside)


def test_a_cell_cannot_make_cells() -> None:
    assert rows(["a", "b"], [["x | y", "z\n|"]]).splitlines()[2] == r"| x \| y | z \| |"
