"""Compares an engine's catalog with what its server prints for --help, so that a new version's changes are seen.

    vllm serve --help=all | scripts/check_catalog.py vllm
    docker run --rm --entrypoint python3 lmsysorg/sglang:v0.5.23 -m sglang.launch_server --help \
        | scripts/check_catalog.py sglang

Prints one line per difference in names, kinds, choices and (where the help tells them) defaults; exit code 1 if there
is one. Reads the help of argparse and of click.
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
    """One option as the help tells it."""

    spellings: tuple[str, ...]
    switch: bool
    choices: frozenset[str]
    default: str | None


def options(text: str) -> dict[str, Option]:
    """Every option of a help text, by each of its spellings."""
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


def differences(engine: Engine, told: Mapping[str, Option]) -> Iterator[str]:
    """What the help says otherwise than the catalog, one line each."""
    for name, entry in engine.catalog.items():
        written = engine.override(("program",), {name: True if entry.type.kind == "bool" else "x"})[1]
        option = told.get(written)
        if written == "--set":
            continue
        if option is None:
            yield f"{name}: the server has no {written}"
            continue
        yield from (f"{name}: {what}" for what in _unlike(entry, option))


def _unlike(entry: CatalogEntry, option: Option) -> Iterator[str]:
    if (entry.type.kind == "bool") is not option.switch:
        yield "is a switch" if option.switch else "takes a value"
    if entry.off_flag and f"--{entry.off_flag}" not in option.spellings:
        yield f"has no --{entry.off_flag}"
    if option.choices and entry.type.kind == "choice":
        new = option.choices - set(entry.type.choices)
        gone = set(entry.type.choices) - option.choices
        yield from [f"new choices: {', '.join(sorted(new))}"] if new else []
        yield from [f"choices that are gone: {', '.join(sorted(gone))}"] if gone else []
    told = option.default
    if told is not None and not re.match(r"\w+\(|\{", told) and not _equal(entry.default, told):
        yield f"default {told}, the catalog says {entry.default}"


def _equal(default: Value, told: str) -> bool:
    if isinstance(default, int | float) and not isinstance(default, bool):
        try:
            return float(told) == float(default)
        except ValueError:
            return False
    return told.rpartition(".")[2].lower() == str(default).lower() or told == str(default)


def main(argv: list[str]) -> int:
    """Exit code 0 where the catalog is right, 1 where it is not, 2 where nothing was given to compare."""
    told = options(sys.stdin.read())
    if len(argv) != 2 or not told:
        print("usage: SERVER --help | scripts/check_catalog.py ENGINE", file=sys.stderr)
        return 2
    lines = list(differences(loading.engine(EngineSpec(kind=argv[1])), told))
    print("\n".join(lines) or f"{argv[1]}: the catalog agrees with {len(told)} flags")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
