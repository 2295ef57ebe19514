"""Base class of SGLang, vLLM and TensorRT-LLM: one program with flags, a model from a folder or a hub, GPUs.

A catalog lists the flags that are worth tuning, not every flag, and an image may be newer or older than the catalog:
flags that it does not list are passed on with a note.
"""

import json
import re
import shlex
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from autotuner.engines.shared.command_line import CommandLine, items_of, text_of, type_problem
from autotuner.engines.shared.portable import PortableEngine
from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.plugins.engine import CommandFlags
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.launch import Flag, Hardware, LaunchPlan, Readiness
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.spec import EngineSpec, Model, is_local
from autotuner.study.text.forms import Duration

REMOTE_CODE = "trust-remote-code"
REVISION = "revision"
"""Flag of all these servers: branch, tag or commit of a model that comes from the Hub."""
_SIMULATED = re.compile(r"^autotuner_simulated 1(?:\.0)?\s*$", re.MULTILINE)
_SUFFIXED = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]{1,2})")
_TOO_LARGE = 10**18
_FLAG_LIKE = re.compile(r"--?[A-Za-z]")
_FILE_ENDINGS = (".yaml", ".yml", ".json", ".jinja")


class GpuEngineSettings(BaseModel):
    """Settings of the engine in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str = ""
    """Program with its leading arguments, as a shell splits it."""
    start_timeout: Duration = Field(default=1200.0, gt=0)
    """Longest time from launch to ready, in seconds, including the model download and the capture of CUDA graphs."""
    device: Literal["gpu", "cpu"] = "gpu"
    """``cpu`` for a build of the server that uses no GPU."""
    allow_remote_code: bool = False
    """Allows ``trust-remote-code``, which executes code that comes with the model."""


class GpuEngine(PortableEngine):
    """An engine whose command line, catalog and checks come from tables."""

    Settings: ClassVar[type[BaseModel]] = GpuEngineSettings
    known: ClassVar[Mapping[str, CatalogEntry]]
    """The catalog, plus the flags that are set but not tuned."""
    reserved: ClassVar[Mapping[str, str]]
    """Flags that the study sets elsewhere: remedies by canonical name."""
    secret: ClassVar[Mapping[str, str]] = {}
    """Flags with a secret value: remedies by canonical name. Every user of the machine can read a command line."""
    human: ClassVar[frozenset[str]] = frozenset()
    """Integer flags that the server also accepts with a suffix (``8k``)."""
    suffixes: ClassVar[Mapping[str, int]] = {}
    """The factor of each suffix."""
    models: ClassVar[tuple[str, ...]] = ()
    """Flags whose value is another model: a folder or a hub id."""
    adapters: ClassVar[tuple[str, ...]] = ()
    """Flags whose values are LoRA adapters: a path or hub id, NAME=PATH, or JSON."""
    files: ClassVar[tuple[str, ...]] = ()
    """Flags whose value is a file on the target."""
    starter_deployer: ClassVar[str] = "docker"
    starter_load: ClassVar[tuple[str, tuple[int, ...]]] = ("D(512,128)", (1, 32))
    starter_model: ClassVar[str] = "Qwen/Qwen3-8B"
    image: ClassVar[str]
    """Default container image, with tag."""
    version: ClassVar[str]
    """Version of the server that the catalog describes."""
    help_flag: ClassVar[str] = "--help"
    always: ClassVar[Mapping[str, Value]] = {}
    """Values that apply unless the study overrides them."""

    settings: GpuEngineSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._line = self.command_line()

    def command_line(self) -> CommandLine:
        """Reader and writer of this engine's command lines."""
        return CommandLine(self.known)

    @abstractmethod
    def command(self, model: Model) -> tuple[tuple[str, ...], tuple[Flag, ...]]:
        """The program with leading arguments, and the flags that name the model."""

    @abstractmethod
    def served_name(self, model: Model) -> str:
        """The model name that the server expects in requests."""

    @abstractmethod
    def relations(self, values: Mapping[str, Value], hardware: Hardware) -> Iterator[Problem]:
        """Combinations of valid values that the server would refuse or that have no effect."""

    @abstractmethod
    def gpu_count(self, values: Mapping[str, Value]) -> int:
        """GPUs that a server with these values (by canonical name) uses."""

    def canonical(self, name: str) -> str:
        """See :meth:`Engine.canonical`; also knows the flags that are set but not tuned."""
        bare = name.lstrip("-").replace("_", "-")
        if bare in self.known:
            return bare
        return next((e.name for e in self.known.values() if bare in e.aliases), bare)

    def named(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Values by canonical name, with portable names replaced by flags.

        Raises:
            UsageError: A portable value that this engine does not support.
        """
        named = {self.canonical(n): v for n, v in values.items()}
        return {self.canonical(n): v for n, v in self.expand(named).items()}

    @cached_property
    def defaults(self) -> Mapping[str, Value]:
        """Documented defaults by canonical name, of the flags that have one."""
        return {name: entry.default for name, entry in self.known.items() if entry.default is not None}

    @property
    def program(self) -> tuple[str, ...]:
        """The server's program with its leading arguments."""
        return tuple(shlex.split(self.settings.server))

    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The launch of one configuration. Values of every trial come first, tuned ones last."""
        tuned = self.named(configuration.values)
        values = {**self.always, **self.named(spec.args), **tuned}
        command, leading = self.command(model)
        others = [model.path, *(str(values[n]) for n in self.models if values.get(n)), *self._adapters(values)]
        files = [str(values[n]) for n in self.files if _is_file(values.get(n))]
        return LaunchPlan(
            command=command,
            flags=(*leading, *(flag for n, v in values.items() for flag in self._line.flags(n, v))),
            env=dict(spec.env),
            readiness=Readiness(path="/health", timeout_s=self.settings.start_timeout, interval_s=0.1),
            model=self.served_name(model),
            gpus=self._gpus(values),
            image=self.image,
            help=(*self.program, self.help_flag),
            needs_files=tuple(dict.fromkeys([*(m for m in others if is_local(m)), *files])),
            hub_models=tuple(dict.fromkeys(m for m in others if not is_local(m))),
            hub_revisions={model.path: str(values[REVISION])} if values.get(REVISION) and not model.local else {},
            tuned=tuned,
        )

    def _adapters(self, values: Mapping[str, Value]) -> list[str]:
        """Locations of the LoRA adapters; their folders are mounted into a container like the model's."""
        written = [str(item) for name in self.adapters for item in items_of(values.get(name), self.known.get(name))]
        return [path for path in map(_adapter_path, written) if path]

    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` with these flags replaced in every spelling, or appended."""
        return self._line.override(argv, {self.canonical(n): v for n, v in flags.items()})

    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """The value of a flag in ``argv``; the last occurrence wins, as in the server."""
        return self._line.value(argv, self.canonical(name))

    def read(self, argv: Sequence[str]) -> CommandFlags:
        """The flags of a command line that was written by hand."""
        return self._line.read(argv)

    def gpus(self, values: Mapping[str, Value]) -> int:
        """GPUs of one server: the product of the sizes that split or replicate the model."""
        return self._gpus(self.named(values))

    def _gpus(self, values: Mapping[str, Value]) -> int:
        return 0 if self.settings.device == "cpu" else self.gpu_count(values)

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """Problems of one value: wrong type or range, or a flag that must not be set. Unknown flags pass."""
        name = self.canonical(name)
        entry = self.known.get(name)
        problem = self._off_spelling(name, value) if entry is None else self._type_problem(entry, value)
        problem = problem or self._hidden(name, value)
        if name == REMOTE_CODE and value and not self.settings.allow_remote_code:
            why = "executes code that comes with the model"
            remedy = "if you trust the model's author, set allow_remote_code: true in the engine section"
            problem = Problem(where=name, value=text_of(value), why=why, remedy=remedy)
        if name in self.secret:
            problem = Problem(where=name, why="is a secret, and a command line is public", remedy=self.secret[name])
        if name in self.reserved:
            problem = Problem(
                where=name,
                value=text_of(value),
                why="is managed by autotuner and cannot be set",
                remedy=self.reserved[name],
            )
        return [problem] if problem else []

    def _hidden(self, name: str, value: Value) -> Problem | None:
        """A guarded flag that is abbreviated, or hidden in the value of another: argparse would accept both."""
        guarded = {REMOTE_CODE, *self.reserved, *self.secret}
        full = None if name in self.known else next((g for g in guarded if name and g.startswith(name)), None)
        if full and full != name:
            return Problem(where=name, why=f"is an abbreviation of {full}", remedy="write flags in full")
        for item in items_of(value, self.known.get(name)):
            if isinstance(item, str) and _FLAG_LIKE.match(item):
                why = "looks like a flag, and the server would read it as one"
                return Problem(where=name, value=item, why=why, remedy="correct the value")
        return None

    def _type_problem(self, entry: CatalogEntry, value: Value) -> Problem | None:
        if entry.name in self.human and isinstance(value, str) and self.whole(value) is not None:
            return None
        return type_problem(entry, value)

    def _off_spelling(self, name: str, value: Value) -> Problem | None:
        for entry in self.known.values():
            if entry.off_flag == name:
                why = "is the off spelling of a switch"
                remedy = f"write {entry.name}: false"
                return Problem(where=name, value=text_of(value), why=why, remedy=remedy)
        return None

    def notes(self, values: Mapping[str, Value]) -> list[Problem]:
        """Warnings about flags that are not in the catalog and are passed on unchecked."""
        found = []
        for name, value in self.named(values).items():
            if name not in self.known and not self.check_value(name, value):
                near = did_you_mean(name, list(self.known))
                remedy = near if near.startswith("did you mean") else "the server will reject it if it is unknown"
                why = f"is not in the catalog ({self.kind} {self.version}); passed on unchecked"
                found.append(Problem(where=name, value=text_of(value), why=why, remedy=remedy))
        return found

    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """Problems of single values; if there are none, of their combination and of running them on this GPU."""
        try:
            named = self.named(values)
        except UsageError as error:
            return list(error.problems)
        problems = [problem for name, value in named.items() for problem in self.check_value(name, value)]
        return problems or list(self.relations(named, hardware))

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """What the server decided, and ``simulated`` if it reports that it is a simulator."""
        found = {n: v for n, v in self.decided(server_info, metrics, log).items() if v is not None}
        if server_info.get("simulated") is True or _SIMULATED.search(metrics):
            found["simulated"] = True
        return found

    @abstractmethod
    def decided(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """Values that the server chose by itself; None for those it does not report."""

    def value(self, values: Mapping[str, Value], name: str) -> Value:
        """A value, or its catalog default."""
        given = values.get(name)
        return self.known[name].default if given is None and name in self.known else given

    def size(self, values: Mapping[str, Value], name: str, default: int = 1) -> int:
        """An integer from the values or the catalog; ``default`` if there is none."""
        return self.whole(self.value(values, name)) or default

    def whole(self, value: Value) -> int | None:
        """A value as an integer, including ``8k``; None if it is not an integer."""
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, int):
            return value if abs(value) < _TOO_LARGE else None
        written = str(value).strip()
        suffixed = _SUFFIXED.fullmatch(written)
        if suffixed and suffixed[2] in self.suffixes:
            return int(float(suffixed[1]) * self.suffixes[suffixed[2]])
        return int(written) if re.fullmatch(r"-?\d{1,18}", written) else None


def _adapter_path(written: str) -> str:
    if not written.startswith("{"):
        return written.rpartition("=")[2]
    try:
        found = json.loads(written)
    except ValueError:  # left to the server to report
        return ""
    return str(found.get("path") or found.get("lora_path") or "")


def _is_file(value: Value) -> bool:
    return isinstance(value, str) and (is_local(value) or value.endswith(_FILE_ENDINGS))


def problem(where: str, value: Value, why: str, remedy: str) -> Problem:
    """A problem of one value."""
    return Problem(where=where, value=text_of(value), why=why, remedy=remedy)


def too_old(where: str, value: Value, has: float, needs: float) -> Problem:
    """The problem of a value that this GPU's compute capability does not allow."""
    why = f"needs a GPU with compute capability {needs:g} or higher; this one has {has:g}"
    return problem(where, value, why, "choose another value, or a newer GPU")
