"""GPU figures of a trial over all of its windows, weighted by their length."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from autotuner.report.numbers import plain, with_unit
from autotuner.study.measurement import GpuUse
from autotuner.study.trial import Trial


@dataclass(frozen=True)
class GpuFigures:
    """Figures of one trial, in the units of :class:`autotuner.study.measurement.GpuUse`; None if not reported."""

    gpus: int
    throughput_per_gpu: float | None = None
    """tokens/s, geometric mean over the windows."""
    energy_per_token: float | None = None
    """Joules of all windows / output tokens of all windows."""
    utilization: float | None = None
    memory_gb: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None


def gpu_figures(trial: Trial) -> GpuFigures | None:
    """Computes the figures of a trial; None if it had no GPUs."""
    if not trial.gpus:
        return None
    windows = [(m.window_s, m.gpu_use) for m in trial.measurements if m.gpu_use is not None]
    rates = [m.value("output_throughput_per_gpu", None) or 0.0 for m in trial.measurements]
    return GpuFigures(
        gpus=trial.gpus,
        throughput_per_gpu=geometric_mean(rates) if rates and min(rates) > 0 else None,
        energy_per_token=_energy_per_token(trial),
        utilization=_mean(windows, lambda use: use.utilization),
        memory_gb=_maximum(windows, lambda use: use.memory_gb),
        power_w=_mean(windows, lambda use: use.power_w),
        temperature_c=_maximum(windows, lambda use: use.temperature_c),
        clock_mhz=_mean(windows, lambda use: use.clock_mhz),
    )


TITLES = ("GPUs", "tokens/s per GPU", "energy per token", "GPU busy", "GPU memory", "power", "temperature", "SM clock")


def gpu_cells(trial: Trial) -> tuple[str, ...]:
    """Formats the figures in the order of :data:`TITLES`; a dash for what is unknown."""
    found = gpu_figures(trial)
    if found is None:
        return ("-",) * len(TITLES)
    return (
        str(found.gpus),
        with_unit("output_throughput_per_gpu", found.throughput_per_gpu),
        with_unit("energy_per_token", found.energy_per_token),
        "-" if found.utilization is None else f"{found.utilization:.0%}",
        _with_unit(found.memory_gb, "GiB"),
        _with_unit(found.power_w, "W"),
        _with_unit(found.temperature_c, "°C"),
        _with_unit(found.clock_mhz, "MHz"),
    )


def have_gpus(trials: Sequence[Trial]) -> bool:
    """Whether any trial used GPUs."""
    return any(trial.gpus for trial in trials)


def known_columns(trials: Sequence[Trial]) -> list[int]:
    """Returns the indices of those :data:`TITLES` for which at least one trial has a value."""
    rows = [gpu_cells(trial) for trial in trials]
    return [i for i in range(len(TITLES)) if any(row[i] != "-" for row in rows)]


def _energy_per_token(trial: Trial) -> float | None:
    energy = tokens = 0.0
    for m in trial.measurements:
        rate = m.value("output_throughput", None)
        if m.gpu_use is None or m.gpu_use.energy_j is None or not rate:
            return None
        energy += m.gpu_use.energy_j
        tokens += rate * m.window_s
    return energy / tokens if tokens else None


def _with_unit(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{plain(value)} {unit}"


def _mean(windows: Sequence[tuple[float, GpuUse]], read: Callable[[GpuUse], float | None]) -> float | None:
    known = [(span, value) for span, use in windows if (value := read(use)) is not None]
    total = sum(span for span, _ in known)
    return sum(span * value for span, value in known) / total if total else None


def _maximum(windows: Sequence[tuple[float, GpuUse]], read: Callable[[GpuUse], float | None]) -> float | None:
    return max((value for _, use in windows if (value := read(use)) is not None), default=None)
