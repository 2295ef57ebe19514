"""A simulated SGLang or vLLM: the engine's own flags on predicted times, for tests, demos and planning without GPUs.

Knowledge only, as of any engine; the server itself is ``python -m autotuner.simulator``. Its numbers are simulated, and
trials say so.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from autotuner.engines import _simulated_causes
from autotuner.engines._flags import CommandLine, flags_of, text_of, type_problem
from autotuner.engines._simulated_flags import SGLANG, VLLM
from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import shape_named
from autotuner.seams.engine import Engine
from autotuner.study.configuration import Configuration
from autotuner.study.errors import Problem, UsageError
from autotuner.study.failure import Failure
from autotuner.study.launch import Flag, Hardware, LaunchPlan, Readiness
from autotuner.study.noun import Value
from autotuner.study.parameter import CatalogEntry
from autotuner.study.spec import EngineSpec, Model

SERVER = "autotuner.simulator"
_RESERVED = {
    "model-path": "write model.path",
    "model": "write model.path",
    "served-model-name": "write model.name",
    "host": "it is given by the deployer",
    "port": "it is given by the deployer",
    "api-key": "leave it out: the server needs none, and a command line is public",
}
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class SimulatedSettings(BaseModel):
    """Settings of the engine in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flavour: Literal["sglang", "vllm"] = "sglang"
    """The engine whose flags are taken."""
    gpu: str = "H100"
    """The simulated GPU: A100-40GB, A100-80GB, H100, H100-PCIe, H200, B200, L4, L40S, A10G or RTX-4090."""
    gpu_count: int = Field(default=1, ge=1)
    """GPUs of the simulated machine."""
    model: str = ""
    """The simulated model's shape (``Llama-3.1-8B``); empty: found from ``model.path``, by name or ``config.json``."""
    speed: float = Field(default=1.0, gt=0)
    """Time factor: 1 is as predicted, 0.1 ten times slower, 10 ten times faster."""
    start_s: float = Field(default=0.0, ge=0)
    """Seconds from launch to healthy, beside the process's own."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of a step's time, as a share of it; seeded."""
    lease_gpus: bool = False
    """Ask the deployer for as many real GPUs as are simulated; nothing runs on them. To try out leases."""

    @field_validator("gpu")
    @classmethod
    def _gpu(cls, value: str) -> str:
        return _known(lambda: gpu_named(value).name)

    @field_validator("model")
    @classmethod
    def _model(cls, value: str) -> str:
        return _known(lambda: shape_named(value).name) if value else value


def _known(find: Any) -> str:
    try:
        return str(find())
    except UsageError as error:
        problem = error.problems[0]
        raise ValueError(f"{problem.why}; {problem.remedy}") from None


class Simulated(Engine):
    """The simulated engine; making one gives the class of its flavour."""

    kind: ClassVar[str] = "simulated"
    Settings: ClassVar[type[BaseModel]] = SimulatedSettings
    catalog: ClassVar[Mapping[str, CatalogEntry]] = SGLANG
    info_path: ClassVar[str | None] = "/get_server_info"
    metrics_path: ClassVar[str | None] = "/metrics"
    model_flag: ClassVar[str] = "--model-path"
    fraction: ClassVar[str] = "mem-fraction-static"
    parallel: ClassVar[tuple[str, ...]] = ("tp-size", "pp-size", "dp-size")

    settings: SimulatedSettings

    def __new__(cls, settings: BaseModel) -> "Simulated":
        """An engine of the flavour that the settings name."""
        wanted = SimulatedVllm if getattr(settings, "flavour", "") == "vllm" else SimulatedSGLang
        return super().__new__(wanted if cls is Simulated else cls)

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._line = CommandLine(self.catalog)

    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The launch of one configuration; the simulated hardware stands in front of the engine's own flags."""
        tuned = self._named(configuration.values)
        values = {**self._named(spec.args), **tuned}
        served = model.name or PurePath(model.path).name
        leading = (Flag(name=self.model_flag, value=model.path), Flag(name="--served-model-name", value=served))
        return LaunchPlan(
            command=(sys.executable, "-m", SERVER, *self._simulation()),
            flags=(*leading, *(f for n, v in values.items() for f in flags_of(n, v, self.catalog.get(n)))),
            env=dict(spec.env),
            readiness=Readiness(path="/health", timeout_s=self.settings.start_s + 30.0),
            model=served,
            gpus=self.gpus(values),
            needs_modules=(SERVER, "uvloop"),
            tuned=tuned,
        )

    def _simulation(self) -> tuple[str, ...]:
        s = self.settings
        given: dict[str, object] = {"flavour": s.flavour, "gpu": s.gpu, "gpu-count": s.gpu_count}
        given |= {"shape": s.model} if s.model else {}
        optional = {"speed": (s.speed, 1.0), "start-s": (s.start_s, 0.0), "noise": (s.noise, 0.0)}
        given |= {name: value for name, (value, usual) in optional.items() if value != usual}
        return tuple(word for name, value in given.items() for word in (f"--{name}", str(value)))

    def _named(self, values: Mapping[str, Value]) -> dict[str, Value]:
        return {self.canonical(name): value for name, value in values.items()}

    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """``argv`` with these flags replaced in every spelling, or appended."""
        return self._line.override(argv, self._named(flags))

    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """What ``argv`` says of a flag; the last one counts, as for the server."""
        return self._line.value(argv, self.canonical(name))

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """A value of the flag's type and range, and a flag that is the user's to set."""
        name = self.canonical(name)
        if name in _RESERVED:
            shown = "" if name == "api-key" else text_of(value)
            return [Problem(where=name, value=shown, why="is not yours to set", remedy=_RESERVED[name])]
        entry = self.catalog.get(name)
        problem = type_problem(entry, value) if entry else None
        return [problem] if problem else []

    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """Types and ranges; then whether the simulated machine has the GPUs. What fits is left to the server to say."""
        named = self._named(values)
        problems = [problem for name, value in named.items() for problem in self.check_value(name, value)]
        if not problems and self.simulated_gpus(named) > self.settings.gpu_count:
            why = f"needs {self.simulated_gpus(named)} GPUs, the simulated machine has {self.settings.gpu_count}"
            first = next((n for n in self.parallel if n in named), self.parallel[0])
            remedy = "lower the parallel sizes, or raise engine.gpu_count"
            problems.append(Problem(where=first, value=text_of(named.get(first)), why=why, remedy=remedy))
        return problems

    def notes(self, values: Mapping[str, Value]) -> list[Problem]:
        """Flags that the simulator takes and does not model."""
        why, remedy = "is not modelled by the simulator: it has no effect", "tune it on the real engine"
        return [
            Problem(where=name, value=text_of(value), why=why, remedy=remedy)
            for name, value in self._named(values).items()
            if name not in self.catalog
        ]

    def gpus(self, values: Mapping[str, Value]) -> int:
        """None of the target's, unless the settings ask for as many as are simulated."""
        return self.simulated_gpus(values) if self.settings.lease_gpus else 0

    def simulated_gpus(self, values: Mapping[str, Value]) -> int:
        """What the parallel sizes multiply to."""
        named, count = self._named(values), 1
        for name in self.parallel:
            text = str(named.get(name))
            count *= int(text) if text.isascii() and text.isdigit() else 1
        return count

    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """The cause of an end, from exit code and log."""
        return _simulated_causes.explain(exit_code, log_tail, ready=ready, fraction=self.fraction)


class SimulatedSGLang(Simulated):
    """The simulator as SGLang."""

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """What was decided at start, from the server's information."""
        wanted = (
            "mem_fraction_static", "max_total_num_tokens", "max_running_requests", "chunked_prefill_size",
            "max_prefill_tokens", "context_length", "page_size", "cuda_graph_max_bs_decode", "version", "simulated",
        )  # fmt: skip
        return {name.replace("_", "-"): server_info[name] for name in wanted if name in server_info}


class SimulatedVllm(Simulated):
    """The simulator as vLLM."""

    catalog: ClassVar[Mapping[str, CatalogEntry]] = VLLM
    info_path: ClassVar[str | None] = "/version"
    model_flag: ClassVar[str] = "--model"
    fraction: ClassVar[str] = "gpu-memory-utilization"
    parallel: ClassVar[tuple[str, ...]] = ("tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size")

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """What was decided at start, from the metrics and the log."""
        line = re.search(r"^vllm:cache_config_info\{(.*)\}", metrics, re.MULTILINE)
        found: dict[str, Any] = {n.replace("_", "-"): v for n, v in _LABEL.findall(line[1])} if line else {}
        found.pop("engine", None)
        tokens = re.search(r"GPU KV cache size: ([\d,]+) tokens", log)
        if tokens:
            found["kv-cache-tokens"] = int(tokens[1].replace(",", ""))
        if re.search(r"^autotuner_simulated 1", metrics, re.MULTILINE):
            found["simulated"] = True
        return found | ({"version": server_info["version"]} if "version" in server_info else {})
