"""Random landscapes with a known optimum. None of them comes from the model of the calibrated search."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import product

from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.search.goals import Place
from autotuner.study.workload import Concurrency
from landscapes.tables import Landscape, Point

_OUTPUT = 256
_LOADS = (4, 16, 64)
Surface = Callable[[Mapping[str, Value]], float]


def synthetic(kind: str, seed: int, fewest: int = 50, most: int = 250) -> Landscape:
    """A landscape of a kind of :data:`SURFACES`: five parameters, ``fewest`` to ``most`` configurations."""
    source = random.Random(f"{kind} {seed}")
    while True:
        values: dict[str, list[Value]] = {n: [2**i for i in range(source.randint(2, 6))] for n in ("a", "b", "e")}
        values |= {n: [f"{n}{i}" for i in range(source.randint(2, 4))] for n in ("c", "d")}
        if fewest <= math.prod(map(len, values.values())) <= most:
            break
    tpot = SURFACES[kind](source, values)
    ttft = SURFACES[kind](source, values)
    spread = source.uniform(0.1, 0.6)
    slope = source.uniform(0.1, 0.5)
    dies = SURFACES["trees"](source, values)
    points: dict[str, tuple[Point, ...]] = {}
    gpus: dict[str, int] = {}
    for combined in product(*values.values()):
        configuration = dict(zip(values, combined, strict=True))
        key = Configuration(values=configuration).key
        gpus[key] = 1
        runs = dies(configuration) < 1.3  # about one in ten does not start
        points[key] = tuple(
            _point(
                load,
                0.01 * math.exp(spread * tpot(configuration)) * load**slope,
                0.1 * math.exp(spread * ttft(configuration)) * load**slope,
            )
            for load in _LOADS
            if runs
        )
    found = sorted(p.tpot for own in points.values() for p in own)
    bound = found[int(len(found) * source.uniform(0.3, 0.7))]
    parameters = tuple(Parameter(name=n, domain=Choices(values=tuple(v))) for n, v in values.items())
    return Landscape(
        (kind, str(seed)), inner=True, space=Space(parameters=parameters), points=points, gpus=gpus, bound=bound
    )


def _point(load: int, tpot: float, ttft: float) -> Point:
    level = Concurrency(in_flight=load)
    place = Place("D(256,256)", level.text, load, in_flight=load, input_tokens=256, output_tokens=_OUTPUT)
    seconds = ttft + tpot * (_OUTPUT - 1)
    return Point(place, 1, ttft, tpot, load * _OUTPUT / seconds, None)


def _standardized(values: Mapping[str, Sequence[Value]], surface: Surface) -> Surface:
    """The surface with mean 0 and standard deviation 1 over the space."""
    every = [surface(dict(zip(values, c, strict=True))) for c in product(*values.values())]
    mean = math.fsum(every) / len(every)
    deviation = math.sqrt(math.fsum((v - mean) ** 2 for v in every) / len(every)) or 1.0
    return lambda c: (surface(c) - mean) / deviation


def _trees(source: random.Random, values: Mapping[str, Sequence[Value]]) -> Surface:
    """A sum of jumps, each where one to three parameters fall into halves of their values."""
    leaves = []
    for _ in range(12):
        chosen = source.sample(sorted(values), source.randint(1, 3))
        halves = {n: frozenset(_half(source, values[n])) for n in chosen}
        leaves.append((halves, source.gauss(0, 1)))

    def surface(c: Mapping[str, Value]) -> float:
        return sum(size for halves, size in leaves if all(c[n] in own for n, own in halves.items()))

    return _standardized(values, surface)


def _half(source: random.Random, values: Sequence[Value]) -> Sequence[Value]:
    if isinstance(values[0], str):
        return source.sample(list(values), max(1, len(values) // 2))
    at = source.randint(1, len(values) - 1)
    return values[:at] if source.random() < 0.5 else values[at:]


def _peaks(source: random.Random, values: Mapping[str, Sequence[Value]]) -> Surface:
    """A slope with wells around a few configurations."""
    wells = [
        ({n: source.choice(list(v)) for n, v in values.items()}, source.uniform(0.5, 2), source.uniform(0.5, 2))
        for _ in range(4)
    ]
    slopes = {n: source.gauss(0, 0.5) for n in values}

    def surface(c: Mapping[str, Value]) -> float:
        at = sum(slopes[n] * values[n].index(c[n]) / len(values[n]) for n in values)
        for middle, depth, width in wells:
            apart = sum(_distance(own, c[n], middle[n]) for n, own in values.items())
            at -= depth * math.exp(-((apart / width) ** 2))
        return at

    return _standardized(values, surface)


def _distance(values: Sequence[Value], a: Value, b: Value) -> float:
    return float(a != b) if isinstance(a, str) else abs(values.index(a) - values.index(b)) / 2


def _rough(source: random.Random, values: Mapping[str, Sequence[Value]]) -> Surface:
    """Half jumps, half independent values: much of it cannot be learned from other configurations."""
    trees = _trees(source, values)
    own: dict[str, float] = {}

    def surface(c: Mapping[str, Value]) -> float:
        key = Configuration(values=dict(c)).key
        if key not in own:
            own[key] = source.gauss(0, 1)
        return trees(c) + own[key]

    return _standardized(values, surface)


def _saturating(source: random.Random, values: Mapping[str, Sequence[Value]]) -> Surface:
    """The slowest of several resources, each a product of powers of the parameters: ridges and plateaus."""
    resources = [{n: [source.gauss(0, 0.7) for _ in v] for n, v in values.items()} for _ in range(3)]

    def surface(c: Mapping[str, Value]) -> float:
        return max(sum(own[n][values[n].index(c[n])] for n in values) for own in resources)

    return _standardized(values, surface)


SURFACES: Mapping[str, Callable[[random.Random, Mapping[str, Sequence[Value]]], Surface]] = {
    "trees": _trees,
    "peaks": _peaks,
    "rough": _rough,
    "saturating": _saturating,
}
