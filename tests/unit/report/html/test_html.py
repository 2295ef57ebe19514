"""The report page: well formed, self-contained and safe against hostile data, for every kind of study."""

import base64
import hashlib
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import autotuner
from autotuner.report.analysis import Comparison
from autotuner.report.html.markup import VOID
from autotuner.report.html.page import html_report
from autotuner.report.html.sections import comparison_section
from autotuner.report.result import StudyResult
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.spec import EngineSpec, Model
from autotuner.testing.samples import Sample, SampleKind, StudyMaker, configuration, sample_spec

Sampled = Callable[[str], StudyResult]
Made = Callable[[Sample], StudyResult]

ATTACKS = (
    "<script>window.hacked=1</script>",
    "</script><script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "</title><svg onload=window.hacked=1>",
    "</pre></details><iframe src=javascript:window.hacked=1>",
    "<!--",
    "]]><style>*{display:none}</style>",
    "javascript:window.hacked=1",
    "&lt;script&gt;",
)


class Page(HTMLParser):
    """Reads a page and insists that its elements are nested."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.problems: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len(dict(attrs)) != len(attrs):
            self.problems.append(f"<{tag}> has an attribute twice")
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def handle_comment(self, data: str) -> None:
        self.problems.append(f"comment {data}")

    @property
    def text(self) -> str:
        return "".join(part for parts in self.texts.values() for part in parts)


def attributes(page: Page, name: str) -> list[str | None]:
    return [values[name] for _, values in page.elements if name in values]


def attacked(attack: str) -> Sample:
    """A study in which everything that others write carries the attack."""
    spec = sample_spec(space={"note": (attack, "b"), "parallel": (4, 8)})
    spec = spec.model_copy(
        update={"model": Model(path=attack), "engine": EngineSpec(kind="llama_cpp", env={"X": attack}), "name": attack}
    )
    maker = StudyMaker(spec)
    maker.measured(warnings=(attack,))
    maker.failed(
        configuration(note=attack),
        Failure(cause=FailureCause.CRASH_LOADING, message=attack, remedy=attack, log_tail=f"a\n{attack}\x00\x1b[31m"),
    )
    maker.proof(maker.measured(configuration(note=attack, parallel=8)))
    return maker.sample(why=attack, state="stopped")


@pytest.mark.parametrize("kind", SampleKind)
def test_page_is_well_formed(sampled: Sampled, kind: SampleKind) -> None:
    page = Page(html_report(sampled(kind.value)))
    assert page.problems == []
    assert page.open == []
    ids = [value for value in attributes(page, "id") if value]
    assert len(ids) == len(set(ids))
    for name in ("aria-labelledby", "href"):
        for value in attributes(page, name):
            assert all(part.removeprefix("#") in ids for part in (value or "").split())


@pytest.mark.parametrize("kind", SampleKind)
def test_page_loads_nothing(sampled: Sampled, kind: SampleKind) -> None:
    text = html_report(sampled(kind.value))
    page = Page(text)
    assert not attributes(page, "src")
    assert not attributes(page, "action")
    assert not {"link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.elements}
    assert all((value or "").startswith("#") for value in attributes(page, "href"))
    assert not re.search(r"https?://|url\(|@import", text)


@pytest.mark.parametrize("kind", ["winner", "empty"])
def test_policy_allows_only_the_pages_style_and_script(sampled: Sampled, kind: str) -> None:
    page = Page(html_report(sampled(kind)))
    policy = next(v["content"] or "" for t, v in page.elements if v.get("http-equiv") == "Content-Security-Policy")
    for tag in ("style", "script"):
        (content,) = page.texts[tag]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert attributes(page, "style") == [], "a style attribute would be refused"
    assert not [name for _, values in page.elements for name in values if name.startswith("on")]


@pytest.mark.parametrize("attack", ATTACKS)
def test_text_of_a_study_stays_text(made: Made, attack: str) -> None:
    harmless = Page(html_report(made(attacked("harmless"))))
    page = Page(html_report(made(attacked(attack))))
    assert page.problems == []
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements], "not one element more"
    assert [list(values) for _, values in page.elements] == [list(values) for _, values in harmless.elements]
    assert page.text.count(attack) >= 8
    assert "\x00" not in page.text
    assert "\x1b" not in page.text


@pytest.mark.parametrize("kind", SampleKind)
def test_answer_comes_first(sampled: Sampled, kind: SampleKind) -> None:
    result = sampled(kind.value)
    page = Page(html_report(result))
    commands = [v for t, v in page.elements if t == "code" and v.get("id") == "command"]
    assert len(commands) == (result.winner is not None)
    text = html_report(result)
    assert text.index('class="answer"') < text.index("<main")
    gains = text.count("<strong>+") + text.count("<strong>-")
    assert gains == sum(g is not None and g.repeats > 1 for g in result.gains) * (result.state == "done")


def test_huge_study_gives_a_small_file(sampled: Sampled) -> None:
    result = sampled("huge")
    text = html_report(result)
    assert len(text) < 2_000_000
    rows = re.search(r"All trials in order</caption>.*?</table>", text, re.DOTALL)
    assert rows is not None
    assert rows[0].count("<tr") == len(result.trials) + 1


def test_external_server_has_no_command_to_copy(sampled: Sampled) -> None:
    assert (
        "data-copy=" not in html_report(sampled("default_best").model_copy(update={"command": ()})).split("<script>")[0]
    )


def test_file_is_written_atomically(sampled: Sampled, tmp_path: Path) -> None:
    path = autotuner.write_report(sampled("winner"), tmp_path / "new" / "report.html")
    assert path.read_text() == html_report(sampled("winner"))
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_table_of_trials_marks_refuted_trials_and_what_to_keep(sampled: Sampled) -> None:
    text = html_report(sampled("refuted"))
    marks = dict(re.findall(r'<tr[^>]*><th scope="row">(\d+)</th><td>([^<]*)</td><td class="set">', text))
    assert (marks["0"], marks["1"], marks["2"]) == ("default, keep", "search, challenger", "search, did not hold up")
    won = dict(re.findall(r'<tr[^>]*><th scope="row">(\d+)</th><td>([^<]*)</td>', html_report(sampled("winner"))))
    assert won["12"] == "search, winner"


def test_a_level_without_figures_is_not_compared(sampled: Sampled) -> None:
    assert comparison_section(sampled("winner"), [Comparison("D(16,8)", "capacity", ())], None) == []
