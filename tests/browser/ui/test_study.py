"""The page of a study, and those of its trials and its winner."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from support.web.numbers import wrong_numbers
from support.web.server import Server

Open = Callable[..., Page]


def printed(server: Server, *words: str) -> Any:
    """The JSON that the command line prints."""
    return json.loads(stdout(server, "show", *words, "--json"))


def stdout(server: Server, *words: str) -> str:
    """What a command prints."""
    environment = {**os.environ, "AUTOTUNER_HOME": str(server.home)}
    command = [sys.executable, "-m", "autotuner", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment).stdout


@pytest.mark.parametrize("name", ["chat-8b", "chat-both", "chat-broken", "chat-strict"])
def test_every_number_of_a_study_is_that_of_the_json(opened: Open, server: Server, name: str) -> None:
    page = opened(f"/studies/{name}?all=true&repeats=true")
    page.locator("tbody tr").first.wait_for()
    assert wrong_numbers(page, printed(server, name)) == []


@pytest.mark.parametrize(("name", "number"), [("chat-8b", 12), ("chat-8b", 0), ("chat-broken", 3)])
def test_every_number_of_a_trial_is_that_of_the_json(opened: Open, server: Server, name: str, number: int) -> None:
    page = opened(f"/studies/{name}/trials/{number}")
    if name == "chat-8b":
        page.locator(".latencies .percentile").first.wait_for()
        page.get_by_role("region", name="Over time").locator(".sampled").first.wait_for()
    assert wrong_numbers(page, printed(server, name, str(number))) == []


def test_the_answer_is_that_of_the_command_line(opened: Open, server: Server) -> None:
    page = opened("/studies/chat-8b")
    headline = printed(server, "chat-8b")["headline"]
    assert page.locator(".sentence").text_content() == headline[0].upper() + headline[1:]


def trials(page: Page) -> list[int]:
    rows = page.get_by_role("region", name="Trials of this study").locator("tbody tr td:nth-child(2)")
    return [int(text) for text in rows.all_text_contents() if text]


def test_sorting_filtering_and_columns_are_in_the_address(opened: Open) -> None:
    page = opened("/studies/chat-8b")
    page.get_by_role("button", name="vs default").click()
    page.wait_for_url("**sort=-change-0*")
    assert trials(page)[0] == 13
    page.get_by_label("Outcome").select_option("SLOs missed")
    page.wait_for_url("**outcome=SLOs*")
    assert set(trials(page)) == {1, 2, 5, 10, 13}
    page.get_by_role("checkbox", name="Repeats").check()
    page.reload()
    page.locator("tbody tr").first.wait_for()
    assert trials(page)[0] == 13
    assert page.get_by_role("checkbox", name="Repeats").is_checked()


def test_only_parameters_that_differ_are_columns(opened: Open) -> None:
    page = opened("/studies/chat-8b?pick=1.13")
    heads = page.get_by_role("region", name="Trials of this study").get_by_role("columnheader")
    assert "flash-attn" not in " ".join(heads.all_text_contents())
    page.get_by_label("Only differences").uncheck()
    page.wait_for_url("**all=true*")
    assert "flash-attn" in " ".join(heads.all_text_contents())


def test_brushing_a_plot_picks_trials_in_table_and_plots(opened: Open) -> None:
    page = opened("/studies/chat-8b")
    plot = page.get_by_role("region", name="History").locator("svg.plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] - 45, steps=4)
    page.mouse.up()
    page.wait_for_url("**pick=*")
    picked = set(trials(page))
    assert picked
    assert picked < set(range(14))
    assert page.locator("path.mark.weak").count() > 0
    page.get_by_role("button", name="Clear selection").click()
    page.locator("path.mark.weak").first.wait_for(state="detached")


def test_ranges_on_axes_pick_trials(opened: Open, server: Server) -> None:
    of = {t["number"]: t["configuration"]["values"] for t in printed(server, "chat-8b")["trials"] if not t["block"]}
    page = opened("/studies/chat-8b")
    axis = page.get_by_role("slider", name="Range of parallel")
    axis.press("ArrowDown")
    page.wait_for_url("**pick=*")
    expect(axis).to_have_attribute("aria-valuetext", "16")
    picked = set(trials(page))
    assert picked == {n for n, values in of.items() if values.get("parallel") == 16 and n < 14} != set()
    assert page.locator("path.mark.weak").count() > 0
    axis.press("Shift+ArrowDown")
    page.wait_for_function("n => document.querySelectorAll('.trials tbody tr').length > n", arg=len(picked))
    assert set(trials(page)) == {n for n, values in of.items() if values.get("parallel") in {8, 16} and n < 14}
    axis.press("Escape")
    page.locator("path.mark.weak").first.wait_for(state="detached")
    box = page.get_by_role("slider", name="Range of flash-attn").bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 3, steps=3)
    page.mouse.up()
    page.wait_for_url("**pick=*")
    assert set(trials(page)) == {n for n, values in of.items() if values.get("flash-attn") is True and n < 14}
    page.get_by_role("button", name="Clear selection").click()
    page.locator(".parallel .brush").wait_for(state="detached")


def test_trials_are_compared_with_each_other_and_with_another_study(opened: Open, server: Server) -> None:
    page = opened("/studies/chat-8b?pick=12.13")
    page.get_by_role("link", name="Compare 2").click()
    page.get_by_role("heading", name="Compare trials").wait_for()
    page.get_by_label("Add a trial").select_option("0")
    page.wait_for_url("**trials=12%2C13%2C0*")
    settings = page.get_by_role("region", name="Differences of configuration").locator("tbody th")
    settings.first.wait_for()
    assert settings.all_text_contents() == ["--parallel", "--ubatch-size", "--flash-attn"]
    page.get_by_role("region", name="Latencies").locator(".cdf").nth(5).wait_for()
    page.get_by_text("not measured at this load: trial 13").wait_for()
    data = printed(server, "chat-8b")
    assert wrong_numbers(page, data) == []
    values = [t["measurements"][-1]["scalars"]["output_throughput"] for t in data["trials"][12:14]]
    row = page.get_by_role("row", name="output throughput").first
    assert f"{(values[1] / values[0] - 1) * 100:+.0f}%" in (row.text_content() or "")
    page.get_by_role("button", name="Remove trial 13").click()
    page.wait_for_url("**trials=12%2C0*")
    page.get_by_label("With the study").select_option("chat-both")
    page.get_by_role("heading", name="Compare chat-8b with chat-both").wait_for()
    page.get_by_role("region", name="Both studies").wait_for()
    assert page.get_by_role("alert").count() == 0
    page.get_by_role("region", name="Figures side by side").locator("tbody tr").nth(3).wait_for()
    assert wrong_numbers(page, data, printed(server, "chat-both")) == []
    page.goto(f"{server.url}/studies/chat-8b/compare?trials=0,999")
    page.get_by_text("chat-8b has no trial 999.").wait_for()


def test_pointing_at_a_row_lights_the_trial_in_plots_and_back(opened: Open) -> None:
    page = opened("/studies/chat-8b")
    region = page.get_by_role("region", name="Trials of this study")
    region.get_by_role("link", name="13", exact=True).focus()
    page.locator("svg .lit text", has_text="trial 13").first.wait_for()
    best = page.get_by_role("region", name="History").locator("svg.plot path.mark.best")
    best.scroll_into_view_if_needed()
    mark = best.bounding_box()
    assert mark is not None
    page.mouse.move(mark["x"] + mark["width"] / 2, mark["y"] + mark["height"] / 2)
    page.locator("tr.lit", has_text="winner").wait_for()


def test_a_trial_opens_from_the_table_with_its_log(opened: Open) -> None:
    page = opened("/studies/chat-8b")
    page.get_by_role("region", name="Trials of this study").get_by_role("link", name="12", exact=True).click()
    page.get_by_role("heading", name="Trial 12").wait_for()
    page.get_by_text("an error happened").wait_for()
    page.get_by_label("Find in the log").fill("ERROR")
    page.get_by_text("1 of 200 lines").wait_for()
    page.get_by_role("link", name="next").click()
    page.get_by_role("heading", name="Trial 13").wait_for()


def test_a_failure_has_cause_and_remedy(opened: Open, server: Server) -> None:
    failed = next(t for t in printed(server, "chat-broken")["trials"] if t["failure"] and t["failure"]["remedy"])
    page = opened(f"/studies/chat-broken/trials/{failed['number']}")
    region = page.get_by_role("region", name="Failure")
    assert failed["failure"]["message"] in (region.text_content() or "")
    assert failed["failure"]["remedy"] in (region.text_content() or "")


def test_the_winner_is_copied_as_the_command_line_prints_it(opened: Open, server: Server) -> None:
    page = opened("/studies/chat-8b/winner")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy Command").click()
    page.get_by_role("button", name="Copied Command").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == stdout(server, "best", "chat-8b")


def test_a_manifest_says_what_is_missing_and_takes_it(opened: Open, messages: list[str]) -> None:
    page = opened("/studies/chat-8b/winner")
    page.get_by_role("radio", name="Kubernetes").check()
    page.get_by_label("Image").fill("registry.example/llama:1")
    page.get_by_text("kind: Deployment").wait_for()
    messages[:] = [m for m in messages if "422" not in m]


def test_a_capacity_has_its_curve_and_its_certificate(opened: Open, server: Server) -> None:
    data = printed(server, "chat-capacity")
    found = data["trials"][1]["capacities"][0]
    assert found["certified"] is not None
    page = opened("/studies/chat-capacity")
    curve = page.get_by_role("region", name="Figures over the load")
    curve.locator(".curve.best circle").first.wait_for()
    states = {level["decision"]["state"] for level in found["levels"]}
    assert {"certified", "refuted"} <= states
    for state in states - {"saturated"}:
        assert curve.locator(f".curve.best circle.{state}").count() > 0
    certificate = page.get_by_role("region", name="Certificate")
    levels = certificate.locator("tbody tr")
    assert levels.count() == len(found["levels"])
    certificate.get_by_text("with 80% confidence").wait_for()
    refuting = {
        level["plan"]["bounds"][level["decision"]["decided_by"]]["slo"]
        for level in found["levels"]
        if level["decision"]["state"] == "refuted"
    }
    assert all(slo in (certificate.text_content() or "") for slo in refuting)
    assert wrong_numbers(page, data) == []
    certificate.get_by_role("combobox").select_option("2")
    certificate.get_by_text("No load certified: budget used").wait_for()
    assert wrong_numbers(page, data) == []
    page = opened("/studies/chat-capacity/trials/1")
    latencies = page.get_by_role("region", name="Latencies", exact=True)
    latencies.locator(".percentile").first.wait_for()
    assert "certified" in (latencies.get_by_role("combobox").locator("option:checked").text_content() or "")
    page.get_by_role("region", name="Capacity of D(10,2)").locator("tbody tr").first.wait_for()
    assert wrong_numbers(page, printed(server, "chat-capacity", "1")) == []


@pytest.mark.parametrize("name", ["chat-huge"])
def test_a_large_study_draws_only_rows_in_view(opened: Open, name: str) -> None:
    page = opened(f"/studies/{name}")
    region = page.get_by_role("region", name="Trials of this study")
    region.locator("tbody tr").first.wait_for()
    assert region.locator("tbody tr").count() < 120
    region.evaluate("box => box.scrollTo(0, box.scrollHeight)")
    page.wait_for_function(
        "box => box.querySelector('tbody').textContent.includes('SLOs missed')", arg=region.element_handle()
    )


_ORDER = """
() => {
  window.order = [];
  const wanted = {rows: "main tbody tr", marks: "main svg.plot path.mark"};
  const look = () => {
    for (const [name, selector] of Object.entries(wanted))
      if (!window.order.includes(name) && document.querySelector(selector)) window.order.push(name);
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
}
"""


@pytest.mark.parametrize(
    ("path", "data"),
    [("/studies/chat-huge", "/api/v1/studies/chat-huge/details"), ("/studies", "/api/v1/study-rows?limit=50&offset=0")],
)
def test_a_page_asks_once_for_its_data_and_at_once(opened: Open, server: Server, path: str, data: str) -> None:
    page = opened("/doctor")
    page.get_by_role("heading", name="Doctor").wait_for()
    page.add_init_script(f"({_ORDER})()")
    asked = list[str]()
    page.on("request", lambda request: asked.append(request.url.removeprefix(server.url)))
    page.goto(f"{server.url}{path}")
    page.locator("main tbody tr").first.wait_for()
    assert asked.count(data) == 1
    assert asked.index(data) < asked.index("/api/v1/session")
    if path != "/studies":
        page.locator("main svg.plot path.mark").first.wait_for()
        assert page.evaluate("() => window.order") == ["rows", "marks"]
