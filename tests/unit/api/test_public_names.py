"""Public names of the package: equal at run time, for type checkers and on the page, and their types."""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import autotuner
from autotuner.api import shorthands

ROOT = Path(__file__).parents[3]
STUB = ROOT / "src/autotuner/__init__.pyi"
PAGE = ROOT / "docs/reference/python-api.md"
PUBLIC = [name for name in autotuner.__all__ if name != "__version__"]


def test_every_public_name_exists() -> None:
    assert autotuner.__all__ == ["__version__", *sorted(PUBLIC)]
    assert dir(autotuner) == sorted(autotuner.__all__)
    for name in autotuner.__all__:
        assert getattr(autotuner, name) is not None


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(STUB.read_text())
    imported = {
        alias.asname: getattr(import_module(node.module or ""), alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(imported) == set(PUBLIC)
    assert {name for name in PUBLIC if imported[name] is not getattr(autotuner, name)} == set()
    (exported,) = (n.value for n in tree.body if isinstance(n, ast.Assign))
    assert sorted(ast.literal_eval(exported)) == sorted(autotuner.__all__)


def test_the_page_has_exactly_the_public_names() -> None:
    page = PAGE.read_text()
    assert [name for name in autotuner.__all__ if not re.search(rf"`{name}[`(]", page)] == []
    used = set(re.findall(r"\bautotuner\.(\w+)", page)) - {"api", "errors"}
    assert used <= set(autotuner.__all__)


def test_no_name_hides_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(autotuner.__path__)}
    assert modules & set(autotuner.__all__) == set()


def test_shorthands_are_the_methods_of_a_client() -> None:
    for name, function in vars(shorthands).items():
        if not name.startswith("_") and inspect.ismethod(function):
            assert isinstance(function.__self__, autotuner.Autotuner)
            assert name in autotuner.__all__


@pytest.mark.parametrize(
    ("earlier", "arguments", "now"),
    [("studies", (), "list_studies"), ("result", ("chat-8b",), "load_result")],
)
def test_earlier_names_still_work(earlier: str, arguments: tuple[str, ...], now: str, stored: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"autotuner\.{now}"):
        found = getattr(autotuner, earlier)(*arguments)
    assert found == getattr(autotuner, now)(*arguments)


def test_earlier_names_take_the_store_as_they_did(stored: str, home: Path) -> None:
    with pytest.warns(DeprecationWarning, match=r"autotuner\.open"):
        found = autotuner.studies(store_url=f"sqlite:///{home}/autotuner.db")  # type: ignore[attr-defined]
    assert [record.name for record in found] == [stored]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="tunes"):
        _ = autotuner.tunes  # type: ignore[attr-defined]


SCRIPT = """\
import autotuner

reveal_type(autotuner.tune("study.yaml"))
autotuner.tune(42)
autotuner.tune("study.yaml", nonsense=True)
autotuner.tune("study.yaml", on_event=lambda event: print(event.seq, event.trail))
reveal_type(autotuner.open("sqlite://").load("chat-8b").winner)
autotuner.render_manifest("chat-8b", "kubernets")
autotuner.render_manifest("chat-8b", "kubernetes", imgae="x")
try:
    autotuner.tunes()
except autotuner.UsageError as error:
    reveal_type(error.problems)
"""


def test_a_type_checker_finds_wrong_arguments_in_a_program(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SCRIPT)
    # With the project's settings, because the package has been read with these: reading it again takes 40 s.
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    errors = dict(re.findall(r"program\.py:(\d+): error: .*\[([a-z-]+)\]$", checked.stdout, re.MULTILINE))
    assert errors == {
        "4": "arg-type",
        "5": "call-arg",
        "6": "union-attr",
        "8": "arg-type",
        "9": "call-arg",
        "11": "attr-defined",
    }, checked.stdout
    types = dict(re.findall(r'program\.py:(\d+): note: Revealed type is "(.*)"$', checked.stdout, re.MULTILINE))
    assert types == {
        "3": "autotuner.report.result.StudyResult",
        "7": "autotuner.study.trial.Trial | None",
        "13": "tuple[autotuner.errors.Problem, ...]",
    }


def documented() -> dict[str, Any]:
    """Every public function, and every public method of a class that does something."""
    found = {name: getattr(autotuner, name) for name in PUBLIC if inspect.isroutine(getattr(autotuner, name))}
    for cls in (autotuner.Autotuner, autotuner.StudyResult):
        for name, method in inspect.getmembers(cls, inspect.isfunction):
            if not name.startswith("_") and method.__module__.startswith(("autotuner.api", "autotuner.report")):
                found[f"{cls.__name__}.{name}"] = method
    return found


@pytest.mark.parametrize("name", documented())
def test_every_function_documents_arguments_result_errors_and_an_example(name: str) -> None:
    function = documented()[name]
    text = inspect.getdoc(function) or ""
    signature = inspect.signature(function)
    sections = set(re.findall(r"^(Args|Returns|Raises|Example):$", text, re.MULTILINE))
    arguments = [p for p in signature.parameters if p != "self"]
    expected = {"Example"} | ({"Raises"} if name != "study_schema" else set()) | ({"Args"} if arguments else set())
    if signature.return_annotation not in {None, "None"}:
        expected.add("Returns")
    assert sections == expected
    described = text.partition("Args:")[2].partition("\n\n")[0]
    twin = name.endswith("tune_async")  # refers to tune for the rest
    assert [p for p in arguments if not re.search(rf"^ +\**{p}:", described, re.MULTILINE)] == [] or twin
