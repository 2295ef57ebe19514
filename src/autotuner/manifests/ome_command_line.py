"""Engine flags in the command line of a serving runtime: parsed and replaced. Pure.

OME replaces a container's ``command`` and ``args`` as a whole, so both are always written completely. Words of a
runtime's line that are not recognized stay where they are.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from autotuner.invalid_value import InvalidValueError
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value, parts_of
from autotuner.study.launch import LaunchPlan

OME = "ome.io/v1beta1"
CONTAINER = "ome-container"
"""Name by which OME finds the server's container."""
PORT = 8080
"""Target port of OME's Services if a runtime names none."""
MODEL_PATH = "$(MODEL_PATH)"
"""Set by OME in every server's container."""
PROGRAM = "program"
"""Stands for the image's own program, where a runtime has only ``args``."""
_TEMPLATE = re.compile(r"\{\{\s*\.(Name|Namespace|Labels\.\w+|Annotations\.\w+)\s*\}\}")
"""Templates that OME fills in from a service's metadata."""
_SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh"})


class RuntimeLineError(InvalidValueError):
    """A runtime's command line cannot be changed safely. The reason continues a sentence that begins with the
    runtime."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why, remedy=remedy)


@dataclass(frozen=True)
class RuntimeLine:
    """The command line of a runtime's container, in Kubernetes' notation: ``$(NAME)`` stands for a variable."""

    command: tuple[str, ...]
    args: tuple[str, ...]
    image: str = ""

    @classmethod
    def of(cls, runner: Mapping[str, Any]) -> "RuntimeLine":
        """From a container. Raises :class:`RuntimeLineError` if its command is unknown or a shell."""
        command, args = (_texts(runner, part) for part in ("command", "args"))
        if not command and not args:
            raise RuntimeLineError(
                "has neither command nor args: what its image starts is not known", "write its command out"
            )
        if any(PurePath(word).name in _SHELLS for word in command[:1]):
            why = f"starts its server through a shell ({command[0]}), whose command line cannot be parsed"
            raise RuntimeLineError(why, "write the server's command line out")
        return cls(command, args, str(runner.get("image", "")))

    @property
    def words(self) -> tuple[str, ...]:
        """Command and arguments, as an engine reads them."""
        return (*(self.command or (PROGRAM,)), *self.args)

    def base_args(self, engine: Engine) -> dict[str, Value]:
        """The flags that can be rewritten without a change of meaning, by canonical name: those with one value that
        refer to no variable, that a study may set, and that the engine knows."""
        found = engine.read(self.words).single
        plain = {n: v for n, v in found.items() if not any("$" in str(item) for item in parts_of(v))}
        return {n: v for n, v in plain.items() if not engine.check_value(n, v) and not engine.notes({n: v})}

    def with_flags(self, engine: Engine, flags: Mapping[str, Value]) -> "RuntimeLine":
        """The line with these flags replaced, in the part where the runtime has its flags; None removes a flag. Values
        are in Kubernetes' notation. Raises :class:`RuntimeLineError` if a flag would not have its value in the result.
        """
        several = sorted(engine.read(self.words).several & flags.keys())
        if several:
            why = f"gives {several[0]} more than once or more than one value"
            raise RuntimeLineError(f"{why}, so that it cannot be replaced", "write each flag once, with one value")
        command = self.command
        args = self.args
        if not args:
            command = engine.override(command, flags)
        else:
            command = engine.override(command, dict.fromkeys(flags)) if command else ()
            args = engine.override((PROGRAM, *args), flags)[1:]
        made = RuntimeLine(tuple(command), tuple(args), self.image)
        alone = engine.override((PROGRAM,), flags)
        for name in flags:
            if engine.flag_value(made.words, name) != engine.flag_value(alone, name):
                why = f"has a command line in which {name} cannot be set"
                raise RuntimeLineError(why, "write each flag with its value in one part")
        return made


def same_engine(line: RuntimeLine, kind: str, settings: Mapping[str, Any], plan: LaunchPlan | None) -> bool:
    """Whether a line looks like that of this engine, so that its flags apply."""
    command = plan.command if plan else ()
    program = next((w for w in command if not w.startswith("-") and "python" not in w), kind)
    names = {kind, str(settings.get("flavor") or kind), PurePath(program).name.split(".")[0]}
    text = " ".join((line.image, *line.words)).replace("-", "_").lower()
    return any(name.replace("-", "_").lower() in text for name in names)


def template_problems(texts: Mapping[str, str]) -> list[str]:
    """Names of the texts that OME would read as an unknown template, at which it stops without an event."""
    return [where for where, text in texts.items() if "{{" in _TEMPLATE.sub("", text)]


def _texts(runner: Mapping[str, Any], part: str) -> tuple[str, ...]:
    words: Any = runner.get(part) or []
    wrong = next((w for w in words if not isinstance(w, str)), None) if isinstance(words, Sequence) else words
    if wrong is not None:
        raise RuntimeLineError(f"has {wrong!r} in {part}, which is not a string", f'quote it: "{wrong}"')
    return tuple(words)
