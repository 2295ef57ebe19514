"""Every number on a page against the JSON of the command line."""

from typing import Any

from playwright.sync_api import Page

NUMBERS = """() => [...document.querySelectorAll("data")].map(e => [e.dataset.json, e.value, e.textContent])"""


def at(data: Any, path: str) -> Any:
    """The value at ``trials.3.verdict``."""
    for part in path.split("."):
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data


def wrong_numbers(page: Page, data: Any, other: Any = None) -> list[Any]:
    """Numbers of a page that differ from the JSON, or that say nothing of their place in it.

    Args:
        page: The page.
        data: The JSON of its study or trial.
        other: That of another study, whose numbers name it before a colon.
    """
    found = page.evaluate(NUMBERS)
    assert len(found) > 1

    def expected(path: str) -> Any:
        study, _, rest = path.rpartition(":")
        return at(other if study else data, rest)

    return [[path, value, text] for path, value, text in found if not path or float(value) != expected(path)]
