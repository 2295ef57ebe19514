"""A simulated SGLang or vLLM: the real flags with predicted times, for tests, demos and planning without GPUs.

Flags, catalog, checks and failure causes are those of the real engine; only the server is replaced, by
``python -m autotuner.simulator``. Its numbers are simulated, and trials are marked accordingly.
"""

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

import autotuner
from autotuner.engines.sglang.engine import Sglang, SglangSettings
from autotuner.engines.shared.command_line import text_of
from autotuner.engines.shared.gpu_engine import GpuEngine
from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.errors import Problem, UsageError
from autotuner.invalid_value import InvalidValueError
from autotuner.plugins.engine import ControlRequest, Engine, LoadLimit
from autotuner.plugins.server_metrics import MetricsSource
from autotuner.predict.gpus import gpu_named
from autotuner.predict.models import shape_named
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import Hardware, LaunchPlan, Readiness
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.search.serving import Serving
from autotuner.study.search.starting_point import StartingPoint
from autotuner.study.spec import EngineSpec, Model

SERVER = "autotuner.simulator"
IMAGE = f"llm-inference-autotuner/simulated:{autotuner.__version__}"
"""The image that packaging/simulated.Dockerfile builds."""
MODELED: Mapping[str, frozenset[str]] = {
    "sglang": frozenset(
        {
            "tp-size", "pp-size", "dp-size", "mem-fraction-static", "max-running-requests", "max-total-tokens",
            "chunked-prefill-size", "max-prefill-tokens", "schedule-policy", "schedule-conservativeness", "page-size",
            "context-length", "quantization", "kv-cache-dtype", "disable-radix-cache", "disable-cuda-graph",
            "cuda-graph-max-bs-decode", "enable-mixed-chunk", "disable-overlap-schedule", "prefill-decode-interval",
            "enable-metrics", "pp-max-micro-batch-size",
        }
    ),
    "vllm": frozenset(
        {
            "tensor-parallel-size", "pipeline-parallel-size", "data-parallel-size", "gpu-memory-utilization",
            "max-num-seqs", "max-num-batched-tokens", "max-model-len", "block-size", "enable-prefix-caching",
            "enable-chunked-prefill", "long-prefill-token-threshold", "quantization", "kv-cache-dtype",
            "enforce-eager", "max-cudagraph-capture-size", "async-scheduling",
        }
    ),
}  # fmt: skip
"""Flags that affect the simulation."""

_SIMULATOR_LINES = (
    (r"^simulator: (.*)", FailureCause.INVALID_VALUE, "correct the engine settings"),
    (r"simulated: (.* is not simulated)", FailureCause.UNSUPPORTED_COMBINATION, "leave it out"),
    (r"simulated: (model = .*)", FailureCause.MODEL_MISSING, "set engine.model to a known one"),
)
"""Log lines of the simulator itself, each with cause and remedy."""


class SimulatedSettings(BaseModel):
    """Settings of the engine in a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flavor: Literal["sglang", "vllm"] = "sglang"
    """The engine to simulate."""
    gpu: str = "H100"
    """The simulated GPU: A100-40GB, A100-80GB, H100, H100-PCIe, H100-NVL, H200, H20, B200, B300, GB200, GB300, A30,
    A40, A10, A10G, L4, L40S, RTX-6000-Ada, RTX-5090, RTX-4090 or RTX-3090."""
    gpu_count: int = Field(default=1, ge=1)
    """Number of GPUs in the simulated machine."""
    model: str = ""
    """Shape of the simulated model (``Llama-3.1-8B``); empty: from ``model.path`` (``config.json`` or name)."""
    speed: float = Field(default=1.0, gt=0)
    """Speed factor: 1 as predicted, 0.1 ten times slower, 10 ten times faster."""
    start_s: float = Field(default=0.0, ge=0)
    """Seconds from launch to healthy, in addition to the startup of the process itself."""
    noise: float = Field(default=0.0, ge=0)
    """Relative standard deviation of step times; seeded."""
    lease_gpus: bool = False
    """Lease as many real GPUs as are simulated, without using them. For testing leases."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_spelling(cls, data: Any) -> Any:
        # Studies stored by earlier versions use the spelling flavour.  codespell:ignore
        if isinstance(data, dict) and "flavour" in data and "flavor" not in data:  # codespell:ignore
            return {"flavor" if key == "flavour" else key: value for key, value in data.items()}  # codespell:ignore
        return data

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
        raise InvalidValueError(problem.why, remedy=problem.remedy) from None


class Simulated(Engine):
    """The simulated engine. Constructing it yields an instance of the flavor's class."""

    kind: ClassVar[str] = "simulated"
    Settings: ClassVar[type[BaseModel]] = SimulatedSettings
    catalog: ClassVar[Mapping[str, CatalogEntry]] = Sglang.catalog
    starters: ClassVar[tuple[str, ...]] = ("chunked-prefill-size", "max-running-requests")
    starter_load: ClassVar[tuple[str, tuple[int, ...]]] = Sglang.starter_load
    starter_model: ClassVar[str] = Sglang.starter_model
    load_limits: ClassVar[Mapping[str, LoadLimit]] = Sglang.load_limits
    loading_flags: ClassVar[frozenset[str] | None] = Sglang.loading_flags
    info_path: ClassVar[str | None] = Sglang.info_path
    metrics_path: ClassVar[str | None] = "/metrics"
    server_metrics: ClassVar[MetricsSource | None] = Sglang.server_metrics

    settings: SimulatedSettings

    def __new__(cls, settings: BaseModel) -> "Simulated":
        """Selects the class of the flavor in the settings."""
        wanted = SimulatedVllm if getattr(settings, "flavor", "") == "vllm" else SimulatedSGLang
        return super().__new__(wanted if cls is Simulated else cls)

    def __init__(self, settings: BaseModel) -> None:
        super().__init__(settings)
        self._real = self.real(shlex.join((sys.executable, "-m", SERVER, *self._simulation())))

    def real(self, server: str) -> GpuEngine:
        """The real engine, with the given program as its server."""
        return Sglang(SglangSettings(server=server, allow_remote_code=True))

    def _simulation(self) -> tuple[str, ...]:
        s = self.settings
        given: dict[str, object] = {"flavor": s.flavor, "gpu": s.gpu, "gpu-count": s.gpu_count}
        given |= {"shape": s.model} if s.model else {}
        optional = {"speed": (s.speed, 1.0), "start-s": (s.start_s, 0.0), "noise": (s.noise, 0.0)}
        given |= {name: value for name, (value, default) in optional.items() if value != default}
        return tuple(argument for name, value in given.items() for argument in (f"--{name}", str(value)))

    def plan(self, model: Model, spec: EngineSpec, configuration: Configuration) -> LaunchPlan:
        """The real engine's launch with the simulator as the server. The model is not needed, only its name."""
        planned = self._real.plan(model, spec, configuration)
        return planned.model_copy(
            update={
                "readiness": Readiness(path="/health", timeout_s=self.settings.start_s + 30.0),
                "gpus": planned.gpus if self.settings.lease_gpus else 0,
                "image": IMAGE,
                "container_command": ("python3", *planned.command[1:]),
                "needs_modules": (SERVER, "uvloop"),
                "needs_files": (),
                "hub_models": (),
            }
        )

    def changes_arithmetic(self, name: str) -> bool:
        """As the real engine."""
        return self._real.changes_arithmetic(name)

    def change(self, flags: Mapping[str, Value]) -> Sequence[ControlRequest]:
        """As the real engine."""
        return self._real.change(flags)

    def running_values(self, server_info: Mapping[str, Any]) -> Sequence[Mapping[str, object]]:
        """As the real engine."""
        return self._real.running_values(server_info)

    def canonical(self, name: str) -> str:
        """As the real engine."""
        return self._real.canonical(name)

    def expand(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """As the real engine."""
        return self._real.expand(values)

    def check_portable(self, name: str, value: Value) -> list[Problem]:
        """As the real engine."""
        return self._real.check_portable(name, value)

    def portable_flags(self, name: str) -> frozenset[str]:
        """As the real engine."""
        return self._real.portable_flags(name)

    def override(self, argv: Sequence[str], flags: Mapping[str, Value]) -> tuple[str, ...]:
        """As the real engine."""
        return self._real.override(argv, flags)

    def flag_value(self, argv: Sequence[str], name: str) -> Value:
        """As the real engine."""
        return self._real.flag_value(argv, name)

    def check_value(self, name: str, value: Value) -> list[Problem]:
        """As the real engine."""
        return self._real.check_value(name, value)

    def machine(self, hardware: Hardware) -> Hardware:
        """The target's hardware with the simulated GPUs."""
        gpu = gpu_named(self.settings.gpu)
        return hardware.model_copy(
            update={
                "gpus": self.settings.gpu_count,
                "gpu_name": f"NVIDIA {gpu.name}",
                "gpu_memory_gb": gpu.memory_gb,
            }
        )

    def check(self, values: Mapping[str, Value], hardware: Hardware) -> list[Problem]:
        """As the real engine, on the simulated machine. Whether it fits in memory is left to the server."""
        s = self.settings
        problems = self._real.check(values, self.machine(hardware))
        needed = 0 if problems else self.simulated_gpus(values)
        if needed > s.gpu_count:
            why = f"needs {needed} GPUs; the simulated machine has {s.gpu_count}"
            remedy = "lower the parallel sizes, or raise engine.gpu_count"
            sizes = (n for n in map(self.canonical, values) if n.endswith(("tp-size", "parallel-size")))
            where = next(sizes, "engine")
            problems.append(
                Problem(where=where, value=text_of(self._real.named(values).get(where)), why=why, remedy=remedy)
            )
        return problems

    def notes(self, values: Mapping[str, Value]) -> list[Problem]:
        """As the real engine, plus flags of it that the simulator accepts without modeling them."""
        why = "has no effect: the simulator does not model it"
        remedy = "tune it on the real engine"
        modeled = MODELED[self.settings.flavor]
        unmodeled = [name for name in self._real.named(values) if name in self._real.known and name not in modeled]
        return [
            *(n for n in self._real.notes(values) if n.where not in unmodeled),
            *(Problem(where=n, value=text_of(self._real.named(values)[n]), why=why, remedy=remedy) for n in unmodeled),
        ]

    def gpus(self, values: Mapping[str, Value]) -> int:
        """0, unless the settings ask to lease as many GPUs as are simulated."""
        return self.simulated_gpus(values) if self.settings.lease_gpus else 0

    def priced_gpus(self, values: Mapping[str, Value]) -> int:
        """The simulated GPUs."""
        return self.simulated_gpus(values)

    def simulated_gpus(self, values: Mapping[str, Value]) -> int:
        """GPUs that a real server with these values would use."""
        return self._real.gpus(values)

    def starting_points(self, hardware: Hardware) -> Sequence[StartingPoint]:
        """Those of the real engine."""
        return self._real.starting_points(hardware)

    def serving(self, values: Mapping[str, Value], hardware: Hardware) -> Serving | None:
        """As for the real engine, with the simulated model."""
        found = self._real.serving(values, self.machine(hardware))
        return None if found is None else found.model_copy(update={"shape": self.settings.model, "simulated": True})

    def explain(self, exit_code: int | None, log_tail: str, *, ready: bool) -> Failure | None:
        """The cause from the simulator's own log lines, else as the real engine."""
        for pattern, cause, remedy in () if ready else _SIMULATOR_LINES:
            match = re.search(pattern, log_tail, re.MULTILINE)
            if match:
                return Failure(cause=cause, message=match[1], remedy=remedy, exit_code=exit_code, log_tail=log_tail)
        return self._real.explain(exit_code, log_tail, ready=ready)

    def resolved(self, server_info: Mapping[str, Any], metrics: str, log: str) -> dict[str, Any]:
        """As the real engine."""
        return self._real.resolved(server_info, metrics, log)


class SimulatedSGLang(Simulated):
    """The simulator with SGLang's flags."""

    runtime_flags: ClassVar[frozenset[str]] = Sglang.runtime_flags & MODELED["sglang"]


class SimulatedVllm(Simulated):
    """The simulator with vLLM's flags."""

    catalog: ClassVar[Mapping[str, CatalogEntry]] = Vllm.catalog
    starters: ClassVar[tuple[str, ...]] = ("max-num-batched-tokens", "max-num-seqs")
    load_limits: ClassVar[Mapping[str, LoadLimit]] = Vllm.load_limits
    loading_flags: ClassVar[frozenset[str] | None] = Vllm.loading_flags
    info_path: ClassVar[str | None] = Vllm.info_path
    server_metrics: ClassVar[MetricsSource | None] = Vllm.server_metrics

    def real(self, server: str) -> GpuEngine:
        """vLLM, with the given program as its server."""
        return Vllm(VllmSettings(server=server, allow_remote_code=True))
