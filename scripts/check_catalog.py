"""A comparison of an engine's catalog with its server's ``--help``, to find what a new version changed.

    vllm serve --help=all | scripts/check_catalog.py vllm
    docker run --rm --entrypoint python3 lmsysorg/sglang:v0.5.23 -m sglang.launch_server --help \
        | scripts/check_catalog.py sglang

Prints one line per difference in names, kinds, choices and, if the help has them, defaults; the exit code is then 1.
It reads the help of argparse and of click.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from autotuner.plugins import loading
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.spec import EngineSpec

_FLAG = re.compile(r"(-{1,2}[A-Za-z][\w-]*)(?:[ =](\{[^}]*\}|\[[^\]]*\]|<[^>]*>|[A-Z][A-Z0-9_]*\b))?")
_DEFAULT = re.compile(r"[(\[]default: (.*?)[)\]](?: |$)")


class Option(NamedTuple):
    """One option as the help describes it."""

    spellings: tuple[str, ...]
    switch: bool
    choices: frozenset[str]
    default: str | None


def options(text: str) -> dict[str, Option]:
    """Returns every option of a help text, by each of its spellings."""
    found: dict[str, Option] = {}
    for block in re.split(r"\n(?=  ?-)", "\n" + text):
        option = _option(" ".join(block.split("\n\n")[0].split()))
        if option:
            found |= dict.fromkeys(option.spellings, option)
    return found


def _option(block: str) -> Option | None:
    spellings = []
    metavars = []
    index = 0
    while match := _FLAG.match(block, index):
        spellings.append(match[1])
        metavars += [match[2]] if match[2] else []
        after = re.compile(r"(?: \[[A-Z_]+ \.\.\.\])?(?:, | / )").match(block, match.end())
        if not after:
            break
        index = after.end()
    if not spellings:
        return None
    default = _DEFAULT.search(block)
    return Option(tuple(spellings), not metavars, _choices(metavars), default[1] if default else None)


def _choices(metavars: list[str]) -> frozenset[str]:
    words = re.sub(r"[\s'\"]", "", next((m for m in metavars if m[0] in "{["), ""))
    return frozenset(word for word in re.split(r"[,|]", words.strip("{}[]")) if word and not word.isupper()) - {"None"}


def differences(engine: Engine, listed: Mapping[str, Option]) -> Iterator[str]:
    """Yields one line per difference between the help and the catalog."""
    for name, entry in engine.catalog.items():
        written = engine.override(("program",), {name: True if entry.type.kind == "bool" else "x"})[1]
        option = listed.get(written)
        if written == "--set":
            continue
        if option is None:
            yield f"{name}: the server has no {written}"
            continue
        yield from (f"{name}: {what}" for what in _differences(entry, option))


def _differences(entry: CatalogEntry, option: Option) -> Iterator[str]:
    if (entry.type.kind == "bool") is not option.switch:
        yield "is a switch" if option.switch else "takes a value"
    if entry.off_flag and f"--{entry.off_flag}" not in option.spellings:
        yield f"has no --{entry.off_flag}"
    if option.choices and entry.type.kind == "choice":
        new = option.choices - set(entry.type.choices)
        gone = set(entry.type.choices) - option.choices
        yield from [f"new choices: {', '.join(sorted(new))}"] if new else []
        yield from [f"removed choices: {', '.join(sorted(gone))}"] if gone else []
    default = option.default
    if default is not None and not re.match(r"\w+\(|\{", default) and not _equal(entry.default, default):
        yield f"default {default}; the catalog says {entry.default}"


def _equal(default: Value, text: str) -> bool:
    if isinstance(default, int | float) and not isinstance(default, bool):
        try:
            return float(text) == float(default)
        except ValueError:
            return False
    return text.rpartition(".")[2].lower() == str(default).lower() or text == str(default)


def main(argv: list[str]) -> int:
    """Returns 0 if the catalog is right, 1 if it is not, 2 if there is nothing to compare."""
    listed = options(sys.stdin.read())
    if len(argv) != 2 or not listed:
        print("usage: SERVER --help | scripts/check_catalog.py ENGINE", file=sys.stderr)
        return 2
    lines = list(differences(loading.engine(EngineSpec(kind=argv[1])), listed))
    print("\n".join(lines) or f"{argv[1]}: the catalog agrees with {len(listed)} flags")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
