"""An engine whose server is :mod:`autotuner.testing.fake_server`: the whole loop with real processes but no model.

``parallel`` and ``token-ms`` determine its speed, ``note`` takes any text, ``turbo`` is a switch, and ``tp`` requests
GPUs that stay idle.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from autotuner.errors import Problem
from autotuner.plugins.engine import CommandFlags, Engine
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import Flag, Hardware, LaunchPlan, Readiness
from autotuner.study.parameters.parameter import CatalogEntry, ValueType
from autotuner.study.spec import EngineSpec, Model

SERVER = "autotuner.testing.fake_server"


class FakeEngineSettings(BaseModel):
    """Settings of the engine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start_timeout_s: float = 20.0


_CATALOG = (
    CatalogEntry(
        name="parallel", type=ValueType(kind="int", low=1, high=64), default=4, meaning="requests at a time",
        aliases=("np", "n-parallel"), suggested=(1, 4, 8),
    ),
    CatalogEntry(
        name="token-ms", type=ValueType(kind="float", low=0), default=1.0, meaning="milliseconds a token takes",
        suggested=(0.5, 1.0, 2.0),
    ),
    CatalogEntry(name="turbo", type=ValueType(kind="bool"), default=False, meaning="halves token-ms"),
    CatalogEntry(name="tp", type=ValueType(kind="int", low=0), default=0, meaning="GPUs to ask for"),
    CatalogEntry(name="note", type=ValueType(kind="string"), default="", meaning="any text"),
)  # fmt: skip


class FakeEngine(Engine):
    """The fake server's command line. Flags that are not in the catalog are passed on."""

    kind: ClassVar[str] = "fake"
    Settings: ClassVar[type[BaseModel]] = FakeEngineSettings
    catalog: ClassVar[Mapping[str, CatalogEntry]] = {entry.name: entry for entry in _CATALOG}
    info_path: ClassVar[str | None] = "/props"

    settings: FakeEngineSettings

    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The launch of one configuration. Values are joined to flags with ``=``, so that any text stays a value."""
        tuned = {self.canonical(n): v for n, v in configuration.values.items()}
        values = {self.canonical(n): v for n, v in spec.args.items()} | tuned
        served = model.name or model.path
        return LaunchPlan(
            command=(sys.executable, "-m", SERVER),
            flags=(Flag(name=f"--model={served}"), *(f for n, v in values.items() for f in _flags(n, v))),
            env=dict(spec.env),
            readiness=Readiness(timeout_s=self.settings.start_timeout_s),
            model=served,
            gpus=self.gpus(values),
            needs_modules=(SERVER,),
            tuned=tuned,
        )

    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` with these flags replaced or appended."""
        new = {self.canonical(n): v for n, v in flags.items()}
        kept = list(argv[:1])
        index = 1
        while index < len(argv):
            name, _, taken = self._read(argv, index)
            if name not in new:
                kept += argv[index : index + taken]
            index += taken
        return (*kept, *(f.name for n, v in new.items() for f in _flags(n, v)))

    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """The value of the last occurrence."""
        found: Value = None
        index = 1
        while index < len(argv):
            read, value, taken = self._read(argv, index)
            found = value if read == self.canonical(name) else found
            index += taken
        return found

    def read(self, argv: Sequence[str]) -> CommandFlags:
        """All flags, without the options of the Python interpreter before them."""
        several: set[str] = set()
        single: dict[str, Value] = {}
        index = 1
        while index < len(argv):
            name, value, taken = self._read(argv, index)
            if name is not None and (argv[index].startswith("--") or name in self.catalog):
                several |= {name} & single.keys()
                single[name] = _typed(value, self.catalog.get(name))
            index += taken
        return CommandFlags({n: v for n, v in single.items() if n not in several}, frozenset(several))

    def _read(self, argv: Sequence[str], index: int) -> tuple[str | None, Value, int]:
        """(canonical name, value, arguments taken) of the flag at ``index``."""
        spelling, equals, inline = argv[index].partition("=")
        if not re.fullmatch(r"--?[A-Za-z][\w-]*", spelling):
            return None, None, 1
        name = self.canonical(spelling)
        if equals:
            return name, inline, 1
        entry = self.catalog.get(name)
        if entry and entry.type.kind != "bool" and index + 1 < len(argv):
            return name, argv[index + 1], 2
        return name, True, 1

    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """Checks each value on its own."""
        return [problem for name, value in values.items() for problem in self.check_value(name, value)]

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """Checks types and ranges of the numeric parameters and of the switch."""
        entry = self.catalog.get(self.canonical(name))
        if entry is None or value is None or entry.type.kind == "string":
            return []
        if entry.type.kind == "bool":
            wrong = not isinstance(value, bool)
        else:
            low = entry.type.low or 0.0
            high = entry.type.high or float("inf")
            wrong = isinstance(value, bool | str | tuple) or not low <= value <= high
        return [Problem(where=name, value=str(value), why="is not a valid value")] if wrong else []

    def gpus(self, values: Mapping[str, Value]) -> int:
        """``tp``."""
        size = values.get("tp")
        return size if isinstance(size, int) else 0

    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """Causes from the fake server's log: a bad argument, a port in use, or ``--say CAUSE``."""
        found = re.search(rf"fake_server: ({'|'.join(c.value for c in FailureCause)})$", log_tail, re.MULTILINE)
        if found:
            cause = FailureCause(found[1])
        elif "unrecognized arguments" in log_tail:
            cause = FailureCause.INVALID_FLAG
        elif "invalid" in log_tail:
            cause = FailureCause.INVALID_VALUE
        elif "cannot bind" in log_tail:
            cause = FailureCause.PORT_UNAVAILABLE
        else:
            return None
        return Failure(cause=cause, message=cause.value, remedy="none", exit_code=exit_code, log_tail=log_tail)

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """The slots."""
        return {"parallel": server_info["total_slots"]} if "total_slots" in server_info else {}


def _typed(value: Value, entry: CatalogEntry | None) -> Value:
    numbers = {"int": int, "float": float}
    number = numbers.get(entry.type.kind) if entry else None
    return number(value) if number and isinstance(value, str) else value


def _flags(name: str, value: Value) -> tuple[Flag, ...]:
    if value is None or value is False:
        return ()
    return (Flag(name=f"--{name}" if value is True else f"--{name}={value}"),)
