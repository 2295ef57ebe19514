"""GPU telemetry of a trial, read during the whole trial and cut to its windows afterward.

Reading lasts from launch to release, so that both ends of a window lie between two samples. The samples are stored in
the trial's folder.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from autotuner.plugins.deployer import Deployer, ReadsGpuSensors
from autotuner.study.launch import Gpu, GpuSample
from autotuner.study.measurement import GpuUse, Measurement

INTERVAL_S = 0.5
FILE = "gpus.jsonl"
_STEP_S = 0.5
"""Difference of the clocks, in seconds, that means that the wall clock was set; reading the sensors takes less."""


class Telemetry:
    """Reads the sensors of a trial's GPUs; does nothing without GPUs or readable sensors.

    Use as ``async with Telemetry(deployer, gpus, folder) as telemetry``.
    """

    def __init__(self, deployer: Deployer, gpus: Sequence[Gpu], folder: Path) -> None:
        self._sensors = deployer if isinstance(deployer, ReadsGpuSensors) else None
        self._gpus = tuple(gpus)
        self._path = folder / FILE
        self._samples: list[GpuSample] = []
        self._steady: list[float] = []
        """Time of each sample on the monotonic clock, in seconds."""
        self._tasks: TaskGroup | None = None

    def added_to(self, measured: Measurement) -> Measurement:
        """The measurement with its GPUs' use during the window, and the energy per token if that is known."""
        samples = self._unstepped(measured.started_at)
        use = gpu_use(samples, measured.started_at, measured.started_at + measured.window_s)
        if use is None:
            return measured
        scalars = dict(measured.scalars)
        tokens = scalars.get("output_throughput", 0.0) * measured.window_s
        if use.energy_j is not None and tokens > 0:
            scalars["energy_per_token"] = use.energy_j / tokens
        return measured.replaced(gpu_use=use, scalars=scalars)

    async def __aenter__(self) -> "Telemetry":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        if self._gpus and self._sensors:
            self._tasks.start_soon(self._read, self._sensors)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is None:
            return
        self._tasks.cancel_scope.cancel()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            with anyio.CancelScope(shield=True):
                await run_sync(self._write)

    async def _read(self, sensors: ReadsGpuSensors) -> None:
        while True:
            self.keep(await sensors.gpu_samples(self._gpus), time.monotonic())
            await anyio.sleep(INTERVAL_S)

    def keep(self, samples: Sequence[GpuSample], steady: float) -> None:
        """Adds samples that were read at ``steady`` seconds of the monotonic clock."""
        self._samples += samples
        self._steady += [steady] * len(samples)

    def _unstepped(self, begin: float) -> list[GpuSample]:
        """The samples with times as if the wall clock had not been set since ``begin``, so that a window finds all of
        its samples and its energy is summed over its whole length."""
        if not self._samples:
            return []
        nearest = min(range(len(self._samples)), key=lambda i: abs(self._samples[i].at - begin))
        offset = self._samples[nearest].at - self._steady[nearest]
        pairs = zip(self._samples, self._steady, strict=True)
        stepped = any(abs(s.at - steady - offset) > _STEP_S for s, steady in pairs)
        if not stepped:
            return self._samples
        pairs = zip(self._samples, self._steady, strict=True)
        return [s.replaced(at=steady + offset) for s, steady in pairs]

    def _write(self) -> None:
        if not self._samples:
            return
        lines = (json.dumps(s.model_dump(mode="json", exclude_none=True)) for s in self._samples)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError:
            return  # the samples are optional; a full disk is reported by other parts


def gpu_use(samples: Iterable[GpuSample], begin: float, end: float) -> GpuUse | None:
    """Summary of the samples between two times in seconds since the epoch; None if a GPU has none."""
    by_gpu: dict[int, list[GpuSample]] = {}
    for sample in sorted(samples, key=lambda s: s.at):
        by_gpu.setdefault(sample.index, []).append(sample)
    inside = [[s for s in own if begin <= s.at <= end] for own in by_gpu.values()]
    if not inside or not all(inside):
        return None
    every = [s for own in inside for s in own]
    energies = [_energy(own, begin, end) for own in by_gpu.values()]
    powers = [_mean(own, lambda s: s.power_w) for own in inside]
    return GpuUse(
        samples=min(map(len, inside)),
        utilization=_mean(every, lambda s: s.utilization),
        memory_gb=_most(every, lambda s: s.memory_gb),
        power_w=_total(powers),
        temperature_c=_most(every, lambda s: s.temperature_c),
        clock_mhz=_mean(every, lambda s: s.clock_mhz),
        energy_j=_total(energies),
    )


def _energy(samples: Sequence[GpuSample], begin: float, end: float) -> float | None:
    """Joules between two times: from the energy counter, interpolated at both ends, or mean power times duration."""
    counted = [(s.at, s.energy_j) for s in samples if s.energy_j is not None]
    if counted and counted[0][0] <= begin and counted[-1][0] >= end:
        return _at(counted, end) - _at(counted, begin)
    power = _mean([s for s in samples if begin <= s.at <= end], lambda s: s.power_w)
    return None if power is None else power * (end - begin)


def _at(points: Sequence[tuple[float, float]], moment: float) -> float:
    """Value of a growing counter at a time between two of its points, by linear interpolation."""
    after = next(i for i, (at, _) in enumerate(points) if at >= moment)
    (t1, v1), (t0, v0) = points[after], points[max(0, after - 1)]
    return v1 if t1 == t0 else v0 + (v1 - v0) * (moment - t0) / (t1 - t0)


def _values(samples: Sequence[GpuSample], read: Callable[[GpuSample], float | None]) -> list[float]:
    return [v for v in map(read, samples) if v is not None]


def _mean(samples: Sequence[GpuSample], read: Callable[[GpuSample], float | None]) -> float | None:
    values = _values(samples, read)
    return sum(values) / len(values) if values else None


def _most(samples: Sequence[GpuSample], read: Callable[[GpuSample], float | None]) -> float | None:
    return max(_values(samples, read), default=None)


def _total(parts: Sequence[float | None]) -> float | None:
    known = [p for p in parts if p is not None]
    return sum(known) if len(known) == len(parts) else None
