"""The content of a study file."""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import ConfigDict, Field

from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration
from autotuner.study.objective import SLO, Objective
from autotuner.study.parameters.engines import ENGINE, own_values, qualified_constraint, qualified_values
from autotuner.study.parameters.parameter import Parameter, as_flags
from autotuner.study.parameters.reference import ReferenceWord, reference_word
from autotuner.study.quality.spec import QualitySpec
from autotuner.study.search.stopping import StopRule
from autotuner.study.workload import CapacityLoad, Workload

NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""Valid names of studies."""


class Model(FrozenModel):
    """The served model."""

    path: str
    """File, folder or Hub ID that the engine accepts."""
    name: str | None = None
    """Value of ``model`` in requests; None: chosen by the engine."""

    @property
    def local(self) -> bool:
        """Whether ``path`` is a file or folder on the target and not a Hub ID."""
        return is_local(self.path)


def is_local(path: str) -> bool:
    """Whether a model's path is a file or folder: it starts with ``/``, ``~`` or a dot."""
    return path.startswith(("/", "~", "./", "../")) or path in {".", ".."}


class PluginSpec(FrozenModel):
    """A plugin by ``kind``, with its settings in the same mapping; the plugin's settings model validates them."""

    model_config = ConfigDict(extra="allow")

    kind: str

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but ``kind``."""
        return dict(self.__pydantic_extra__ or {})


class EngineSpec(PluginSpec):
    """The inference server. ``args`` and ``env`` apply to every trial, including the first one's."""

    args: Mapping[str, Value] = Field(default_factory=dict)
    env: Mapping[str, str] = Field(default_factory=dict)


class EngineEntry(FrozenModel):
    """One of several engines of a study, with parameters and a deployer of its own."""

    name: str
    engine: EngineSpec
    deploy: PluginSpec
    parameters: tuple[Parameter, ...] = ()
    """By the engine's own names; :attr:`StudySpec.parameters` has them under the entry's name."""
    constraints: tuple[str, ...] = ()
    baseline: Mapping[str, Value] = Field(default_factory=dict)
    """As :attr:`StudySpec.baseline`, by the engine's own names."""

    @property
    def measured(self) -> dict[str, Any]:
        """The settings that determine what is measured: an entry with other ones is another entry."""
        return _without_incidental(self.model_dump(mode="json", include={"engine", "deploy"}))

    @property
    def digest(self) -> str:
        """Hash of :attr:`measured`."""
        return digest_of(self.measured)


AUTO = "auto"
"""Stands for the search strategy that is best in general: :data:`AUTO_STRATEGY`, or the one that a stored study began
with."""
AUTO_STRATEGY = "calibrated"


class SearchSpec(PluginSpec):
    """Search strategy and budget. Times in seconds."""

    kind: str = AUTO
    trials: int = Field(default=20, ge=1)
    """Configurations to launch, including the default (trial 0); repeats of the confirmation are not counted."""
    seed: int = 0
    time_s: float | None = Field(default=None, gt=0)
    gpu_hours: float | None = Field(default=None, gt=0)
    parallel: int = Field(default=1, ge=1)
    """Trials that may run at the same time."""
    trial_timeout_s: float | None = Field(default=None, gt=0)
    """Time limit of one trial, from launch to the end of measuring."""
    racing: Literal["auto", "levels", "off"] = "off"
    """Whether trials end once it is decided that they do not win: ``auto`` by a short window before the full ones or by
    full windows, ``levels`` by full windows only. Earlier versions measured everything."""
    max_environment_faults: int = Field(default=3, ge=1)
    """Consecutive environment faults after which the study stops."""
    warm_start: Literal["auto", "none"] | tuple[str, ...] = "auto"
    """Earlier studies that the search learns from: all related ones, none, or those with these names."""
    prior: str = "auto"
    """What predicts results before a launch: ``auto``, ``roofline``, ``none`` or a plugin."""
    stop: StopRule | None = None
    """Ends the search before its budgets are used up; None: only they end it."""

    @property
    def races(self) -> bool:
        """Whether a trial may end before all of its levels are measured."""
        return self.racing != "off"


class ConfirmSpec(FrozenModel):
    """The proof: the default and its best challengers are measured again in interleaved blocks, one at a time."""

    repeats: int | None = Field(default=None, ge=0)
    """A fixed number of launches of each configuration, which nothing ends earlier. 0 skips the proof; fewer than 2
    cannot prove anything. None: as many blocks as the decision takes, within ``at_most``."""
    at_most: int = Field(default=12, ge=2)
    """Most blocks of the proof; each launches every configuration once."""
    margin: float | None = Field(default=None, gt=0, lt=1)
    """Relative difference within which two configurations count as equally good; None: see :attr:`zone`."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Probability that all intervals of the proof hold, those of several challengers and objectives together."""
    challengers: int = Field(default=3, ge=1)
    """Best configurations of the search that are measured again; one that falls behind is dropped after a block."""

    @property
    def blocks(self) -> int:
        """Most launches of each configuration."""
        return self.at_most if self.repeats is None else self.repeats

    @property
    def adaptive(self) -> bool:
        """Whether the proof ends as soon as it is decided."""
        return self.repeats is None

    @property
    def zone(self) -> float:
        """The indifference zone: :attr:`margin`, or 2%, or 3% for a fixed number of repeats as in earlier versions."""
        if self.margin is not None:
            return self.margin
        return 0.02 if self.adaptive else 0.03


class StudySpec(FrozenModel):
    """A study: what to tune, how to measure it, and what to optimize."""

    name: str = Field(pattern=f"^{NAME_PATTERN}$")
    model: Model
    engine: EngineSpec
    deploy: PluginSpec
    engines: tuple[EngineEntry, ...] = ()
    """The engines to choose from, the baseline first; ``engine`` and ``deploy`` are then the baseline's. ``parameters``
    are those of all engines as one space (see :mod:`autotuner.study.parameters.engines`), ``constraints`` the ones that
    no entry has. Empty: ``engine`` is the only one."""
    benchmark: PluginSpec = PluginSpec(kind="native")
    parameters: tuple[Parameter, ...] = ()
    combinations: tuple[Mapping[str, Value], ...] = ()
    """The points of the space, each with a value for every parameter; empty: all combinations of the parameters'
    values."""
    baseline: Mapping[str, Value] = Field(default_factory=dict)
    """Values of tuned parameters, or of flags in named combinations, of the configuration that others are compared
    with; the engine decides about the rest. They need not lie in the space. Empty: the engine's default. Each of
    several ``engines`` has its own."""
    constraints: tuple[str, ...] = ()
    workload: Workload
    objectives: tuple[Objective, ...] = Field(min_length=1)
    slos: tuple[SLO, ...] = ()
    min_success_rate: float = Field(default=0.99, ge=0, le=1)
    search: SearchSpec = SearchSpec()
    confirm: ConfirmSpec = ConfirmSpec()
    quality: QualitySpec | None = None
    """Comparison of answers with the default's; None: answers are not checked."""
    prices: Mapping[str, float] = Field(default_factory=dict)
    """USD per GPU-hour by kind of GPU, ``*`` for others; ``host``: USD per hour of a server without GPUs."""
    worker: Mapping[str, str] = Field(default_factory=dict)
    """Labels of the workers that may take the study from the queue; empty: any worker."""

    @property
    def shared(self) -> tuple[Parameter, ...]:
        """The parameters that all engines have; without ``engines``, all parameters."""
        names = tuple(f"{entry.name}." for entry in self.engines)
        own = (ENGINE,) if self.engines else ()
        return tuple(p for p in self.parameters if p.name not in own and not p.name.startswith(names))

    @property
    def space_constraints(self) -> tuple[str, ...]:
        """The constraints of the whole space, those of the engines included."""
        shared = [p.name for p in self.shared]
        own = (qualified_constraint(e.name, text, shared) for e in self.engines for text in e.constraints)
        return (*own, *self.constraints)

    @property
    def engine_kinds(self) -> tuple[str, ...]:
        """Kinds of the engines, each once."""
        return tuple(dict.fromkeys(e.engine.kind for e in self.engines)) or (self.engine.kind,)

    @property
    def deployers(self) -> tuple[PluginSpec, ...]:
        """The engines' deployers."""
        return tuple(e.deploy for e in self.engines) or (self.deploy,)

    def deployed(self, change: Callable[[PluginSpec], PluginSpec]) -> "StudySpec":
        """The study with every deployer changed."""
        entries = tuple(e.model_copy(update={"deploy": change(e.deploy)}) for e in self.engines)
        return self.model_copy(update={"deploy": change(self.deploy), "engines": entries})

    def engine_name(self, configuration: Configuration) -> str:
        """Name of the engine that a configuration chooses; empty if the study has one engine only."""
        if not self.engines:
            return ""
        return str(configuration.values.get(ENGINE, self.engines[0].name))

    @property
    def references(self) -> tuple[Configuration, ...]:
        """What is compared with: the baseline of each engine, or its default if it states none. The first one is
        trial 0."""
        if not self.engines:
            return (Configuration(values=self.baseline),)
        shared = [p.name for p in self.shared]
        return tuple(Configuration(values=qualified_values(e.name, e.baseline, shared)) for e in self.engines)

    @property
    def reference_word(self) -> ReferenceWord:
        """What to call the configuration of trial 0."""
        return reference_word(self.references[0].values)

    def of_engine(self, name: str) -> "StudySpec":
        """The study as if it had only one of its engines, with the parameters by that engine's own names.

        Raises:
            KeyError: If it has no such engine.
        """
        if not self.engines:
            return self
        entry = {e.name: e for e in self.engines}[name]
        return self.model_copy(
            update={
                "engine": entry.engine,
                "deploy": entry.deploy,
                "engines": (),
                "parameters": (*entry.parameters, *self.shared),
                "constraints": entry.constraints,
                "baseline": entry.baseline,
            }
        )

    def of(self, configuration: Configuration) -> "StudySpec":
        """As :meth:`of_engine`, with the engine that a configuration chooses. Raises ``KeyError``."""
        return self.of_engine(self.engine_name(configuration))

    def as_flags(self, configuration: Configuration) -> Configuration:
        """What a launch sets, by the engine's own names: the configuration with named combinations replaced by the
        flags that they stand for. Raises ``KeyError`` if the study no longer has the engine."""
        if self.engines:
            name = self.engine_name(configuration)
            own = own_values(name, configuration.values)
            return self.of_engine(name).as_flags(Configuration(values=own))
        if not any(p.combinations for p in self.parameters):
            return configuration
        return Configuration(values=as_flags(self.parameters, configuration.values))

    @property
    def measured(self) -> dict[str, Any]:
        """The parts of the study that determine what is measured.

        All trials of a study must agree on them. Parameters, constraints, objectives, SLOs, budgets and the
        confirmation may change while results are kept, except SLOs on each request, because they define goodput. A
        capacity search decides its loads by the SLOs, and ends early by the objectives.
        """
        common = {"model", "benchmark", "workload"}
        if self.engines:  # what each engine measures is compared engine by engine
            data = {**self.model_dump(mode="json", include=common), "baseline": self.engines[0].name}
        else:
            data = _without_incidental(self.model_dump(mode="json", include={*common, "engine", "deploy"}))
        if any(isinstance(level, CapacityLoad) for level in self.workload.levels):
            data["capacity"] = {
                "slos": sorted(s.text for s in self.slos if s.hard),
                "objectives": sorted(o.text for o in self.objectives),
                "min_success_rate": self.min_success_rate,
            }
        if self.quality is not None:
            data["quality"] = self.quality.asked
        of_requests = [s for s in self.slos if s.bounds_each_request]
        return {**data, "slos on each request": sorted(s.text for s in of_requests)}

    @property
    def digest(self) -> str:
        """Hash of :attr:`measured`."""
        return f"m-{digest_of(self.measured)}"

    @property
    def first_digest(self) -> str:
        """The hash in the form of earlier versions, which covers all but budgets and confirmation."""
        data = self.model_dump(mode="json", exclude={"search", "confirm", "prices", "quality", "worker"})
        # Fields that earlier versions do not have are left out if they are empty.
        for name in ("combinations", "engines", "baseline"):
            if not data[name]:
                del data[name]
        for parameter in data["parameters"]:
            for name in ("when", "combinations"):
                if not parameter[name]:
                    del parameter[name]
        return digest_of(data)


def digest_of(data: Mapping[str, Any]) -> str:
    """Hash of plain data: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _without_incidental(data: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(data)
    for section, names in _INCIDENTAL.items():
        found[section] = {key: value for key, value in data[section].items() if key not in names}
    return found


_INCIDENTAL = {
    "engine": frozenset({"start_timeout"}),
    "deploy": frozenset({"ports", "stop_grace", "start_timeout"}),
}
"""Settings that do not affect results; users change them when a launch fails."""
