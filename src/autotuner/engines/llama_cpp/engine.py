"""llama.cpp: an inference server for CPUs and GPUs, from the ``xllamacpp`` wheel or any ``llama-server`` binary.

Pure: this module starts nothing and inspects nothing.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from autotuner.engines.llama_cpp.causes import explain
from autotuner.engines.llama_cpp.options import OPTIONS, QUANTIZED_CACHE_TYPES, REPLACED, Option
from autotuner.engines.llama_cpp.server_metrics import SERVER_METRICS
from autotuner.engines.llama_cpp.serving import serving
from autotuner.engines.llama_cpp.starting_points import starting_points
from autotuner.engines.shared.command_line import CommandLine, text_of, type_problem
from autotuner.errors import Problem, did_you_mean
from autotuner.plugins.engine import Engine, LoadLimit
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.study.base import Value, parts_of
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure
from autotuner.study.launch import Flag, Hardware, LaunchPlan, Readiness
from autotuner.study.parameters.parameter import CatalogEntry, ValueType
from autotuner.study.search.serving import Serving
from autotuner.study.search.starting_point import StartingPoint
from autotuner.study.spec import EngineSpec, Model
from autotuner.study.text.forms import Duration

WHEEL = "xllamacpp"
LAUNCHER = "autotuner.engines.llama_cpp.server"
_RESERVED = {
    "model": "write model.path",
    "alias": "write model.name",
    "host": "leave it out: the deployer sets it",
    "port": "leave it out: the deployer sets it",
}
_SECRET = {
    "api-key": "export LLAMA_API_KEY before the run",
    "hf-token": "export HF_TOKEN before the run",
}
"""Kept off the command line, which every user of the machine can read."""


class LlamaCppSettings(BaseModel):
    """Settings of the engine in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    server: str = WHEEL
    """``xllamacpp`` for the server in the wheel; else a ``llama-server`` program, as a path or a name on PATH."""
    start_timeout: Duration = Field(default=120.0, gt=0)
    """Longest time from launch to ready, in seconds."""


def _entry(option: Option) -> CatalogEntry:
    numbers = {"low": option.low, "high": option.high}
    return CatalogEntry(
        name=option.name,
        type=ValueType(kind=option.kind, choices=option.choices, **numbers),
        default=option.default,
        meaning=option.meaning,
        aliases=option.aliases,
        off_flag=option.off[0] if option.off else None,
        several="occurrences" if option.repeated else "no",
        suggested=option.suggested,
    )


_KNOWN = {option.name: _entry(option) for option in OPTIONS}
_OFF = {spelling: option.name for option in OPTIONS for spelling in option.off}


class LlamaCpp(Engine):
    """llama-server's command line, catalog and failure causes."""

    kind: ClassVar[str] = "llama_cpp"
    Settings: ClassVar[type[BaseModel]] = LlamaCppSettings
    catalog: ClassVar[Mapping[str, CatalogEntry]] = {o.name: _KNOWN[o.name] for o in OPTIONS if o.tunable}
    info_path: ClassVar[str | None] = "/props"
    server_metrics: ClassVar[MetricsSource | None] = SERVER_METRICS
    starters: ClassVar[tuple[str, ...]] = ("threads", "parallel", "ubatch-size", "flash-attn")
    arithmetic_flags: ClassVar[frozenset[str] | None] = frozenset(
        {"cache-type-k", "cache-type-v", "flash-attn", "cache-reuse", "context-shift", "n-gpu-layers"}
    )
    # Nothing is compiled at the start, and any mapping of the model file finds the same pages in memory. Direct I/O and
    # tensors read on demand leave other pages there.
    loading_flags: ClassVar[frozenset[str] | None] = frozenset({"lazy-mode", "load-mode"})
    core_flags: ClassVar[frozenset[str]] = frozenset({"threads", "threads-batch"})
    load_limits: ClassVar[Mapping[str, LoadLimit]] = {
        "parallel": LoadLimit.REQUESTS,
        "batch-size": LoadLimit.PROMPT_TOKENS,
        "ubatch-size": LoadLimit.PROMPT_TOKENS,
        "cache-reuse": LoadLimit.PREFIXES,
        "slot-prompt-similarity": LoadLimit.PREFIXES,
    }
    starter_gpu_args: ClassVar[Mapping[str, Value]] = {"n-gpu-layers": "all"}
    starter_constraint: ClassVar[str] = "threads * parallel <= 16"

    settings: LlamaCppSettings

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._line = CommandLine(_KNOWN, _OFF, abbreviates=False, unknown="occurrences")

    def canonical(self, name: str) -> str:
        """See :meth:`Engine.canonical`; also knows the options that are set but not tuned."""
        bare = name.lstrip("-")
        for entry in _KNOWN.values():
            if bare in entry.aliases or bare.replace("_", "-") in (entry.name, *entry.aliases):
                return entry.name
        return bare.replace("_", "-")

    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The launch of one configuration; serves ``/metrics`` unless the study turns it off."""
        tuned = self._named(configuration.values)
        values = {"metrics": True, **self._named(spec.args), **tuned}
        served = model.name or PurePath(model.path).stem
        wheel = self.settings.server == WHEEL
        leading = (Flag(name="--model", value=model.path), Flag(name="--alias", value=served))
        return LaunchPlan(
            command=(sys.executable, "-m", LAUNCHER) if wheel else (self.settings.server,),
            flags=(*leading, *(f for n, v in values.items() for f in self._line.flags(n, v))),
            env=dict(spec.env),
            readiness=Readiness(path="/health", timeout_s=self.settings.start_timeout),
            model=served,
            gpus=self.gpus(values),
            needs_modules=(LAUNCHER, WHEEL) if wheel else (),
            needs_files=(model.path, *(str(path) for path in parts_of(values.get("lora")))),
            tuned=tuned,
        )

    def _named(self, values: Mapping[str, Value]) -> dict[str, Value]:
        return {self.canonical(name): value for name, value in values.items()}

    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` with these flags replaced in every spelling, or appended."""
        return self._line.override(argv, self._named(flags))

    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """The value of a flag in ``argv``; the last occurrence wins, as in the server."""
        return self._line.value(argv, self.canonical(name))

    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """Problems of single values; if there are none, of combinations that the server would refuse."""
        named = self._named(values)
        problems = [problem for name, value in named.items() for problem in self.check_value(name, value)]
        return problems or list(self._relations(named, hardware))

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """Problems of one value: an unknown or managed option, or a wrong type or range."""
        name = self.canonical(name)
        entry = _KNOWN.get(name)
        problem = self._unknown(name, value) if entry is None else type_problem(entry, value)
        if name in _SECRET:
            remedy = _SECRET[name] if self.settings.server != WHEEL else "leave it out: the server does not need it"
            problem = Problem(where=name, why="is a secret, and a command line is public", remedy=remedy)
        if name in _RESERVED:
            problem = Problem(
                where=name,
                value=text_of(value),
                why="is managed by autotuner and cannot be set",
                remedy=_RESERVED[name],
            )
        return [problem] if problem else []

    def _unknown(self, name: str, value: Value) -> Problem | None:
        if name in _OFF:
            remedy = f"write {_OFF[name]}: false"
            return Problem(where=name, value=text_of(value), why="is the off spelling of a switch", remedy=remedy)
        if self.settings.server != WHEEL:
            return None
        remedy = REPLACED[name] if name in REPLACED else did_you_mean(name, list(_KNOWN))
        return Problem(where=name, value=text_of(value), why="unknown server option", remedy=remedy)

    def _relations(self, values: Mapping[str, Value], hardware: Hardware) -> Iterator[Problem]:
        def value(name: str) -> Value:
            given = values.get(name)
            return _KNOWN[name].default if given is None else given

        if value("flash-attn") == "off" and value("cache-type-v") in QUANTIZED_CACHE_TYPES:
            why = "a quantized V cache needs flash attention"
            remedy = "set flash-attn to on, or cache-type-v to f16"
            yield Problem(where="cache-type-v", value=text_of(value("cache-type-v")), why=why, remedy=remedy)
        given = values.get("ubatch-size")  # the server lowers its default to batch-size
        if given is not None and int(str(given)) > int(str(value("batch-size"))):
            why = f"exceeds batch-size ({value('batch-size')}), so it has no effect"
            remedy = "keep ubatch-size at most batch-size"
            yield Problem(where="ubatch-size", value=text_of(given), why=why, remedy=remedy)
        if int(str(value("cache-reuse"))) > 0 and value("cache-prompt") is False:
            why = "needs cache-prompt, which is off"
            yield Problem(where="cache-reuse", value=text_of(value("cache-reuse")), why=why, remedy="set it to 0")
        if value("split-mode") == "tensor" and (self.settings.server == WHEEL or not hardware.gpus):
            why = "needs a GPU, and none is available"
            yield Problem(where="split-mode", value="tensor", why=why, remedy="set it to layer")
        if values.get("cache-idle-slots") is True and str(value("cache-ram")) == "0":
            why = "needs cache-ram, which is 0"
            yield Problem(where="cache-idle-slots", value="True", why=why, remedy="set it to false")

    def gpus(self, values: Mapping[str, Value]) -> int:
        """1 if a ``llama-server`` program explicitly puts layers on a GPU, else 0. The wheel runs on the CPU."""
        layers = self._named(values).get("n-gpu-layers")
        return int(self.settings.server != WHEEL and layers is not None and str(layers) not in {"0", "auto", "-1"})

    def starting_points(self, hardware: Hardware) -> Sequence[StartingPoint]:
        """See :func:`autotuner.engines.llama_cpp.starting_points.starting_points`."""
        return starting_points(hardware)

    def serving(self, values: Mapping[str, Value], hardware: Hardware) -> Serving | None:
        """See :func:`autotuner.engines.llama_cpp.serving.serving`."""
        named = self._named(values)

        def value(name: str) -> Value:
            given = named.get(name)
            return _KNOWN[name].default if given is None else given

        # A program, unlike the wheel, may put layers on a GPU by itself.
        on_gpu = self.gpus(named) > 0 or (self.settings.server != WHEEL and hardware.gpus > 0)
        return serving(named, value, on_gpu=on_gpu)

    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """See :func:`autotuner.engines.llama_cpp.causes.explain`."""
        return explain(exit_code, log_tail, ready=ready)

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """Slots, context per slot, weight type and build, from ``/props``."""
        generation = server_info.get("default_generation_settings")
        context = generation.get("n_ctx") if isinstance(generation, Mapping) else None
        found = {
            "parallel": server_info.get("total_slots"),
            "ctx-per-slot": context,
            "model-type": server_info.get("model_ftype"),
            "build": server_info.get("build_info"),
        }
        return {name: value for name, value in found.items() if value is not None}
