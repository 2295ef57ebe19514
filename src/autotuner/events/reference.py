"""Reference page of the event stream, made from the event classes: ``python -m autotuner.events.reference``.

A test compares ``docs/reference/events.md`` with it, so that the page cannot fall behind.
"""

import ast
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from itertools import pairwise

from pydantic import BaseModel

from autotuner.events.types import KINDS, BaseEvent, FailureSummary, Remaining, WindowSummary
from autotuner.study.base import Value
from autotuner.study.environment_facts import Fact
from autotuner.study.verdict import Verdict, Violation

HEAD = """# Events

<!-- Made by `python -m autotuner.events.reference > docs/reference/events.md`; do not edit. -->

Everything that happens in a study is one ordered stream of events in the store. The live table and `watch` are readers
of that stream; `autotuner watch STUDY --json` prints it, one event per line:

```json
{"seq":41,"at":1764364000.2,"study":"chat","trial":3,"kind":"phase","data":{"phase":"loading","scenario":"","level":"","gpus":1,"simulated":false}}
```

`seq`, `at`, `study`, `trial` and `kind` are part of every event; `data` holds the fields of its kind, listed below. In
Python each kind is a frozen class of `autotuner.events.types` with all of these as attributes.

A reader must skip unknown kinds and fields, because later versions may add both. Meanings never change. Only `progress`
events may be dropped, if the database cannot keep up.
"""

PARTS: tuple[type[BaseModel], ...] = (Remaining, WindowSummary, FailureSummary, Fact, Verdict, Violation)
"""Classes of objects inside events."""


def attribute_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring of each attribute that the class itself declares, as one line."""
    [body] = [node.body for node in ast.parse(inspect.getsource(model)).body if isinstance(node, ast.ClassDef)]
    found = {}
    for field, text in pairwise(body):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        ):
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def reference() -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *_sections()]) + "\n"


def _sections() -> Iterator[str]:
    yield "## Every event\n"
    yield from _table(BaseEvent, BaseEvent.model_fields.keys())
    for kind in KINDS:
        name = kind.model_fields["kind"].default
        yield f"\n## {name}\n"
        yield f"`{kind.__name__}`: {_doc(kind)}\n"
        yield from _table(kind, kind.model_fields.keys() - BaseEvent.model_fields.keys())
    for part in PARTS:
        yield f"\n## {part.__name__}\n"
        yield f"{_doc(part)}\n"
        yield from _table(part, part.model_fields.keys())


def _table(model: type[BaseModel], names: typing.AbstractSet[str]) -> Iterator[str]:
    docs = attribute_docs(model)
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for name, field in model.model_fields.items():
        if name in names:
            yield f"| `{name}` | {_type_text(field.annotation)} | {_markdown(docs.get(name, ''))} |"


def _type_text(annotation: object) -> str:
    """The JSON type of an annotation: ``string``, ``integer or null``, ``list of number``."""
    if annotation == Value:
        return "scalar, list of scalars or null"
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(dict.fromkeys(_type_text(a) for a in arguments))
    if origin is tuple:
        return f"list of {_type_text(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"object of {_type_text(arguments[1])}"
    if annotation in _JSON:
        return _JSON[annotation]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "string"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    raise TypeError(f"no JSON type is known for {annotation}")


_JSON: dict[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def _doc(model: type[BaseModel]) -> str:
    return _markdown(" ".join(inspect.cleandoc(model.__doc__ or "").split()))


def _markdown(text: str) -> str:
    """Converts docstring markup to Markdown."""
    text = re.sub(r"\bNone\b", "null", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


if __name__ == "__main__":
    sys.stdout.write(reference())
