"""Examples in the docstrings of public functions, run as doctests."""

import asyncio
import doctest
from importlib import import_module
from pathlib import Path

import anyio
import pytest

import autotuner

MODULES = (
    "access",
    "client",
    "demo",
    "operations",
    "queued_studies",
    "setup",
    "stored",
    "study_input",
    "webhooks.webhooks",
)


def examples() -> dict[str, doctest.DocTest]:
    """The examples by the name of what they are about."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [import_module(f"autotuner.api.{name}") for name in MODULES]
    modules.append(import_module("autotuner.report.result"))
    found = [case for module in modules for case in finder.find(module)]
    return {case.name.removeprefix("autotuner."): case for case in found if case.examples}


@pytest.mark.parametrize("name", examples())
def test_the_example_is_true(name: str, stored: str, study_file: Path, server_url: str) -> None:
    case = examples()[name]
    if "polars" in (case.docstring or ""):
        pytest.importorskip("polars")
    case.globs = {"autotuner": autotuner, "anyio": anyio, "asyncio": asyncio, "url": server_url}
    output = list[str]()
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    failed, tried = runner.run(case, out=output.append)
    assert tried
    assert failed == 0, "".join(output)
