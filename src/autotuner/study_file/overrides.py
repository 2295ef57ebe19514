"""``--set a.b=c``: values of a study file, changed on the command line before the file is validated.

Paths are those of the file's long form: ``engine.args.max-num-seqs`` works even if the file has ``engine: vllm``.
Values are typed as in YAML and validated like the rest of the file; their problems name the option instead of a line.
"""

import re
from collections.abc import Sequence
from typing import Any

from autotuner.errors import UsageError
from autotuner.study.problems import path_text
from autotuner.study_file.located_document import Document, Path, read_text

_SHORT_FORMS = {
    "model": "path", "engine": "kind", "deploy": "kind", "benchmark": "kind", "search": "strategy",
    "quantization": "preset", "parallelism": "preset",
}  # fmt: skip
"""The key that a section's short form sets."""
_DOTTED = (("engine", "args"), ("engine", "env"), ("parameters",), ("baseline",), ("workload", "extra_body"))
_DOTTED_IN_ENTRY = (("args",), ("env",), ("parameters",), ("baseline",))
"""Mappings whose keys may contain dots: ``parameters.speculative-config.method``; and those of an entry of engines."""
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def apply_overrides(document: Document, assignments: Sequence[str]) -> None:
    """Changes the document's data.

    Args:
        document: The study file.
        assignments: Texts of the form ``PATH=VALUE``.

    Raises:
        UsageError: If a text is not an assignment, or its path leads into a single value.
    """
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        name = name.strip()
        parts = [m[1] if m[1] is not None else int(m[2]) for m in _PART.finditer(name)]
        if not separator or not parts or _PART.sub("", name).strip("."):
            remedy = "write PATH=VALUE, e.g. search.trials=5"
            raise UsageError.at("--set", "not an assignment", value=assignment, remedy=remedy)
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
            raise UsageError.at(option, why, remedy="set it as a whole")
        current[key] = inner
        current = inner


def _note(document: Document, path: Path, option: str) -> None:
    """Records which option set a part, and forgets the lines of what it replaced."""
    document.origins[path] = option
    for line in [known for known in document.lines if known[: len(path)] == path]:
        del document.lines[line]


def _key(current: Any, path: list[str | int], rest: list[str | int], option: str) -> tuple[str | int, int]:
    """The key in ``current``, and how many parts of ``rest`` it consists of."""
    first = rest[0]
    if isinstance(current, list):
        if not isinstance(first, int) and not first.isdigit():
            raise UsageError.at(option, f"{path_text(path)} is a list", remedy="write an index, e.g. [0]")
        index = int(first)
        if index >= len(current):
            why = f"{path_text(path)} has {len(current)} entries"
            raise UsageError.at(option, why, remedy="set the list as a whole")
        return index, 1
    in_entry = path[:1] == ["engines"] and tuple(path[2:]) in _DOTTED_IN_ENTRY
    if tuple(path) not in _DOTTED and not in_entry:
        return _spelling(current, str(first)), 1
    for count in range(1, len(rest)):
        inside = _spelling(current, ".".join(map(str, rest[:count])))
        value = current.get(inside)
        entry = isinstance(value, list) and isinstance(rest[count], int)
        if isinstance(value, dict) or entry:  # parameters.threads.low, parameters.threads[0]
            return inside, count
    return _spelling(current, ".".join(map(str, rest))), len(rest)


def _spelling(current: dict[str, Any], key: str) -> str:
    """The mapping's spelling of a key; hyphens and underscores are equivalent."""
    same = (known for known in current if known.replace("-", "_") == key.replace("-", "_"))
    return next(same, key)
