"""The report opened as a file in a real browser that has no network."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

import autotuner
from autotuner.report.documents.page import is_built
from autotuner.report.exports import plain_data
from autotuner.report.result import StudyResult, study_result
from autotuner.report.trial_data import trial_data
from autotuner.store import Store
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.spec import Model, PluginSpec
from autotuner.testing.samples import StudyMaker, configuration, sample_spec
from support.stored_samples import store_sample
from support.web.capacity_study import store_capacity_study
from support.web.numbers import wrong_numbers
from support.web.server import violations

pytestmark = pytest.mark.skipif(not is_built(), reason="the web UI is not built (make ui)")

Open = Callable[..., Page]
ATTACK = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>\u2028`${window.hacked=1}`"
OUTSIDE = """width => [...document.querySelectorAll('body *')]
    .filter(e => !e.closest('.scroll, pre, svg, .hidden, .skip') && e.getBoundingClientRect().right > width + 1)
    .map(e => e.outerHTML.slice(0, 120))"""
CUT_OFF = """() => [...document.querySelectorAll('.scroll, table, svg')]
    .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1
        || e.matches('.scroll') && getComputedStyle(e).overflow !== 'visible')
    .map(e => e.outerHTML.slice(0, 120))"""
A4_PX = 703
"""Width of the text on a sheet of A4, at 96 pixels per inch."""
SECTIONS = {
    "chat-8b": {"use", "comparison", "proof", "caveats", "search", "latencies", "parameters", "trials", "timeline"},
    "chat-both": {"use", "comparison", "proof", "search", "parameters", "trials"},
    "chat-broken": {"failures", "trials", "caveats"},
    "chat-capacity": {"capacity", "trials"},
    "chat-new": {"reproduce"},
}
"""Sections that the report of a study must have."""


CONTAINERS = PluginSpec.model_validate(
    {"kind": "docker", "image": "registry.example/llama:1", "model_roots": ["/models"]}
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the reports of sample studies."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNER_HOME", str(home))
        for kind in ("winner", "several", "failures", "empty"):
            store_sample(kind, recorded=(0, 12) if kind == "winner" else None)
        store_capacity_study()
        with Store.open() as store:  # of a study in containers, the report has manifests
            spec = autotuner.open().study("chat-both").spec.model_copy(update={"deploy": CONTAINERS})
            store.studies.update_spec("chat-both", spec, digest=spec.digest, source="study.yaml")
        folder = tmp_path_factory.mktemp("reports")
        for name in SECTIONS:
            autotuner.write_report(name, folder / f"{name}.html")
        yield folder


@pytest.fixture
def messages() -> list[str]:
    """Errors in the console, and requests of the page."""
    return []


@pytest.fixture
def opened(reports: Path, browser: Browser, messages: list[str]) -> Iterator[Open]:
    """Opens a report; finally checks that it wrote no error to the console and requested nothing."""
    contexts = list[BrowserContext]()

    def open_page(file: Path, *, width: int = 1280, scripts: bool = True) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts)
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.on("console", lambda m: messages.append(m.text) if m.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(file.as_uri()) else messages.append(r.url))
        page.goto(file.as_uri())
        if scripts:
            page.locator("main h1").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert messages == []


def stored(name: str) -> Any:
    """What ``show --json`` prints."""
    return plain_data(autotuner.load_result(name))


@pytest.mark.parametrize("name", SECTIONS)
def test_a_report_is_complete_accessible_and_printable(opened: Open, reports: Path, name: str) -> None:
    page = opened(reports / f"{name}.html")
    assert {e.get_attribute("id") for e in page.locator(".report-section").all()} >= SECTIONS[name]
    if name == "chat-8b":
        page.locator(".latencies .percentile").first.wait_for()
    if name != "chat-new":
        assert wrong_numbers(page, stored(name)) == []
    for width, scheme in ((360, "light"), (360, "dark"), (1024, "dark"), (1024, "light")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        assert page.evaluate(OUTSIDE, width) == [], width
        assert violations(page) == {}, (width, scheme)
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": A4_PX, "height": 900})
    assert page.evaluate(CUT_OFF) == []
    assert not page.locator(".top, .contents, select, .copyable button").filter(visible=True).count()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    page.emulate_media(media="screen")
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_its_pages_can_be_visited_without_a_server(opened: Open, reports: Path) -> None:
    page = opened(reports / "chat-8b.html")
    page.get_by_role("navigation", name="Contents").get_by_role("link", name="Trials").click()
    page.wait_for_function("document.getElementById('trials').getBoundingClientRect().top < innerHeight")
    page.get_by_role("region", name="Trials of this study").get_by_role("link", name="12", exact=True).click()
    page.locator(".latencies .percentile").first.wait_for()
    page.get_by_role("region", name="Over time").locator(".sampled").first.wait_for()
    result = autotuner.load_result("chat-8b")
    assert wrong_numbers(page, plain_data(trial_data(result, result.trial(12), ()))) == []
    command = trial_data(result, result.trial(12), ())["command"]
    assert page.get_by_role("region", name="Command").locator("pre").text_content() == command
    assert page.get_by_role("region", name="Log").count() == 0
    page.get_by_role("link", name="Compare").click()
    page.get_by_role("region", name="Figures side by side").wait_for()
    assert wrong_numbers(page, stored("chat-8b")) == []
    page.go_back()
    page.go_back()
    page.locator(".sentence").wait_for()
    assert page.locator(".sentence").text_content() == stored("chat-8b")["headline"].replace("best", "Best", 1)


def test_the_manifests_of_a_study_in_containers(opened: Open, reports: Path) -> None:
    page = opened(reports / "chat-both.html")
    manifests = page.get_by_role("region", name="Manifests")
    for title, form in (("Kubernetes", "kubernetes"), ("Compose", "compose")):
        manifests.get_by_role("radio", name=title).check()
        text = autotuner.render_manifest("chat-both", form).text
        manifests.get_by_text(text.splitlines()[-1].strip()).first.wait_for()
        assert manifests.locator("pre").text_content() == text
    assert opened(reports / "chat-8b.html").get_by_role("region", name="Manifests").count() == 0


def test_the_command_can_be_copied(opened: Open, reports: Path) -> None:
    page = opened(reports / "chat-8b.html")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy command", exact=True).click()
    page.get_by_role("button", name="Press Ctrl+C").wait_for()
    selected = page.evaluate("getSelection().toString()")
    assert tuple(shlex.split(selected)) == autotuner.load_result("chat-8b").command


def test_without_scripts_it_is_the_markdown_report(opened: Open, reports: Path) -> None:
    page = opened(reports / "chat-8b.html", scripts=False)
    written = autotuner.write_report("chat-8b", reports / "chat-8b.md", "md").read_text()
    assert page.locator("#root pre").text_content() == written


def attacked() -> StudyResult:
    """A study in which everything that others write carries the attack."""
    spec = sample_spec(space={"note": (ATTACK, "b")})
    maker = StudyMaker(spec.model_copy(update={"name": ATTACK, "model": Model(path=ATTACK)}))
    maker.measured(warnings=(ATTACK,))
    failure = Failure(cause=FailureCause.CRASH_LOADING, message=ATTACK, remedy=ATTACK, log_tail=ATTACK)
    maker.failed(configuration(note=ATTACK), failure)
    maker.proof(maker.measured(configuration(note=ATTACK)))
    return study_result(maker.spec, "stopped", maker.trials, why=ATTACK)


def test_hostile_data_do_nothing(opened: Open, reports: Path, messages: list[str]) -> None:
    page = opened(autotuner.write_report(attacked(), reports / "hostile.html"))
    page.locator("#failures").wait_for()
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("h1").text_content() == ATTACK
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
    assert ["Content Security Policy" in text for text in messages] == [True]
    messages.clear()
