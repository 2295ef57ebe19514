"""Measurement windows of one trial on its running server."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio

from autotuner.plugins.benchmark import Benchmark, FixedLevels, Progress, Window
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.engine import Engine
from autotuner.plugins.loading import metrics_sources
from autotuner.study.capacity.result import CapacityResult
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import Identity, Labels
from autotuner.study.measurement import Measurement
from autotuner.study.search.cut import Cut
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Phase
from autotuner.study.verdict import Verdict
from autotuner.study.workload import CapacityLoad, LoadLevel, Scenario, Workload
from autotuner.tuning.looks import look_workload
from autotuner.tuning.trials.capacity_window import CapacityStart, WatchedWindows, at_capacity, measure_capacity
from autotuner.tuning.trials.no_answer_failure import unanswered
from autotuner.tuning.trials.progress import TrialProgress
from autotuner.tuning.trials.racing import Race
from autotuner.tuning.trials.running_limit import running_limit
from autotuner.tuning.trials.server_checks import DEATH_REPORT_S, or_died, same_server
from autotuner.tuning.trials.telemetry import Telemetry
from autotuner.tuning.trials.window_repeats import WindowRepeats, chosen

Keep = Callable[[Sequence[Measurement], Sequence[Measurement], Sequence[CapacityResult]], Awaitable[None]]


async def forget(
    looks: Sequence[Measurement], windows: Sequence[Measurement], capacities: Sequence[CapacityResult]
) -> None:
    """Keeps nothing."""


class Windows:
    """Measures every scenario at every load level of a study.

    Args:
        spec: The study.
        benchmark: Generates the load.
        endpoint: The server.
        identity: The server's identity before the first window; it must stay the same.
        labels: Study, trial and owner, for what the benchmark creates outside of this process.
        folder: Folder for request records.
        telemetry: GPU sensors of the trial.
        repeats: Decides which windows are measured again, over all trials of the run.
        progress: Takes the phases and the progress of the windows.
        gpus: GPUs that the trial holds.
        engine: Source of the server's own metrics.
        resolved: Settings that the server chose at start.
        start: Where a capacity search begins.
        capacities: Takes what capacity searches have found, each from its first level on.
        race: Says whether the trial ends early; None: all levels are measured.
        priced: Adds the costs to a window.
        keep: Takes the short windows, the full ones and the levels of capacity searches so far, after each of them.
    """

    def __init__(
        self,
        spec: StudySpec,
        benchmark: Benchmark,
        endpoint: Endpoint,
        *,
        identity: Identity,
        labels: Labels,
        folder: Path,
        telemetry: Telemetry,
        repeats: WindowRepeats,
        progress: TrialProgress,
        gpus: int,
        engine: Engine,
        resolved: Mapping[str, object],
        start: CapacityStart,
        capacities: list[CapacityResult],
        race: Race | None = None,
        priced: Callable[[Measurement], Measurement] = lambda m: m,
        keep: Keep = forget,
    ) -> None:
        self._spec = spec
        self._benchmark = benchmark
        self._endpoint = endpoint
        self._identity = identity
        self._labels = labels
        self._folder = folder
        self._telemetry = telemetry
        self._repeats = repeats
        self._progress = progress
        self._gpus = gpus
        self._start = start
        self._race = race
        self._priced = priced
        self._keep = keep
        self._capacities = capacities
        self.looks: list[Measurement] = []
        """Short windows that preceded the full ones."""
        self.cut: Cut | None = None
        """Why levels were left out; None if all were measured."""
        self.verdict: Verdict | None = None
        """The verdict by the short windows, if these ended the trial."""
        self._running_limit = running_limit(engine, endpoint.argv, resolved)
        own = (engine.server_metrics,) if engine.server_metrics is not None else ()
        # A server that was not launched here may not be the engine that the study names.
        self._server_metrics = own if endpoint.argv else metrics_sources()

    async def measure(self) -> tuple[Measurement, ...]:
        """The windows in order, until the trial is cut. Raises ``TrialFailedError`` when one cannot be measured."""
        windows: list[Measurement] = []
        await self._look()
        levels = self._spec.workload.levels
        for number, scenario in enumerate(self._spec.workload.scenarios):
            order = self._race.order(scenario, self.looks) if self._race else levels
            policy = FixedLevels(order)
            seen: list[Measurement] = []
            while self.cut is None and (level := policy.next(seen)) is not None:
                name = f"{number}-{levels.index(level)}"
                if isinstance(level, CapacityLoad):
                    seen.append(self._priced(await self._capacity(scenario, level, name, [*windows, *seen])))
                else:
                    levels_left = self._left(number, len(order) - len(seen) - 1)
                    seen.append(self._priced(await self._window(scenario, level, name, levels_left)))
                await self._keep(self.looks, [*windows, *seen], self._capacities)
                await same_server(self._endpoint, self._identity)
                self.cut = self._race.after_level([*windows, *seen]) if self._race else None
            places = [levels.index(level) for level in order[: len(seen)]]
            windows += [m for _, m in sorted(zip(places, seen, strict=True), key=lambda pair: pair[0])]
        return tuple(windows)

    def _left(self, number: int, levels: int) -> int:
        """Windows that are still to be measured, with so many levels left of a scenario."""
        workload = self._spec.workload
        return levels + (len(workload.scenarios) - number - 1) * len(workload.levels)

    async def _look(self) -> None:
        """Takes the short windows, and decides by them. One without an answer decides nothing."""
        if self._race is None:
            return
        short = look_workload(self._spec.workload)
        for number, (scenario, level) in enumerate(self._race.looks):
            look = await self._attempt(scenario, level, f"look-{number}.parquet", short)
            self.looks.append(self._priced(look))
            await self._keep(self.looks, (), ())
            await same_server(self._endpoint, self._identity)
        if (found := self._race.after_looks(self.looks)) is not None:
            self.cut, self.verdict = found

    async def _capacity(
        self, scenario: Scenario, load: CapacityLoad, name: str, windows: Sequence[Measurement]
    ) -> Measurement:
        """Searches for the capacity, and returns the measurement that stands for it."""
        before = len(self._capacities)

        async def known(found: CapacityResult) -> None:
            # Stored at once: choosing the next level takes seconds, and records without a stored level look like those
            # of a level that was removed by hand.
            self._capacities[before:] = [found]
            await self._keep(self.looks, windows, self._capacities)

        result = await measure_capacity(
            self._spec,
            scenario,
            load,
            self._start,
            WatchedWindows(self._measured),
            self._endpoint,
            labels=self._labels,
            folder=self._folder,
            prefix=f"records-{name}",
            on_level=known,
        )
        self._capacities[before:] = [result]
        if not any(level.measurement.requests > level.measurement.failed for level in result.levels):
            return await self._answered(result.levels[0].measurement)
        return at_capacity(result, load, self._gpus)

    async def _window(self, scenario: Scenario, level: LoadLevel, name: str, levels_left: int) -> Measurement:
        """Measures one window, and again if the load generator lagged or other processes used CPU meanwhile."""
        taken: list[Measurement] = []
        while True:
            begun = time.monotonic()
            taken.append(await self._attempt(scenario, level, f"records-{name}-{len(taken)}.parquet"))
            why = self._repeats.why_again(taken)
            # A trial that runs out of time has failed, and would not have without the repetition.
            in_time = self._progress.left_s > (levels_left + 1) * (time.monotonic() - begun)
            if why is None or not in_time:
                break
            self._progress.notice(f"{why}: measuring it again", scenario, level)
        if notice := self._repeats.gave_up():
            self._progress.notice(notice)
        return await self._answered(chosen(taken))

    async def _attempt(
        self, scenario: Scenario, level: LoadLevel, records: str, workload: Workload | None = None
    ) -> Measurement:
        window = Window(
            scenario=scenario,
            level=level,
            workload=workload or self._spec.workload,
            labels=self._labels,
            folder=self._folder,
            records_name=records,
            slos=self._spec.slos,
            objectives=self._spec.objectives,
            headers=self._endpoint.headers,
        )
        return await self._measured(window, short=workload is not None)

    async def _measured(self, window: Window, *, short: bool = False) -> Measurement:
        """Measures one window, with its progress, the server's own metrics and the GPUs' sensors."""
        scenario = window.scenario
        level = window.level
        self._progress.enter(Phase.WARMING, scenario, level, short_window=short)

        def on_progress(seen: Progress) -> None:
            # The first report marks the end of the warm-up.
            if self._progress.phase is not Phase.MEASURING:
                self._progress.enter(Phase.MEASURING, scenario, level, short_window=short)
            self._progress.window(seen, scenario, level)

        window = replace(window, on_progress=on_progress, server_metrics=self._server_metrics)
        measured = await or_died(lambda: self._benchmark.measure(self._endpoint, window), self._endpoint)
        measured = self._telemetry.added_to(_per_gpu(_with_limit(measured, self._running_limit), self._gpus))
        if measured.failed:
            # Requests may have failed because the server is dying: its death is then the cause.
            with anyio.move_on_after(DEATH_REPORT_S):
                raise TrialFailedError(await self._endpoint.died())
        return measured

    async def _answered(self, measured: Measurement) -> Measurement:
        """The measurement if any request succeeded; otherwise raises ``TrialFailedError``."""
        if measured.requests > measured.failed:
            return measured
        raise TrialFailedError(unanswered(measured).replaced(log_tail=await self._endpoint.log_tail()))


def _with_limit(measured: Measurement, limit: int | None) -> Measurement:
    """Adds the number of requests that the server runs at once, which its metrics are compared with."""
    if measured.server is None or limit is None:
        return measured
    return measured.replaced(server=measured.server.replaced(running_limit=limit))


def _per_gpu(measured: Measurement, gpus: int) -> Measurement:
    """Adds the throughput per leased GPU, by which configurations of different sizes can be compared."""
    rate = measured.value("output_throughput", None)
    if rate is None or not gpus:
        return measured
    return measured.replaced(scalars={**measured.scalars, "output_throughput_per_gpu": rate / gpus})
