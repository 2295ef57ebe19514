"""The interface of engines: knowledge of one inference server, as pure functions without I/O."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel

from autotuner.errors import Problem, UsageError
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.study.base import Value, value_text
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure
from autotuner.study.launch import Hardware, LaunchPlan
from autotuner.study.parameters.environment import flags_in, is_variable, variables_in
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.parameters.portable import file_path, is_portable
from autotuner.study.search.serving import Serving
from autotuner.study.search.starting_point import StartingPoint
from autotuner.study.spec import EngineSpec, Model


@dataclass(frozen=True)
class CommandFlags:
    """Flags found in a command line, by canonical name."""

    single: Mapping[str, Value] = field(default_factory=dict)
    """Flags with a single value: the value with its type, True for a bare switch, False for an off flag."""
    several: frozenset[str] = frozenset()
    """Flags that occur more than once, or are followed by several arguments."""


@dataclass(frozen=True)
class ControlRequest:
    """A POST request that changes a running server."""

    path: str
    body: Mapping[str, object] = field(default_factory=dict)
    """Sent as JSON."""


class LoadLimit(StrEnum):
    """What bounds the effect of a flag: values beyond what the load reaches make no difference."""

    REQUESTS = "requests"
    """Requests in flight."""
    PROMPT_TOKENS = "prompt_tokens"
    """Total prompt tokens in flight, computed in one step."""
    REQUEST_TOKENS = "request_tokens"
    """Tokens of one request, prompt and answer together."""
    QUEUE = "queue"
    """The flag has an effect only while requests wait in the queue."""
    PREFIXES = "prefixes"
    """The flag has an effect only if prompts share a prefix."""


class Engine(ABC):
    """An inference server's command line, catalog and failure causes, constructed with ``Engine(settings)``."""

    kind: ClassVar[str]
    Settings: ClassVar[type[BaseModel]]
    catalog: ClassVar[Mapping[str, CatalogEntry]]
    """Known flags by canonical name (hyphenated, no leading dashes)."""
    starters: ClassVar[tuple[str, ...]] = ()
    """Flags that a new study tunes first: those with the largest effect on most models."""
    load_limits: ClassVar[Mapping[str, LoadLimit]] = {}
    """Flags, by canonical name, whose effect ends where the load ends."""
    arithmetic_flags: ClassVar[frozenset[str] | None] = None
    """Flags of the catalog that may change what the model answers; None: all. See :meth:`changes_arithmetic`."""
    loading_flags: ClassVar[frozenset[str] | None] = None
    """Flags of the catalog that decide which weights are read, how, and what is compiled; None: all. See
    :meth:`loads`."""
    runtime_flags: ClassVar[frozenset[str]] = frozenset()
    """Flags, by canonical name, that a running server can change; see :meth:`change`."""
    core_flags: ClassVar[frozenset[str]] = frozenset()
    """Flags that set a number of threads: a new study does not try more than the machine has cores."""
    starter_degree: ClassVar[str] = ""
    """The flag that spreads a model over GPUs; a new study tunes it on a machine with several GPUs."""
    starter_load: ClassVar[tuple[str, tuple[int, ...]]] = ("D(128,64)", (1, 8))
    """Scenario and concurrencies of a new study."""
    starter_gpu_args: ClassVar[Mapping[str, Value]] = {}
    """Fixed arguments of a new study that put a local server on the GPU, if the machine has one."""
    starter_model: ClassVar[str] = "model.gguf"
    """Model of a new study, as an example."""
    starter_deployer: ClassVar[str] = "process"
    """Deployer of a new study: where this server usually runs."""
    starter_constraint: ClassVar[str] = ""
    """A constraint between this engine's parameters as an example for a new study; empty if there is no good one."""

    def __init__(self, settings: BaseModel) -> None:
        self.settings = settings

    def canonical(self, name: str) -> str:
        """The flag's canonical name: underscores, leading dashes and aliases of the catalog are resolved.

        Unknown and portable names are only hyphenated, never rejected.
        """
        bare = name.lstrip("-").replace("_", "-")
        if bare in self.catalog:
            return bare
        for entry in self.catalog.values():
            if bare in entry.aliases or name.lstrip("-") in entry.aliases:
                return entry.name
        return bare

    @abstractmethod
    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The launch plan of a configuration. Tuned values override fixed arguments of the same canonical name."""

    @abstractmethod
    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` with these flags replaced (every alias, ``--a=b`` and ``--a b``) or appended."""

    @abstractmethod
    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """The value of a flag in ``argv``, under any of its aliases.

        Returns:
            The flag's text; True for a bare switch, False for an explicit off flag, None if the flag is absent. The
            trial compares it with the plan's to prove that a tuned value reached the process.
        """

    def read(self, argv: Sequence[str]) -> CommandFlags:
        """The flags of a command line that autotuner did not build, such as a cluster runtime's. Default: none."""
        return CommandFlags()

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """Problems of one value, whatever else is set: unknown flag, wrong type, out of range.

        Relations between flags belong in :meth:`check`.
        """
        return []

    def expand(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """``values`` with portable names (``parallelism.tp``, ``quantization.moe``) replaced by this engine's flags.

        The engine's own flags take precedence, and settings that are left to the engine are omitted.

        Raises:
            UsageError: For settings that the engine does not have; by default for every portable name.
        """
        names = [name for name in values if is_portable(name)]
        if names:
            why = f"{self.kind} has no portable settings"
            remedy = "write the engine's own flags"
            raise UsageError([Problem(where=file_path(name), why=why, remedy=remedy) for name in names])
        return dict(values)

    def check_portable(self, name: str, value: Value) -> list[Problem]:
        """Problems of one portable setting, whatever else is set. Unsupported combinations belong in :meth:`expand`."""
        try:
            self.expand({name: value})
        except UsageError as error:
            return list(error.problems)
        return []

    def portable_flags(self, name: str) -> frozenset[str]:
        """The engine's flags that a portable name may set, in all spellings."""
        return frozenset()

    def launch(
        self, model: Model, spec: EngineSpec, configuration: Configuration, variables: Sequence[str] = ()
    ) -> LaunchPlan:
        """:meth:`plan` with tuned environment variables set and portable names replaced.

        Flags that portable names expand to count as tuned, so that each of them is verified in the running process.

        Args:
            model: The model as the server finds it.
            spec: The engine's section of the study.
            configuration: Tuned values.
            variables: All environment variables that the study tunes. One that the configuration leaves out is not
                inherited from the tuner's own environment, so that every run of the study starts the same server.

        Raises:
            UsageError: If the engine does not have a portable setting.
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
        """Warnings about values that are allowed, such as flags that the catalog does not know."""
        return []

    @abstractmethod
    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """Problems of these values (fixed and tuned together) that can be known before a launch."""

    def machine(self, hardware: Hardware) -> Hardware:
        """The target's hardware as this engine's servers see it and as constraints may name it. Default: unchanged."""
        return hardware

    @abstractmethod
    def gpus(self, values: Mapping[str, Value]) -> int:
        """Number of GPUs that a server with these values uses."""

    def priced_gpus(self, values: Mapping[str, Value]) -> int:
        """Number of GPUs that a server with these values is billed for. Default: those that it uses."""
        return self.gpus(values)

    def serving(self, values: Mapping[str, Value], hardware: Hardware) -> Serving | None:
        """What is known about a server with these values (fixed and tuned together) before it is launched.

        Returns:
            None if the flags affect memory or speed in a way that is not modeled; by default always None.
        """
        return None

    def changes_arithmetic(self, name: str) -> bool:
        """Whether another value of a flag or an environment variable may change what the model answers.

        Weight and KV formats, speculative decoding and attention backends do; batch sizes and memory limits only change
        which requests are computed together.

        Args:
            name: Canonical or portable name of a flag, or ``env.NAME``.

        Returns:
            True for what is not known: portable number formats, variables, flags that the catalog lacks, and everything
            if :attr:`arithmetic_flags` is None.
        """
        if self.arithmetic_flags is None or is_variable(name):
            return True
        if is_portable(name):
            return name.startswith("quantization.")
        flag = self.canonical(name)
        return flag in self.arithmetic_flags or flag not in self.catalog

    def loads(self, values: Mapping[str, Value]) -> frozenset[tuple[str, str]]:
        """What a server with these values (fixed and tuned together) reads and compiles, as far as flags decide it.

        Flags that the catalog lacks count, like those whose effect on loading is not known.
        """
        flags = self.loading_flags
        defaults = {name: value_text(entry.default) for name, entry in self.catalog.items()}
        given = {name: value_text(value) for name, value in values.items() if value is not None}
        own = {name: text for name, text in given.items() if flags is None or name in flags or name not in defaults}
        return frozenset((name, text) for name, text in own.items() if text != defaults.get(name))

    def starting_points(self, hardware: Hardware) -> Sequence[StartingPoint]:
        """Values that the engine's documentation recommends, the most promising ones first. Default: none.

        Args:
            hardware: As this engine's servers see it.
        """
        return ()

    @abstractmethod
    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """Why the server ended.

        Args:
            exit_code: Negative for the signal that ended it; None if it is not known.
            log_tail: The end of its log.
            ready: Whether the server had answered before.

        Returns:
            The failure, or None if the log shows no known cause.
        """

    @abstractmethod
    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """The settings that the server chose itself.

        Args:
            server_info: JSON of its information endpoint (``info_path``); may be empty.
            metrics: Text of its Prometheus endpoint (``metrics_path``); may be empty.
            log: Its log so far.

        Returns:
            Settings by name, with ``simulated: True`` if the server says that its numbers are not real.
        """

    def change(self, flags: Mapping[str, Value]) -> Sequence[ControlRequest]:
        """Requests that set flags of a running server and empty its caches, so that it is as one launched with them.

        Args:
            flags: Values by canonical name, all of them among :attr:`runtime_flags`.
        """
        return ()

    def running_values(self, server_info: Mapping[str, Any]) -> Sequence[Mapping[str, object]]:
        """The present values of :attr:`runtime_flags`, by canonical name, to prove that a change took effect.

        Args:
            server_info: JSON of the information endpoint (``info_path``).

        Returns:
            One mapping for each part of the server that has values of its own; empty if the server does not tell.
        """
        return ()

    info_path: ClassVar[str | None] = None
    """Path of the endpoint whose JSON :meth:`resolved` and :meth:`running_values` read; None if there is none."""
    server_metrics: ClassVar[MetricsSource | None] = None
    """Names of its servers' Prometheus metrics, which are sampled during each window; None if there are none."""
    metrics_path: ClassVar[str | None] = None
    """Path of the Prometheus endpoint that :meth:`resolved` reads; None if it needs none."""
