"""A trial's capacity search at one scenario, and the measurement that stands for it in scores and reports."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from autotuner.benchmarks.capacity.question import question_about
from autotuner.benchmarks.capacity.run import CapacityRun, Place
from autotuner.capacity.bounds import bounds_of, limits_of
from autotuner.plugins.benchmark import Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.capacity.result import CapacityResult
from autotuner.study.capacity.units import load_text
from autotuner.study.launch import Labels
from autotuner.study.measurement import Measurement
from autotuner.study.metric import CAPACITY_METRICS, PER_GPU
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad, LoadUnit, Scenario


@dataclass(frozen=True)
class CapacityStart:
    """Where a search begins, from what other trials of the study have shown."""

    load: float | None = None
    """The first load; None: the search finds one."""
    required: bool = False
    """Whether the search is over if the first load is refuted: the best configuration is then no worse."""


@dataclass(frozen=True)
class WatchedWindows:
    """Measures windows as the trial measures any other: with its progress, sensors and watch over the server."""

    attempt: Callable[[Window], Awaitable[Measurement]]

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Measures one window."""
        return await self.attempt(window)


async def measure_capacity(
    spec: StudySpec,
    scenario: Scenario,
    load: CapacityLoad,
    start: CapacityStart,
    windows: WatchedWindows,
    endpoint: Endpoint,
    *,
    labels: Labels,
    folder: Path,
    prefix: str,
    on_level: Callable[[CapacityResult], Awaitable[None]],
) -> CapacityResult:
    """Searches for the capacity of a trial's server.

    Args:
        spec: The study, whose hard SLOs and success rate must hold.
        scenario: What is sent.
        load: What is searched for.
        start: The first load.
        windows: Measures the levels.
        endpoint: The server.
        labels: Study, trial and owner.
        folder: Folder for request records.
        prefix: Prefix of the names of the record files.
        on_level: Called after each level with what is known by then.

    Raises:
        TrialFailedError: If a level cannot be measured.
    """
    first = start.load if start.load is None else min(max(start.load, load.low or 0.0), load.high or float("inf"))
    bounds = bounds_of(limits_of(spec.slos), spec.min_success_rate)
    question = question_about(load, bounds, spec.slos, first, required=start.required)
    place = Place(labels, folder, prefix, endpoint.headers)
    run = CapacityRun(windows, endpoint, spec.workload, scenario, question, place)
    return await run.measure(lambda _: on_level(run.result()))


def at_capacity(result: CapacityResult, load: CapacityLoad, gpus: int) -> Measurement:
    """The measurement at the certified load, with the capacity among its values.

    Args:
        result: What the search found.
        load: What was searched for.
        gpus: GPUs of the trial, for the values per GPU.

    Returns:
        Without a certified load, a measurement that is undecided and has at most an upper bound; but if an SLO is not
        met even at the lowest load, the measurement at that load.
    """
    level = result.at_capacity
    if level is not None and result.certified is not None:
        metric = CAPACITY_METRICS[load.unit]
        values = {metric: result.certified}
        tokens = level.measurement.value("output_throughput", None)
        if tokens is not None:
            values["capacity_tokens"] = tokens
        if gpus:
            values |= {f"{name}{PER_GPU}": value / gpus for name, value in values.items()}
        uncertainty = _uncertainty(result)
        return level.measurement.replaced(
            level=load,
            scalars={**level.measurement.scalars, **values},
            uncertainty={
                **level.measurement.uncertainty,
                **({} if uncertainty is None else dict.fromkeys(values, uncertainty)),
            },
        )
    lowest = min(result.levels, key=lambda one: one.load)
    if result.never_met:
        return lowest.measurement.replaced(level=load)
    return Measurement(
        scenario=result.scenario,
        level=load,
        window_s=sum(one.measurement.window_s for one in result.levels),
        requests=0,
        failed=0,
        arrived=result.requests,
        self_check=result.levels[-1].measurement.self_check,
        bounds=_upper_bounds(result, load, gpus),
        cut=result.cut,
        undecided=_why(result, load.unit),
        started_at=lowest.measurement.started_at,
    )


def _uncertainty(result: CapacityResult) -> float | None:
    """Half of the bracket, relative to its lower end."""
    if result.certified is None or result.refuted is None:
        return None
    return (result.refuted / result.certified - 1) / 2


def _upper_bounds(result: CapacityResult, load: CapacityLoad, gpus: int) -> dict[str, float]:
    if result.refuted is None:
        return {}
    metric = CAPACITY_METRICS[load.unit]
    return {metric: result.refuted, **({f"{metric}{PER_GPU}": result.refuted / gpus} if gpus else {})}


def _why(result: CapacityResult, unit: LoadUnit) -> str:
    refuted = load_text(unit, result.refuted) if result.refuted is not None else ""
    if result.cut:
        return f"cannot hold {refuted}, and was not shown to hold more than the best configuration"
    return f"no load certified: {result.certified_missing}" + (f"; {refuted} refuted" if refuted else "")
