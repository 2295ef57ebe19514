"""``--set a.b=c``: single values of a study file, changed on the command line before the file is read.

Paths are those of the file, in its long form: ``engine.args.max-num-seqs`` works although the file says
``engine: vllm``. Values are typed as in YAML. What is set is checked like the rest of the file; a problem with it names
the option instead of a line.
"""

import re
from collections.abc import Sequence
from typing import Any

from autotuner.errors import Problem, UsageError
from autotuner.study.problems import path_text
from autotuner.study_file.located_document import Document, Path, read_text

_SHORT_FORMS = {
    "model": "path", "engine": "kind", "deploy": "kind", "benchmark": "kind", "search": "strategy",
    "quantization": "preset", "parallelism": "preset",
}  # fmt: skip
"""The key that a section's bare text stands for."""
_DOTTED = (("engine", "args"), ("engine", "env"), ("parameters",), ("workload", "extra_body"))
"""Mappings whose keys may have dots themselves: ``parameters.speculative-config.method``."""
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def apply_overrides(document: Document, words: Sequence[str]) -> None:
    """Changes the document's data. Raises UsageError for what is not an assignment, or leads into a single value."""
    for word in words:
        name, separator, text = word.partition("=")
        name = name.strip()
        parts = [m[1] if m[1] is not None else int(m[2]) for m in _PART.finditer(name)]
        if not separator or not parts or _PART.sub("", name).strip("."):
            remedy = "write PATH=VALUE, e.g. search.trials=5"
            raise UsageError(Problem(where="--set", value=word, why="not an assignment", remedy=remedy))
        option = f"--set {name}"
        given = read_text(text, option) if text.strip() else Document(option)
        if given.problems:
            raise UsageError([problem.model_copy(update={"where": option}) for problem in given.problems])
        _set(document, option, parts, given.data)


def _set(document: Document, option: str, rest: list[str | int], value: Any) -> None:
    current = document.data
    path = list[str | int]()
    while True:
        key, taken = _key(current, path, rest, option)
        rest = rest[taken:]
        path = [*path, key]
        if not rest:
            _note(document, tuple(path), option)
            current[key] = value
            return
        inner = current[int(key)] if isinstance(current, list) else current.get(key)
        if isinstance(inner, str) and len(path) == 1 and key in _SHORT_FORMS:
            inner = {_SHORT_FORMS[str(key)]: inner}
        if inner is None:
            _note(document, tuple(path), option)
            inner = {}
        if not isinstance(inner, dict | list):
            why = f"{path_text(path)} is a single value"
            raise UsageError(Problem(where=option, why=why, remedy="set it whole"))
        current[key] = inner
        current = inner


def _note(document: Document, path: Path, option: str) -> None:
    """Remembers what set a part; lines of what was there before mean nothing any more."""
    document.origins[path] = option
    for line in [known for known in document.lines if known[: len(path)] == path]:
        del document.lines[line]


def _key(current: Any, path: list[str | int], rest: list[str | int], option: str) -> tuple[str | int, int]:
    """(key in ``current``, parts of the rest that it is made of)."""
    first = rest[0]
    if isinstance(current, list):
        if not isinstance(first, int) and not first.isdigit():
            raise UsageError(Problem(where=option, why=f"{path_text(path)} is a list", remedy="write [0]"))
        index = int(first)
        if index >= len(current):
            why = f"{path_text(path)} has {len(current)} entries"
            raise UsageError(Problem(where=option, why=why, remedy="set the list whole"))
        return index, 1
    if tuple(path) not in _DOTTED:
        return _spelling(current, str(first)), 1
    for count in range(1, len(rest)):
        inside = _spelling(current, ".".join(map(str, rest[:count])))
        value = current.get(inside)
        entry = isinstance(value, list) and isinstance(rest[count], int)
        if isinstance(value, dict) or entry:  # parameters.threads.low, parameters.threads[0]
            return inside, count
    return _spelling(current, ".".join(map(str, rest))), len(rest)


def _spelling(current: dict[str, Any], key: str) -> str:
    """The key as the mapping has it: hyphens and underscores are equal."""
    same = (known for known in current if known.replace("-", "_") == key.replace("-", "_"))
    return next(same, key)
