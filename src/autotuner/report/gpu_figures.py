"""What a trial's GPUs did, in one line a trial: over all of its windows, longer ones counting more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from autotuner.report.numbers import plain, with_unit
from autotuner.study.measurement import GpuUse
from autotuner.study.trial import Trial


@dataclass(frozen=True)
class GpuFigures:
    """One trial; None where the GPUs do not tell. Units as in :class:`autotuner.study.measurement.GpuUse`."""

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
    """None for a trial without GPUs."""
    if not trial.gpus:
        return None
    windows = [(m.window_s, m.gpu_use) for m in trial.measurements if m.gpu_use is not None]
    rates = [m.value("output_throughput_per_gpu", None) or 0.0 for m in trial.measurements]
    return GpuFigures(
        gpus=trial.gpus,
        throughput_per_gpu=geometric_mean(rates) if rates and min(rates) > 0 else None,
        energy_per_token=_energy_per_token(trial),
        utilization=_mean(windows, lambda use: use.utilization),
        memory_gb=_most(windows, lambda use: use.memory_gb),
        power_w=_mean(windows, lambda use: use.power_w),
        temperature_c=_most(windows, lambda use: use.temperature_c),
        clock_mhz=_mean(windows, lambda use: use.clock_mhz),
    )


TITLES = ("GPUs", "tokens/s per GPU", "energy per token", "GPU busy", "GPU memory", "power", "temperature", "SM clock")


def gpu_cells(trial: Trial) -> tuple[str, ...]:
    """The figures under :data:`TITLES` as a person reads them; dashes for what is not known."""
    found = gpu_figures(trial)
    if found is None:
        return ("-",) * len(TITLES)
    return (
        str(found.gpus),
        with_unit("output_throughput_per_gpu", found.throughput_per_gpu),
        with_unit("energy_per_token", found.energy_per_token),
        "-" if found.utilization is None else f"{found.utilization:.0%}",
        _with(found.memory_gb, "GiB"),
        _with(found.power_w, "W"),
        _with(found.temperature_c, "°C"),
        _with(found.clock_mhz, "MHz"),
    )


def have_gpus(trials: Sequence[Trial]) -> bool:
    """Whether there is anything to show."""
    return any(trial.gpus for trial in trials)


def known_columns(trials: Sequence[Trial]) -> list[int]:
    """Indices of the :data:`TITLES` of which at least one trial tells something."""
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


def _with(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{plain(value)} {unit}"


def _mean(windows: Sequence[tuple[float, GpuUse]], read: Callable[[GpuUse], float | None]) -> float | None:
    known = [(span, value) for span, use in windows if (value := read(use)) is not None]
    total = sum(span for span, _ in known)
    return sum(span * value for span, value in known) / total if total else None


def _most(windows: Sequence[tuple[float, GpuUse]], read: Callable[[GpuUse], float | None]) -> float | None:
    return max((value for _, use in windows if (value := read(use)) is not None), default=None)
