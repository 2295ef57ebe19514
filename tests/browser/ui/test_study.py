"""The page of a study, and those of its trials and its winner."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from support.web.server import Server

Open = Callable[..., Page]
NUMBERS = """() => [...document.querySelectorAll("data")].map(e => [e.dataset.json, e.value, e.textContent])"""


def printed(server: Server, *words: str) -> Any:
    """The JSON that the command line prints."""
    return json.loads(stdout(server, "show", *words, "--json"))


def stdout(server: Server, *words: str) -> str:
    """What a command prints."""
    environment = {**os.environ, "AUTOTUNER_HOME": str(server.home)}
    command = [sys.executable, "-m", "autotuner", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment).stdout


def at(data: Any, path: str) -> Any:
    """The value at ``trials.3.verdict``."""
    for part in path.split("."):
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data


def wrong_numbers(page: Page, data: Any) -> list[Any]:
    """Numbers of a page that differ from the JSON, or that say nothing of their place in it."""
    found = page.evaluate(NUMBERS)
    assert len(found) > 1
    return [[path, value, text] for path, value, text in found if not path or float(value) != at(data, path)]


@pytest.mark.parametrize("name", ["chat-8b", "chat-both", "chat-broken", "chat-strict"])
def test_every_number_of_a_study_is_that_of_the_json(opened: Open, server: Server, name: str) -> None:
    page = opened(f"/studies/{name}?all=true&repeats=true")
    page.locator("tbody tr").first.wait_for()
    assert wrong_numbers(page, printed(server, name)) == []


@pytest.mark.parametrize(("name", "number"), [("chat-8b", 12), ("chat-8b", 0), ("chat-broken", 3)])
def test_every_number_of_a_trial_is_that_of_the_json(opened: Open, server: Server, name: str, number: int) -> None:
    page = opened(f"/studies/{name}/trials/{number}")
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
