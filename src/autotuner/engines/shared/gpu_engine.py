"""What SGLang, vLLM and TensorRT-LLM have in common: one program with flags, a model from a folder or a hub, GPUs.

Their catalogs hold what people tune. They do not hold every flag, and images are newer or older than a catalog: other
flags are passed on, with a note.
"""

import json
import re
import shlex
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
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
from autotuner.study.text_forms import Duration

REMOTE_CODE = "trust-remote-code"
REVISION = "revision"
"""Flag of all these servers: branch, tag or commit of a model that comes from the Hub."""
_SIMULATED = re.compile(r"^autotuner_simulated 1(?:\.0)?\s*$", re.MULTILINE)
_SUFFIXED = re.compile(r"(\d+(?:\.\d+)?)([A-Za-z]{1,2})")
_FLAG_LIKE = re.compile(r"--?[A-Za-z]")
_FILE_ENDINGS = (".yaml", ".yml", ".json", ".jinja")


class GpuEngineSettings(BaseModel):
    """Settings of the engine in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str = ""
    """Program with its leading arguments, as a shell splits it."""
    start_timeout: Duration = Field(default=1200.0, gt=0)
    """Longest time from launch to ready, in seconds: the model's download and the graphs' capture are part of it."""
    device: Literal["gpu", "cpu"] = "gpu"
    """``cpu``: a build of the server that uses no GPU."""
    allow_remote_code: bool = False
    """Lets ``trust-remote-code`` be set, which executes code that comes with the model."""


class GpuEngine(PortableEngine):
    """An engine's command line, catalog and relations, from tables."""

    Settings: ClassVar[type[BaseModel]] = GpuEngineSettings
    known: ClassVar[Mapping[str, CatalogEntry]]
    """The catalog, and the flags that are set but not tuned."""
    reserved: ClassVar[Mapping[str, str]]
    """Flags that the study sets elsewhere, by canonical name, each with the remedy."""
    secret: ClassVar[Mapping[str, str]] = {}
    """Flags whose value nobody may see, each with the remedy. Everyone on the machine can read a command line."""
    human: ClassVar[frozenset[str]] = frozenset()
    """Whole numbers that the server also reads as ``8k``."""
    suffixes: ClassVar[Mapping[str, int]] = {}
    """What ``k`` and the like mean to the server."""
    models: ClassVar[tuple[str, ...]] = ()
    """Flags whose value is another model: a folder, or a hub's id."""
    adapters: ClassVar[tuple[str, ...]] = ()
    """Flags whose values are LoRA adapters: a path or a hub's id, NAME=PATH, or JSON."""
    files: ClassVar[tuple[str, ...]] = ()
    """Flags whose value is a file of the target."""
    starter_deployer: ClassVar[str] = "docker"
    starter_load: ClassVar[tuple[str, tuple[int, ...]]] = ("D(512,128)", (1, 32))
    starter_model: ClassVar[str] = "Qwen/Qwen3-8B"
    image: ClassVar[str]
    """Default container image with its tag."""
    version: ClassVar[str]
    """The server's version that the catalog was read from."""
    help_flag: ClassVar[str] = "--help"
    always: ClassVar[Mapping[str, Value]] = {}
    """Values that hold unless the study says otherwise."""

    settings: GpuEngineSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._line = self.command_line()

    def command_line(self) -> CommandLine:
        """How this engine's command lines are read and written."""
        return CommandLine(self.known)

    @abstractmethod
    def command(self, model: Model) -> tuple[tuple[str, ...], tuple[Flag, ...]]:
        """The program, and the flags that name the model."""

    @abstractmethod
    def served_name(self, model: Model) -> str:
        """What the server calls the model."""

    @abstractmethod
    def relations(self, values: Mapping[str, Value], hardware: Hardware) -> Iterator[Problem]:
        """What the server would refuse, or what has no effect, of values that are each valid."""

    @abstractmethod
    def gpu_count(self, values: Mapping[str, Value]) -> int:
        """GPUs that these values (by canonical name) ask for."""

    def canonical(self, name: str) -> str:
        """As in every engine, with the flags that are set and not tuned."""
        bare = name.lstrip("-").replace("_", "-")
        if bare in self.known:
            return bare
        return next((e.name for e in self.known.values() if bare in e.aliases), bare)

    def named(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Values by canonical name, portable names replaced. Raises ``UsageError`` as :meth:`expand`."""
        named = {self.canonical(n): v for n, v in values.items()}
        return {self.canonical(n): v for n, v in self.expand(named).items()}

    @property
    def program(self) -> tuple[str, ...]:
        """The server's program with its leading arguments."""
        return tuple(shlex.split(self.settings.server))

    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The launch of one configuration. Values that apply to every trial stand first, tuned ones last."""
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
        """Where the LoRA adapters are: a container must see their folders as it does the model's."""
        written = [str(item) for name in self.adapters for item in items_of(values.get(name), self.known.get(name))]
        return [path for path in map(_adapter_path, written) if path]

    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` with these flags replaced in every spelling, or appended."""
        return self._line.override(argv, {self.canonical(n): v for n, v in flags.items()})

    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """What ``argv`` says of a flag; the last one counts, as for the server."""
        return self._line.value(argv, self.canonical(name))

    def read(self, argv: Sequence[str]) -> CommandFlags:
        """The flags of a command line that was written by hand."""
        return self._line.read(argv)

    def gpus(self, values: Mapping[str, Value]) -> int:
        """GPUs of one server: the product of the sizes that split or repeat the model."""
        return self._gpus(self.named(values))

    def _gpus(self, values: Mapping[str, Value]) -> int:
        return 0 if self.settings.device == "cpu" else self.gpu_count(values)

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """A value of its flag's type and range, of a flag that may be set here. Unknown flags are let through."""
        name = self.canonical(name)
        entry = self.known.get(name)
        problem = self._misspelt_off(name, value) if entry is None else self._type_problem(entry, value)
        problem = problem or self._hidden(name, value)
        if name == REMOTE_CODE and value and not self.settings.allow_remote_code:
            why = "executes code that comes with the model"
            remedy = "if you trust the model's author, write allow_remote_code: true in the engine's section"
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
        """A flag that would be set by its beginning, or as the value of another: argparse takes both for the flag."""
        guarded = {REMOTE_CODE, *self.reserved, *self.secret}
        full = None if name in self.known else next((g for g in guarded if name and g.startswith(name)), None)
        if full and full != name:
            return Problem(where=name, why=f"is short for {full}", remedy="write flags in full")
        for item in items_of(value, self.known.get(name)):
            if isinstance(item, str) and _FLAG_LIKE.match(item):
                return Problem(where=name, value=item, why="looks like a flag, and is read as one", remedy="correct it")
        return None

    def _type_problem(self, entry: CatalogEntry, value: Value) -> Problem | None:
        if entry.name in self.human and isinstance(value, str) and self.whole(value) is not None:
            return None
        return type_problem(entry, value)

    def _misspelt_off(self, name: str, value: Value) -> Problem | None:
        for entry in self.known.values():
            if entry.off_flag == name:
                why = "is the off spelling of a switch"
                remedy = f"write {entry.name}: false"
                return Problem(where=name, value=text_of(value), why=why, remedy=remedy)
        return None

    def notes(self, values: Mapping[str, Value]) -> list[Problem]:
        """Flags that the catalog lacks: passed on unchecked."""
        found = []
        for name, value in self.named(values).items():
            if name not in self.known and not self.check_value(name, value):
                near = did_you_mean(name, list(self.known))
                remedy = near if near.startswith("did you mean") else "the server itself will say whether it knows it"
                why = f"is not in the catalog ({self.kind} {self.version}), so it is passed on unchecked"
                found.append(Problem(where=name, value=text_of(value), why=why, remedy=remedy))
        return found

    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """Types, ranges and choices; then what the server would refuse together, or could not run on this GPU."""
        try:
            named = self.named(values)
        except UsageError as error:
            return list(error.problems)
        problems = [problem for name, value in named.items() for problem in self.check_value(name, value)]
        return problems or list(self.relations(named, hardware))

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """What the server decided, and ``simulated`` where it says that its numbers are not real."""
        found = {n: v for n, v in self.decided(server_info, metrics, log).items() if v is not None}
        if server_info.get("simulated") is True or _SIMULATED.search(metrics):
            found["simulated"] = True
        return found

    @abstractmethod
    def decided(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """What the server decided for itself; None where it does not say."""

    def value(self, values: Mapping[str, Value], name: str) -> Value:
        """A value, or its catalog default."""
        given = values.get(name)
        return self.known[name].default if given is None and name in self.known else given

    def size(self, values: Mapping[str, Value], name: str, default: int = 1) -> int:
        """A whole number of the values or the catalog; ``default`` where there is none."""
        return self.whole(self.value(values, name)) or default

    def whole(self, value: Value) -> int | None:
        """A value as a whole number, ``8k`` included; None where it is none."""
        written = str(value).strip()
        if isinstance(value, bool) or value is None:
            return None
        said = _SUFFIXED.fullmatch(written)
        if said and said[2] in self.suffixes:
            return int(float(said[1]) * self.suffixes[said[2]])
        return int(written) if re.fullmatch(r"-?\d{1,18}", written) else None


def _adapter_path(written: str) -> str:
    if not written.startswith("{"):
        return written.rpartition("=")[2]
    try:
        found = json.loads(written)
    except ValueError:  # for the server to say
        return ""
    return str(found.get("path") or found.get("lora_path") or "")


def _is_file(value: Value) -> bool:
    return isinstance(value, str) and (is_local(value) or value.endswith(_FILE_ENDINGS))


def problem(where: str, value: Value, why: str, remedy: str) -> Problem:
    """What is wrong with one value."""
    return Problem(where=where, value=text_of(value), why=why, remedy=remedy)


def too_old(where: str, value: Value, has: float, needs: float) -> Problem:
    """A value that this GPU's compute capability does not allow."""
    why = f"needs a GPU of compute capability {needs:g} or more, this one has {has:g}"
    return problem(where, value, why, "choose another value, or a newer GPU")
