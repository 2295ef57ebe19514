"""Predictions for a study's servers before a launch, as far as model, GPU and flags are known."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import exp
from operator import attrgetter
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.plugins.engine import Engine
from autotuner.plugins.prior import Prior
from autotuner.predict.cpu import cpu_of
from autotuner.predict.engines import MEMORY_RULES
from autotuner.predict.gpus import GpuModel, gpu_of_device
from autotuner.predict.memory import MemoryUse, surely_too_large
from autotuner.predict.models import (
    ModelShape,
    checkpoint_from_config,
    checkpoint_named,
    shape_from_config,
    shape_from_gguf,
    shape_named,
)
from autotuner.predict.performance import forecast, forecast_by
from autotuner.study.base import Value
from autotuner.study.launch import Hardware
from autotuner.study.objective import SLO
from autotuner.study.search.forecast import TPOT, TTFT, Channel, Forecast
from autotuner.study.search.serving import Serving
from autotuner.study.spec import Model
from autotuner.study.workload import Workload
from autotuner.tuning.planning.prediction.gguf import gguf_metadata

_CONFIG = "config.json"
_MOST_BYTES = 10_000_000
_BESIDE_FLAGS = attrgetter(*sorted(Serving.model_fields.keys() - {"flags"}))
_MOST_JUDGED = 50_000
"""Servers whose results are kept."""
_SPREAD = {TTFT: 0.43, TPOT: 0.12}
"""Standard deviations of the logarithms of TTFT and TPOT among the requests of a window: their p99 is then 2.5 and 1.3
times their mean. Assumed values."""
AUTO = "auto"
ROOFLINE = "roofline"
NO_PRIOR = "none"
_Stamp = tuple[int, int] | None
"""Time of the last change in nanoseconds and size of the file that describes a model; None without such a file."""


class Known(NamedTuple):
    """A server about which everything that a prediction needs is known."""

    shape: ModelShape
    gpu: GpuModel
    serving: Serving


@dataclass(frozen=True)
class Predictions:
    """Predictions for the servers of one study."""

    engine: Engine
    model: Model
    hardware: Hardware
    here: bool
    """Whether the target's files are on this machine."""
    prior: str = ROOFLINE
    """What :meth:`forecast` predicts by: ``roofline``, ``none``, or a plugin."""

    @cached_property
    def _gpus(self) -> tuple[GpuModel | None, GpuModel | None]:
        """The target's GPU with the memory that it reports, and as the simulator has it."""
        seen = self.engine.machine(self.hardware)
        return gpu_of_device(seen.gpu_name, seen.gpu_memory_gb), gpu_of_device(seen.gpu_name)

    @cached_property
    def _judged(self) -> "dict[tuple[tuple[object, ...], _Stamp], MemoryUse | None]":
        """Results of :meth:`too_large` by everything that they depend on."""
        return {}

    def known(self, values: Mapping[str, Value]) -> Known | None:
        """The server that these values (fixed and tuned together) start; None if any part of it is not known."""
        serving = self._serving(values)
        return None if serving is None else self._known(serving, self._stamp)

    def _serving(self, values: Mapping[str, Value]) -> Serving | None:
        serving = self.engine.serving(values, self.hardware)
        return serving if serving is not None and serving.engine in MEMORY_RULES else None

    def _known(self, serving: Serving, stamp: _Stamp) -> Known | None:
        if serving.engine == "llama_cpp":
            shape = _gguf_shape(self.model.path, stamp)
            cpu = cpu_of(serving.threads, self.hardware.cpus, self.hardware.memory_gb)
            return None if shape is None else Known(shape, cpu, serving)
        gpu = self._gpus[serving.simulated]
        shape = _shape(self.model, serving.shape, serving.simulated, stamp)
        return None if gpu is None or shape is None else Known(shape, gpu, serving)

    @property
    def _stamp(self) -> _Stamp:
        return _stamp(self.model.path) if self.model.local and self.here else None

    def too_large(self, values: Mapping[str, Value]) -> MemoryUse | None:
        """The memory use of a server that cannot start for lack of memory; None if it may start."""
        serving = self._serving(values)
        if serving is None:
            return None
        # Most flags have no effect on memory, so servers that differ only in those share a result.
        key = _BESIDE_FLAGS(serving)
        stamp = self._stamp
        if (key, stamp) not in self._judged:
            found = self._known(serving, stamp)
            if len(self._judged) >= _MOST_JUDGED:
                self._judged.clear()
            rules = MEMORY_RULES[serving.engine]
            self._judged[key, stamp] = found and surely_too_large(found.shape, found.gpu, serving, rules)
        return self._judged[key, stamp]

    def forecast(self, values: Mapping[str, Value], workload: Workload, slos: Sequence[SLO] = ()) -> Forecast | None:
        """The predicted results of a server; None if there is no prediction.

        Args:
            values: Fixed and tuned together, by canonical name.
            workload: Scenarios and levels.
            slos: The hard ones bound a capacity.
        """
        if self.prior == NO_PRIOR or not workload.streams:
            return None
        if self.prior != ROOFLINE:
            return self._by_plugin(values, workload, _bounds(slos))
        found = self.known(values)
        if found is None:
            return None
        return forecast(found.shape, found.gpu, found.serving, workload, bounds=_bounds(slos))

    def _by_plugin(
        self, values: Mapping[str, Value], workload: Workload, bounds: Mapping[Channel, float]
    ) -> Forecast | None:
        serving = self._serving(values)
        gpu = None if serving is None else self._gpus[serving.simulated]
        if serving is None or gpu is None or (self.model.local and not self.here):
            return None
        found = self._known(serving, self._stamp)
        shape = None if found is None else found.shape
        model = str(Path(self.model.path).expanduser()) if self.model.local else self.model.path
        return forecast_by(plugin_prior(self.prior), model, shape, gpu, serving, workload, bounds=bounds)


@lru_cache(maxsize=8)
def plugin_prior(kind: str) -> Prior:
    """The prior that is a plugin, made once."""
    return loading.prior(kind)


def _bounds(slos: Sequence[SLO]) -> dict[Channel, float]:
    """Upper bounds of mean TTFT and TPOT that correspond to the hard SLOs, for log-normal latencies."""
    found: dict[Channel, float] = {}
    for channel, spread in _SPREAD.items():
        for slo in slos:
            if slo.hard and (slo.metric, slo.of) == (channel.metric, None):
                bound = slo.threshold / exp(_above_mean(slo.statistic, spread))
                found[channel] = min(bound, found.get(channel, bound))
    return found


def _above_mean(statistic: str | None, spread: float) -> float:
    """Logarithm of a percentile relative to the mean; 0 for other statistics."""
    if statistic is None or not statistic.startswith("p"):
        return 0.0
    return NormalDist().inv_cdf(float(statistic[1:]) / 100) * spread - spread**2 / 2


def _stamp(path: str) -> _Stamp:
    try:
        file = Path(path).expanduser()
        stat = (file / _CONFIG if file.is_dir() else file).stat()
    except (OSError, ValueError, RuntimeError):
        return None
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=16)
def _gguf_shape(path: str, stamp: _Stamp) -> ModelShape | None:
    """The shape of the model in a GGUF file; None if it cannot be read or is not described by a shape."""
    if stamp is None:
        return None
    metadata = gguf_metadata(Path(path).expanduser())
    return None if metadata is None else shape_from_gguf(path, metadata, stamp[1])


@lru_cache(maxsize=16)
def _shape(model: Model, name: str, simulated: bool, stamp: _Stamp) -> ModelShape | None:
    """The shape that a server would load; None if it is not known for certain.

    It is read once, since every configuration of a study has the same model, and again if the file has changed.

    Args:
        model: The model as the target finds it.
        name: The shape's name, if the engine's settings determine it.
        simulated: Whether the server is the simulator, which is more lenient about the shape.
        stamp: None if there is no file on this machine that describes the model.
    """
    config = None if stamp is None else _config(model.path)
    if not simulated:
        if config is not None:
            return checkpoint_from_config(model.path, config)
        return None if model.local else checkpoint_named(model.path)
    try:
        if name:
            return shape_named(name)
        return shape_named(model.path) if config is None else shape_from_config(model.path, config)
    except UsageError:
        return None


def _config(folder: str) -> dict[str, object] | None:
    """The parsed ``config.json`` of a model's folder; None if there is none that can be read."""
    try:
        file = Path(folder).expanduser() / _CONFIG
        if not file.is_file() or file.stat().st_size > _MOST_BYTES:
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):
        return None
    return found if isinstance(found, dict) else None
