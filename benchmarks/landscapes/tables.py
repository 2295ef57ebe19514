"""Landscapes of a table: what each configuration of one model on one system with one workload was measured to do."""

import csv
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.metric import Direction
from autotuner.study.objective import SLO, Objective
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.search.evidence import EarlierStudy, EarlierTrial, EarlierWindow, Facet
from autotuner.study.search.forecast import TPOT, TTFT, Forecast, LevelForecast
from autotuner.study.search.goals import Goals, Place
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict
from autotuner.study.workload import Concurrency

IDENTITY = ("model", "system", "isl", "osl")
MEASURED = ("engine", "engine_version", "gemm_quant", "moe_quant", "tp", "pp", "attention_dp", "moe_tp", "moe_ep")
SIMULATED = ("tp", "pp", "batch", "chunk", "kv")
RELEASE = ("engine", "engine_version")
LOAD = "concurrency"
"""Number of requests in flight. The batch of simulated tables is a setting of the server."""
NEAR = 0.95
SLO_PERCENTILE = 40
OBJECTIVE = Objective(metric="output_throughput_per_gpu", direction=Direction.MAX)


@dataclass(frozen=True)
class Point:
    """One measured level. Times in seconds."""

    place: Place
    gpus: int
    ttft: float
    tpot: float
    throughput: float
    """Tokens per second and GPU."""
    predicted: tuple[float, float] | None
    """Predicted TTFT and TPOT."""


@dataclass(frozen=True)
class Landscape:
    """All configurations of one model on one system with one workload."""

    identity: tuple[str, ...]
    """Its model, system and lengths; see :data:`IDENTITY`."""
    inner: bool
    """Whether a launch measures all its loads; otherwise the load is a parameter."""
    space: Space
    points: Mapping[str, tuple[Point, ...]]
    """Measured levels by configuration; none where the server does not run."""
    gpus: Mapping[str, int]
    bound: float
    """Largest TPOT that is acceptable, in seconds."""

    @property
    def goals(self) -> Goals:
        """The highest throughput per GPU whose TPOT stays below the bound."""
        places = tuple(dict.fromkeys(p.place for points in self.points.values() for p in points))
        return Goals(objectives=(OBJECTIVE,), slos=(self._slo,), places=places, any_level=self.inner)

    @cached_property
    def best(self) -> float:
        """The best throughput that meets the bound."""
        return max(v for key in self.points if (v := self.value(key)) is not None)

    @property
    def _slo(self) -> SLO:
        return SLO(metric="tpot", statistic="mean", threshold=self.bound)

    def value(self, key: str) -> float | None:
        """Throughput of a configuration; None if no level meets the bound."""
        return max((p.throughput for p in self.points[key] if p.tpot <= self.bound), default=None)

    def places(self, configuration: Configuration) -> tuple[Place, ...]:
        """Where a configuration is measured."""
        return tuple(p.place for p in self.points[configuration.key]) or (Place(scenario="", level=""),)

    def trial(
        self, number: int, configuration: Configuration, noise: random.Random | None = None, size: float = 0.0
    ) -> Trial:
        """The result of launching a configuration; ``size`` is the standard deviation between launches."""
        points = self.points[configuration.key]
        if noise is not None:
            launch = noise.gauss(0, size)
            points = tuple(_measured(p, math.exp(launch + noise.gauss(0, size / 2))) for p in points)
        facts = {"study": "landscape", "number": number, "role": TrialRole.SEARCH, "configuration": configuration}
        if not points:
            failure = Failure(cause=FailureCause.OUT_OF_MEMORY, message="does not fit")
            return Trial.model_validate({**facts, "state": TrialState.FAILED, "failure": failure})
        value = max((p.throughput for p in points if p.tpot <= self.bound), default=None)
        over = min(max(0.0, p.tpot / self.bound - 1) for p in points)
        best = max(p.throughput for p in points) if value is None else value
        verdict = Verdict(feasible=value is not None, objectives=(best,), total_violation=over)
        windows = tuple(_window(p) for p in points)
        return Trial.model_validate(
            {**facts, "state": TrialState.DONE, "verdict": verdict, "measurements": windows, "gpus": points[0].gpus}
        )

    def forecast(self, configuration: Configuration) -> Forecast | None:
        """The predictions of the table; None where it has none."""
        levels = tuple(
            LevelForecast(
                p.place.scenario, p.place.level, {TTFT: math.log(p.predicted[0]), TPOT: math.log(p.predicted[1])}
            )
            for p in self.points[configuration.key]
            if p.predicted
        )
        return Forecast(levels, source="table", version="") if levels else None

    def earlier(self, other: "Landscape", seed: int | None = None) -> EarlierStudy:
        """All of this landscape as an earlier study, seen from another one.

        Args:
            other: The landscape that is searched.
            seed: Of a permutation of the results; None: as they are.
        """
        facets = dict(zip((Facet.MODEL, Facet.GPU, Facet.WORKLOAD), _facets(self), strict=True))
        also = dict(zip((Facet.MODEL, Facet.GPU, Facet.WORKLOAD), _facets(other), strict=True))
        measured = [(key, p) for key, points in self.points.items() for p in points]
        results = [p for _, p in measured]
        if seed is not None:
            random.Random(f"misleading {seed}").shuffle(results)
        windows: dict[str, list[EarlierWindow]] = defaultdict(list)
        for (key, point), result in zip(measured, results, strict=True):
            windows[key].append(_earlier_window(point, result))
        return EarlierStudy(
            study=" ".join(self.identity),
            facets={**facets, Facet.ENGINE: ""},
            shared=(Facet.ENGINE, *(f for f in facets if facets[f] == also[f])),
            slos=(self._slo,),
            source="table",
            trials=tuple(
                EarlierTrial(number=i, values=c.values, gpus=self.gpus[c.key], windows=tuple(windows[c.key]))
                for i, c in enumerate(self.space.grid())
                if windows[c.key]
            ),
        )

    def shuffled(self, seed: int) -> "Landscape":
        """The same landscape with its predictions in random order."""
        predicted = [p.predicted for points in self.points.values() for p in points]
        random.Random(f"shuffled {seed}").shuffle(predicted)
        order = iter(predicted)
        points = {key: tuple(replace(p, predicted=next(order)) for p in points) for key, points in self.points.items()}
        return replace(self, points=points)

    def corrected(self) -> "Landscape":
        """The same landscape with predictions corrected by the mean error of each engine release, as if the search knew
        these errors before its first launch."""
        releases = {c.key: tuple(c.values[n] for n in RELEASE) for c in self.space.grid()}
        errors: dict[tuple[Value, ...], list[tuple[float, float]]] = defaultdict(list)
        for key, points in self.points.items():
            for p in points:
                if p.predicted:
                    errors[releases[key]].append((math.log(p.ttft / p.predicted[0]), math.log(p.tpot / p.predicted[1])))
        means = {release: [statistics.fmean(e) for e in zip(*own, strict=True)] for release, own in errors.items()}
        corrected = {
            key: tuple(_corrected(p, *means[releases[key]]) if p.predicted else p for p in points)
            for key, points in self.points.items()
        }
        return replace(self, points=corrected)


def _corrected(point: Point, ttft: float, tpot: float) -> Point:
    """The point with mean logarithmic errors taken from its predictions."""
    first, token = point.predicted or (math.nan, math.nan)
    return replace(point, predicted=(first * math.exp(ttft), token * math.exp(tpot)))


def _facets(landscape: Landscape) -> tuple[str, str, str]:
    model, system, *lengths = landscape.identity
    return model, system, " ".join(lengths)


def _earlier_window(point: Point, result: Point) -> EarlierWindow:
    ttft, tpot = point.predicted or (None, None)
    return EarlierWindow(
        place=point.place,
        values={"mean ttft": result.ttft, "mean tpot": result.tpot, "output_throughput_per_gpu": result.throughput},
        predicted={"mean ttft": math.log(ttft), "mean tpot": math.log(tpot)} if ttft and tpot else {},
    )


def _measured(point: Point, factor: float) -> Point:
    """The point with all times multiplied."""
    return replace(point, ttft=point.ttft * factor, tpot=point.tpot * factor, throughput=point.throughput / factor)


def _window(point: Point) -> Measurement:
    level = Concurrency(in_flight=point.place.in_flight or 1)
    return Measurement(
        scenario=point.place.scenario,
        level=level,
        window_s=60.0,
        requests=100,
        failed=0,
        distributions={"ttft": _only_mean(point.ttft), "tpot": _only_mean(point.tpot)},
        scalars={"output_throughput_per_gpu": point.throughput},
    )


def _only_mean(mean: float) -> Distribution:
    unknown = dict.fromkeys(("std", "min", "p50", "p75", "p90", "p95", "p99", "p99_9", "max"))
    return Distribution.model_validate({"count": 100, "mean": mean, **unknown})


def landscapes(path: Path, fewest: int, *, inner: bool, percentile: int = SLO_PERCENTILE) -> list[Landscape]:
    """Reads the landscapes of a table that have at least ``fewest`` points; ``percentile`` of TPOT is the bound."""
    groups: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            groups[tuple(row[c] for c in IDENTITY)].append(row)
    made = [_landscape(rows, fewest, percentile, inner=inner) for _, rows in sorted(groups.items())]
    return [m for m in made if m is not None]


def _landscape(rows: Sequence[Mapping[str, str]], fewest: int, percentile: int, *, inner: bool) -> Landscape | None:
    simulated = "tps_gpu" in rows[0]
    named = SIMULATED if simulated else MEASURED if inner else (*MEASURED, LOAD)
    repeats: dict[str, dict[str, list[Mapping[str, str]]]] = defaultdict(lambda: defaultdict(list))
    values: dict[str, dict[Value, None]] = {c: {} for c in named}
    gpus: dict[str, int] = {}
    for row in rows:
        configuration = {c: _typed(row[c]) for c in named}
        for column, value in configuration.items():
            values[column][value] = None
        key = Configuration(values=configuration).key
        repeats[key][row.get(LOAD, "0")].append(row)
        gpus[key] = int(row["gpus"]) if "gpus" in row else int(row["tp"]) * int(row["pp"])
    points = {
        key: tuple(p for level, same in levels.items() if (p := _point(same, int(level), gpus[key])) is not None)
        for key, levels in repeats.items()
    }
    tpots = [p.tpot for found in points.values() for p in found]
    if sum(len(levels) for levels in repeats.values()) < fewest or len(tpots) < 2:
        return None
    bound = statistics.quantiles(tpots, n=100, method="inclusive")[percentile - 1]
    parameters = [Parameter(name=c, domain=Choices(values=_in_order(values[c]))) for c in named]
    listed = dict.fromkeys(tuple(_typed(row[c]) for c in named) for row in rows)
    combinations = tuple(dict(zip(named, found, strict=True)) for found in listed)
    space = Space(parameters=tuple(parameters), combinations=combinations)
    identity = tuple(rows[0][c] for c in IDENTITY)
    return Landscape(identity, inner, space, points, gpus, bound)


def _typed(text: str) -> Value:
    return int(text) if text.isdigit() else text


def _in_order(values: Mapping[Value, None]) -> tuple[Value, ...]:
    numbers = sorted(v for v in values if isinstance(v, int))
    return (*numbers, *sorted(v for v in values if isinstance(v, str)))


def _point(rows: Sequence[Mapping[str, str]], in_flight: int, gpus: int) -> Point | None:
    """The median of repeated rows; None if the server did not run."""
    runs = [r for r in rows if not r.get("err") and r.get("tps_gpu", "-")]
    if not runs:
        return None
    simulated = "tps_gpu" in runs[0]
    osl = int(runs[0]["osl"])
    ttft, tpot = (_median(runs, c if simulated else f"{c}_ms") / 1000 for c in ("ttft", "tpot"))
    seconds = ttft + tpot * (osl - 1)
    place = Place(
        scenario=f"D({runs[0]['isl']},{osl})",
        level=Concurrency(in_flight=max(in_flight, 1)).text,
        load=max(in_flight, 1),
        in_flight=in_flight or None,
        input_tokens=int(runs[0]["isl"]),
        output_tokens=osl,
    )
    return Point(
        place=place,
        gpus=gpus,
        ttft=ttft,
        tpot=tpot,
        throughput=_median(runs, "tps_gpu") if simulated else in_flight * osl / seconds / gpus,
        predicted=None
        if simulated
        else (_median(runs, "predicted_ttft_ms") / 1000, _median(runs, "predicted_tpot_ms") / 1000),
    )


def _median(rows: Sequence[Mapping[str, str]], column: str) -> float:
    return statistics.median(float(r[column]) for r in rows)
