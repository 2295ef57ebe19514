"""The report opened as a file in a real browser."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from autotuner.report.html.page import html_report
from autotuner.report.result import study_result
from autotuner.study.failure import Failure, FailureCause
from autotuner.testing.samples import SampleKind, StudyMaker, configuration, sample_spec, sample_study

Open = Callable[..., Page]
KINDS = ("winner", "infeasible", "failures", "several", "empty", "huge")
READABLE = 4.5
"""Minimum contrast of text at level AA of WCAG 2.2."""
ATTACK = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"

CONTRASTS = """() => {
  const parse = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color[3] === 1) return color;
    }
    return parse(getComputedStyle(document.body).backgroundColor);
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!words || element.closest("script, desc, title") || !element.checkVisibility()) continue;
    const svg = element instanceof SVGElement;
    const color = parse(getComputedStyle(element)[svg ? "fill" : "color"]);
    const pair = [light(color), light(behind(svg ? element.closest("figure, ul") : element))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), element.tagName + " " + element.textContent.slice(0, 40)]);
  }
  return found;
}"""


@pytest.fixture
def console() -> list[str]:
    """Console messages of pages, and addresses that they requested."""
    return []


@pytest.fixture
def opened(browser: Browser, tmp_path: Path, console: list[str]) -> Iterator[Open]:
    """Opens a report; finally checks that it wrote nothing to the console and requested nothing."""
    contexts = []

    def open_page(text: str, *, width: int = 1280, scheme: str = "light", script: bool = True) -> Page:
        file = tmp_path / "report.html"
        file.write_text(text)
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            java_script_enabled=script,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: console.append(message.text))
        page.on("pageerror", lambda error: console.append(str(error)))
        page.on("request", lambda request: console.append(request.url) if request.url != file.as_uri() else None)
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert console == []


def report(kind: str) -> str:
    sample = sample_study(SampleKind(kind))
    return html_report(study_result(sample.spec, sample.state, sample.trials, why=sample.why))


def test_copy_button_copies_the_exact_command(opened: Open) -> None:
    sample = sample_study("winner")
    result = study_result(sample.spec, sample.state, sample.trials)
    page = opened(html_report(result))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert tuple(shlex.split(page.evaluate("navigator.clipboard.readText()"))) == result.command


def test_without_a_clipboard_the_command_is_selected(opened: Open) -> None:
    page = opened(report("winner"))
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").or_(page.get_by_role("button", name="Press Ctrl+C")).wait_for()
    assert page.evaluate("getSelection().toString()") == page.locator("#command").text_content()


def test_page_is_complete_without_scripts_and_has_no_dead_button(opened: Open) -> None:
    page = opened(report("winner"), script=False)
    assert not page.locator("button").is_visible()
    assert page.locator("#command").is_visible()
    assert page.locator("figure svg[role=img]").first.is_visible()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(opened: Open, kind: str, width: int) -> None:
    page = opened(report(kind), width=width)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = """width => [...document.querySelectorAll('body *')]
        .filter(e => !e.closest('.scroll, .plot, pre, .skip') && e.getBoundingClientRect().right > width + 1)
        .map(e => e.outerHTML.slice(0, 80))"""
    assert page.evaluate(outside, width) == []


@pytest.mark.parametrize("kind", ["winner", "failures", "several", "infeasible"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_in_light_and_dark(opened: Open, kind: str, scheme: str) -> None:
    page = opened(report(kind), scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 100
    assert [pair for pair in found if pair[0] < READABLE] == []


def test_wide_content_can_be_scrolled_by_keyboard(opened: Open) -> None:
    page = opened(report("winner"), width=390)
    box = page.get_by_role("region", name="All trials in order")
    box.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("box => box.scrollLeft > 0 || box.scrollTop > 0", arg=box.element_handle())


def test_hostile_data_do_nothing(opened: Open) -> None:
    spec = sample_spec(space={"note": (ATTACK, "b")})
    maker = StudyMaker(spec.model_copy(update={"name": ATTACK}))
    maker.measured()
    failure = Failure(cause=FailureCause.CRASH_LOADING, message=ATTACK, remedy=ATTACK, log_tail=ATTACK)
    maker.failed(configuration(note=ATTACK), failure)
    maker.proof(maker.measured(configuration(note=ATTACK)))
    page = opened(html_report(study_result(maker.spec, "stopped", maker.trials, why=ATTACK)))
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert ATTACK in (page.locator("h1").text_content() or "")


def test_injected_markup_would_not_run(opened: Open, console: list[str]) -> None:
    """The policy alone keeps an element that gets into the page from loading or running anything."""
    page = opened(report("empty"))
    refused = page.evaluate(
        """() => new Promise(done => {
          document.addEventListener('securitypolicyviolation', e => done(e.effectiveDirective), {once: true});
          const script = document.createElement('script');
          script.textContent = 'window.hacked = 1';
          document.body.append(script);
        })"""
    )
    assert refused.startswith("script-src")
    assert page.evaluate("window.hacked") is None
    page.wait_for_timeout(0)
    assert ["Content Security Policy" in text for text in console] == [True]
    console.clear()
