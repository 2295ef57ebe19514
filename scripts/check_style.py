"""A check for what ruff does not find: tuples that pack unrelated assignments, formatter opt-outs outside tables, and
the size of files, functions and folders.

``make lint`` runs it; so does the pre-commit hook, with the changed files.

    python scripts/check_style.py [FILE ...]
"""

import ast
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "scripts", "src", "tests")

FILE_LINES = 420
FUNCTION_LINES = 60
FOLDER_FILES = 20
"""Python files directly in a folder of src or tests."""

LONG_FILES: dict[str, int] = {}
"""Files that may have more lines, up to this number. The list may shrink, not grow."""

LONG_FUNCTIONS: dict[str, int] = {
    # One parameter per option.
    "src/autotuner/cli/bench/commands.py:bench": 103,
    "src/autotuner/cli/capacity/commands.py:capacity": 85,
    "src/autotuner/cli/results.py:best": 79,
}
"""Functions that may have more lines, up to this number. The list may shrink, not grow."""

_OPT_OUT = "fmt: "
_DISPLAYS = (ast.List, ast.Tuple, ast.Set, ast.Dict)


class Finding(NamedTuple):
    """One violation; printed as ``path:line: what``."""

    line: int
    what: str


def check_source(source: str, path: str) -> list[Finding]:
    """Returns the violations in one file. ``path`` is relative to the repository."""
    tree = ast.parse(source)
    found = [
        *packed_tuples(tree),
        *formatter_opt_outs(tree, source),
        *long_functions(tree, path),
    ]
    lines = source.count("\n")
    if lines > LONG_FILES.get(path, FILE_LINES):
        found.append(Finding(lines, f"the file has {lines} lines; split it (limit {LONG_FILES.get(path, FILE_LINES)})"))
    return sorted(found)


def packed_tuples(tree: ast.AST) -> Iterator[Finding]:
    """Assignments like ``a, b = f(x), 0``. Swaps are fine, and so are pairs unpacked from each of several values."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Tuple)):
            continue
        target = node.targets[0]
        if isinstance(target, ast.Tuple) and not _is_swap(target, node.value) and not _is_pairs(target):
            yield Finding(node.lineno, "one assignment packs several; write one statement per line")


def _is_swap(target: ast.Tuple, value: ast.Tuple) -> bool:
    """Whether the values need the old value of another target, so that the assignments cannot be separated."""
    names = [ast.unparse(element) for element in target.elts]
    values = [ast.unparse(element) for element in value.elts]
    return any(name in values and values.index(name) != at for at, name in enumerate(names))


def _is_pairs(target: ast.Tuple) -> bool:
    return all(isinstance(element, ast.Tuple) for element in target.elts)


def formatter_opt_outs(tree: ast.AST, source: str) -> Iterator[Finding]:
    """``# fmt: skip`` behind anything but a table, a constant or a decorator, and ``# fmt: off`` anywhere."""
    if _OPT_OUT not in source:
        return
    ends = {node.end_lineno for node in ast.walk(tree) if _is_table(node)}
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef)]
    ends |= {node.end_lineno for scope in scopes for node in scope.body if isinstance(node, ast.Assign | ast.AnnAssign)}
    decorators = [d for node in ast.walk(tree) for d in getattr(node, "decorator_list", [])]
    ends |= {decorator.end_lineno for decorator in decorators}
    for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__):
        if token.type == tokenize.COMMENT and _OPT_OUT in token.string:
            line = token.start[0]
            if f"{_OPT_OUT}skip" not in token.string or line not in ends:
                yield Finding(line, "only a table may opt out of the formatter, with `# fmt: skip`")


def _is_table(node: ast.AST) -> bool:
    """A literal collection that is assigned or returned, or a call on one (``frozenset({...})``)."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign | ast.Return) else None
    if isinstance(value, ast.Call):
        return any(isinstance(argument, _DISPLAYS) for argument in value.args)
    return isinstance(value, _DISPLAYS)


def long_functions(tree: ast.AST, path: str) -> Iterator[Finding]:
    """Functions over the limit; decorators do not count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            limit = LONG_FUNCTIONS.get(f"{path}:{node.name}", FUNCTION_LINES)
            if lines > limit:
                yield Finding(node.lineno, f"{node.name} has {lines} lines; split it (limit {limit})")


def wide_folders(root: Path) -> Iterator[str]:
    """Folders of src and tests with too many Python files."""
    for folder in sorted({path.parent for top in ("src", "tests") for path in root.glob(f"{top}/**/*.py")}):
        files = len(list(folder.glob("*.py")))
        if files > FOLDER_FILES:
            yield f"{folder.relative_to(root)}: has {files} files; group them (limit {FOLDER_FILES})"


def main(names: list[str]) -> int:
    """Prints the violations; returns 1 if there are any."""
    chosen = [Path(name).resolve() for name in names]
    paths = chosen or [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    found = list(wide_folders(ROOT))
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}:{line}: {what}" for line, what in check_source(path.read_text(), name)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
