"""What one inference server needs: knowledge only, pure functions, no I/O."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel

from autotuner.errors import Problem, UsageError
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure
from autotuner.study.launch import Hardware, LaunchPlan
from autotuner.study.parameters.environment import flags_in, variables_in
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.parameters.portable import file_path, is_portable
from autotuner.study.spec import EngineSpec, Model


@dataclass(frozen=True)
class CommandFlags:
    """Flags found in a command line, by canonical name."""

    single: Mapping[str, Value] = field(default_factory=dict)
    """Those that say one thing: their value by its type, True for a bare switch, False for an off flag."""
    several: frozenset[str] = frozenset()
    """Those that occur more than once, or have arguments behind their value."""


class LoadLimit(StrEnum):
    """What bounds the effect of a flag: larger values do the same under a load that does not reach further."""

    REQUESTS = "requests"
    """Requests in flight."""
    PROMPT_TOKENS = "prompt_tokens"
    """Tokens of all prompts in flight, computed in one step."""
    REQUEST_TOKENS = "request_tokens"
    """Tokens of one request, answer included."""
    QUEUE = "queue"
    """Any effect needs requests that wait."""
    PREFIXES = "prefixes"
    """Any effect needs prompts that share a beginning."""


class Engine(ABC):
    """An inference server's command line, catalog and failure causes.

    Subclasses are constructed with ``Engine(settings)`` where ``settings`` is an instance of their ``Settings``.
    """

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    catalog: ClassVar[Mapping[str, CatalogEntry]]
    """By canonical name (hyphenated, no leading dashes)."""
    starters: ClassVar[tuple[str, ...]] = ()
    """What to tune first where a study is begun from nothing: the flags with the largest effect on most models."""
    load_limits: ClassVar[Mapping[str, LoadLimit]] = {}
    """By canonical name: flags whose values can only differ as far as the load reaches."""
    core_flags: ClassVar[frozenset[str]] = frozenset()
    """Flags that count threads: values above the machine's cores are not worth trying first."""
    starter_degree: ClassVar[str] = ""
    """The flag that spreads a model over GPUs, tuned first on a machine that has several."""
    starter_load: ClassVar[tuple[str, tuple[int, ...]]] = ("D(128,64)", (1, 8))
    """Scenario and concurrencies of a study that is begun from nothing."""
    starter_gpu_args: ClassVar[Mapping[str, Value]] = {}
    """What puts a server of one's own on the GPU, where the machine has one."""
    starter_model: ClassVar[str] = "model.gguf"
    starter_deployer: ClassVar[str] = "process"
    """Where most people run this server."""
    starter_constraint: ClassVar[str] = ""
    """An example of a bound between its parameters; empty: none comes to mind."""

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    def canonical(self, name: str) -> str:
        """The flag's canonical name: underscores, leading dashes and catalog aliases are resolved; unknown names and
        portable ones are only hyphenated, never rejected."""
        bare = name.lstrip("-").replace("_", "-")
        if bare in self.catalog:
            return bare
        for entry in self.catalog.values():
            if bare in entry.aliases or name.lstrip("-") in entry.aliases:
                return entry.name
        return bare

    @abstractmethod
    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The launch of one configuration. Tuned values override fixed arguments of the same canonical name."""

    @abstractmethod
    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` with these flags replaced (every alias, ``--a=b`` and ``--a b``) or appended."""

    @abstractmethod
    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """What ``argv`` says of a flag (aliases known): its text, True for a bare switch, False for an explicit off
        flag, None where absent. Used to prove that a tuned value reached the process."""

    def read(self, argv: Sequence[str]) -> CommandFlags:
        """The flags of a command line that this engine did not make, e.g. that of a cluster's runtime. Here: none."""
        return CommandFlags()

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """What is wrong with one value whatever else is set: unknown flag, wrong type, out of range. Relations between
        flags belong to :meth:`check`."""
        return []

    def expand(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """``values`` with the portable names (``parallelism.tp``, ``quantization.kv-cache``) replaced by this engine's
        real flags; own flags win, and what is left to the engine is left out. Raises ``UsageError`` for what the engine
        does not have; here for every portable name."""
        names = [name for name in values if is_portable(name)]
        if names:
            why = f"{self.kind} has no portable settings"
            remedy = "write the engine's own flags"
            raise UsageError([Problem(where=file_path(name), why=why, remedy=remedy) for name in names])
        return dict(values)

    def check_portable(self, name: str, value: Value) -> list[Problem]:
        """What is wrong with one portable setting whatever else is set. What the engine only lacks together with others
        belongs to :meth:`expand`."""
        try:
            self.expand({name: value})
        except UsageError as error:
            return list(error.problems)
        return []

    def portable_flags(self, name: str) -> frozenset[str]:
        """The engine's flags that a portable name may set, in every spelling that could be met."""
        return frozenset()

    def launch(
        self, model: Model, spec: EngineSpec, configuration: Configuration, variables: Sequence[str] = ()
    ) -> LaunchPlan:
        """:meth:`plan` with tuned environment variables set and portable names replaced.

        Flags that stand for portable names count as tuned, so that each of them is looked for in the running process.
        ``variables`` are all that the study tunes: one that the configuration leaves out is not inherited from the
        tuner's own environment, so that every run of the study starts the same server.

        Raises:
            UsageError: As :meth:`expand` does.
        """
        env = {**dict.fromkeys(variables), **variables_in(configuration.values)}
        given = {name: text for name, text in env.items() if text is not None}
        flags = Configuration(values=flags_in(configuration.values))
        planned = self._launch(model, spec.model_copy(update={"env": {**spec.env, **given}}), flags)
        return planned.model_copy(update={"tuned_env": env}) if env else planned

    def _launch(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        if not any(is_portable(name) for name in (*spec.args, *configuration.values)):
            return self.plan(model, spec, configuration)
        own = {self.canonical(n): v for n, v in spec.args.items() if not is_portable(n)}
        fixed = {n: v for n, v in spec.args.items() if is_portable(n)}
        values = self.expand({**own, **fixed, **configuration.values})
        tuned = {self.canonical(n): v for n, v in values.items() if n not in own or n in configuration.values}
        return self.plan(model, spec.model_copy(update={"args": own}), Configuration(values=tuned))

    def notes(self, values: Mapping[str, Value]) -> list[Problem]:
        """What a person should know of these values though they are allowed, e.g. flags that the catalog lacks."""
        return []

    @abstractmethod
    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """What is knowably wrong with these values (fixed arguments and tuned values together) before any launch."""

    def machine(self, hardware: Hardware) -> Hardware:
        """The target as this engine's servers see it; what constraints know of it. Here: as it is."""
        return hardware

    @abstractmethod
    def gpus(self, values: Mapping[str, Value]) -> int:
        """GPUs that a server with these values uses."""

    @abstractmethod
    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """The cause of an end, from exit code and log; ``ready`` tells whether the server had answered before.
        None where nothing is recognized."""

    @abstractmethod
    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """The settings the server decided for itself, from its own information endpoint (``info_path``), its
        Prometheus text (``metrics_path``) and its log so far. Each may be empty. ``simulated: True`` where the server
        says that its numbers are not real."""

    info_path: ClassVar[str | None] = None
    """Path of the endpoint whose JSON goes to :meth:`resolved`; None: there is none."""
    metrics_path: ClassVar[str | None] = None
    """Path of the Prometheus text that goes to :meth:`resolved`; None: it is not needed."""
