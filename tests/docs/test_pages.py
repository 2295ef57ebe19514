"""The pages are correct: links resolve, commands are valid, and output is what the program prints."""

import configparser
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import autotuner
from autotuner.cli.main import app
from autotuner.cli.reference import reference
from autotuner.errors import UsageError
from autotuner.study.check import CheckStatus

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
FILES = [*PAGES, *sorted(ROOT.glob("examples/*.yaml"))]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SIMULATOR = re.compile(r"python -m autotuner\.simulator --flavor (sglang|vllm)\b")
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


class Typed(NamedTuple):
    """A command on a page."""

    page: str
    words: tuple[str, ...]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands() -> list[Typed]:
    """Returns commands from indented and shell blocks, inline code, and the first lines of the examples."""
    found = []
    for page in FILES:
        text = page.read_text()
        if page.name != "cli.md":
            shell = "".join(re.findall(r"^```(?:sh|bash|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
            rest = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
            indented = re.findall(r"^    ([a-z.][\w./-]* .*|make)$", rest, re.MULTILINE)
            lines = [*(line for line in indented if "─▶" not in line), *shell.splitlines()]
            lines += re.findall(r"^# ((?:autotuner|make) .*)$", text, re.MULTILINE)
            lines += re.findall(r"`((?:autotuner|make|pip install) [^`]+)`", text.replace("\n", " "))
            split = [tuple(shlex.split(line, comments=True)) for line in lines if not line.startswith("autotuner:")]
            found += [Typed(name_of(page), words) for words in split if words]
    return found


def links() -> list[tuple[str, str]]:
    """Returns (page, target) of every link and image inside the project."""
    found = []
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        targets = re.findall(r"\]\(([^)\s]+)\)", text)
        found += [(name_of(page), t) for t in targets if not re.match(r"[a-z]+:", t)]
    return found


def anchors(page: Path) -> set[str]:
    """Returns the anchors of a page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize(("page", "target"), sorted(set(links())))
def test_links_resolve(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    there = (ROOT / page).parent / path if path else ROOT / page
    assert there.exists()
    assert not anchor or anchor in anchors(there)


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen = set[Path]()
    todo = [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            todo += [((ROOT / p).parent / t.partition("#")[0]).resolve() for p, t in links() if ROOT / p == page]
    assert set(PAGES) - seen - {*ROOT.glob("docs/adr/*.md"), ROOT / "CHANGELOG.md"} == set()


@pytest.mark.parametrize("typed", sorted(set(commands())), ids=lambda t: f"{t.page}: {' '.join(t.words)}"[:80])
def test_commands_are_valid(typed: Typed) -> None:
    program, *words = typed.words
    if program.endswith("autotuner"):
        group: Any = typer.main.get_command(app)
        root = group.make_context("autotuner", [], resilient_parsing=True)
        words = words[: words.index(">")] if ">" in words else words
        command = group.get_command(root, words[0])
        assert command is not None
        if len(words) > 1:
            context = command.make_context(words[0], words[1:], parent=root)
            if hasattr(command, "commands"):
                below = command.get_command(context, words[1])
                assert below is not None
                below.make_context(words[1], words[2:], parent=context)
    elif program == "make":
        assert set(words) <= TARGETS
    elif program == "pip":
        extras = re.findall(r"\[(.*)\]", " ".join(words))
        assert all(extra in PROJECT["optional-dependencies"] for listed in extras for extra in listed.split(","))
    else:
        assert program in {
            "export",
            ".venv/bin/pytest",
            "curl",
            "docker",
            "helm",
            "kubectl",
            "python3.12",
            "python3",
            "~/genai-bench/bin/pip",
            "~/lm-eval/bin/pip",
        } or SIMULATOR.match(" ".join(typed.words)), "teach this test to check it"


def test_layers_in_the_architecture_match_the_import_contract() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"].split("\n")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    shown = [set(re.findall(r"`(\w+)`", row)) for row in rows]
    wanted = [set(re.findall(r"\w+", layer)) for layer in layers if layer.strip()]
    assert [row for row in shown if row in wanted] == wanted


def tree() -> set[str]:
    """Every folder and file in the picture of the repository, as paths; descriptions are left out."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    (picture,) = re.findall(r"^```\n(src/autotuner/\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    found = set[str]()
    parents = dict[int, str]()
    # Lines that are indented further continue a description.
    for indent, names in re.findall(r"^( {0,4})(\S.*?)(?:  .*)?$", picture, re.MULTILINE):
        depth = len(indent)
        above = "".join(parents[level] for level in range(0, depth, 2))
        paths = re.findall(r"(?:<\w+>|[\w/.])+(?:/|\.pyi?)(?=,|\s|$)", names)
        found |= {above + path for path in paths}
        parents[depth] = paths[0]
    return found


def test_tree_in_the_architecture_matches_the_disk() -> None:
    package = "src/autotuner/"
    shown = {path for path in tree() if "<" not in path}
    assert [path for path in sorted(shown) if not (ROOT / path).exists()] == []
    rooms = {f"{package}{path.name}/" for path in (ROOT / package).iterdir() if (path / "__init__.py").exists()}
    modules = {package + path.name for path in (ROOT / package).glob("*.py")} - {f"{package}__main__.py"}
    assert rooms | modules <= shown


def test_files_named_in_the_architecture_exist() -> None:
    named = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text())
    assert len(named) > 10
    assert not [path for path in named if not (ROOT / "src/autotuner" / path).exists()]


def test_index_of_decisions_has_their_titles() -> None:
    pages = sorted(ROOT.glob("docs/adr/0*.md"))
    titles = {page.name: page.read_text().partition("\n")[0].partition(". ")[2] for page in pages}
    listed = re.findall(r"^\| \d+ \| \[(.*)\]\((.*)\) \|$", (ROOT / "docs/adr/README.md").read_text(), re.MULTILINE)
    assert {name: title for title, name in listed} == titles


def test_commands_are_found() -> None:
    pages = {typed.page for typed in commands()}
    assert {"README.md", "docs/tutorial.md", "docs/how-to/clean-up.md", "examples/llama_cpp.yaml"} <= pages
    assert len(commands()) > 30


def test_command_line_reference_is_up_to_date() -> None:
    assert (ROOT / "docs/reference/cli.md").read_text() == reference(), "python -m autotuner.cli.reference > that page"


def test_the_readme_study_is_ten_lines_and_can_be_planned(workplace: Path, fenced: Callable[..., list[str]]) -> None:
    (study,) = fenced("README.md", "yaml")
    lines = [line for line in study.splitlines() if not line.startswith("#")]
    assert len(lines) <= 10
    (workplace / "study.yaml").write_text(study)
    planned = autotuner.plan_study("study.yaml")
    assert planned.launchable == 18
    assert [c for c in planned.checks if c.status is CheckStatus.FAIL] == []


def test_the_tutorial_calls_the_public_api(fenced: Callable[..., list[str]]) -> None:
    (program,) = fenced("docs/tutorial.md", "python")
    assert set(re.findall(r"autotuner\.(\w+)", program)) <= set(autotuner.__all__)


def test_error_in_the_tutorial_is_current(workplace: Path, fenced: Callable[..., list[str]]) -> None:
    study = fenced("docs/tutorial.md", "yaml")[0].replace("threads:", "thread:")
    (workplace / "study.yaml").write_text(study)
    with pytest.raises(UsageError) as wrong:
        autotuner.plan_study("study.yaml")
    shown = re.findall(r"^    autotuner: (.*)$", (ROOT / "docs/tutorial.md").read_text(), re.MULTILINE)
    assert str(wrong.value) in shown
