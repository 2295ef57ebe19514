"""Simulated servers on virtual time whose capacity is known from long runs: queues, batching engines, and odd ones.

The simulation itself is C (``queue_models.c``), because a few hundred million requests are needed.
"""

import ctypes
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autotuner.capacity.twin.model import Latency, TwinModel

QUEUE, ENGINE, SHARE = range(3)
NORMAL, UNIFORM, LOGNORMAL, EXPONENTIAL = range(4)
KINDS = (Latency.E2E, Latency.TTFT, Latency.TPOT)
"""What an engine's bound may be on; of a queue, the second is its wait."""
ALLOWED = 0.01
"""Share of requests that may miss: all bounds are on a p99."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Model:
    """A server; queue_models.c says what the fields mean."""

    kind: int
    slots: int = 1
    latency: int = 0
    rate: float = 0.0
    draw: int = EXPONENTIAL
    first: float = 1.0
    second: float = 0.0
    prefill: float = 0.0
    prefill_sd: float = 0.0
    step: float = 0.0
    per_request: float = 0.0
    miss: float = 0.0
    burst: float = 1.0
    active: float = 1.0
    drift: float = 1.0
    drift_requests: float = 0.0
    cold: float = 1.0
    cold_requests: float = 0.0
    served: float = 0.0


class _CModel(ctypes.Structure):
    _fields_ = [(one.name, ctypes.c_int if one.type is int else ctypes.c_double) for one in fields(Model)]


@dataclass(frozen=True)
class Truth:
    """What long runs found."""

    capacity: float
    share_below: float
    """Share of misses at the capacity divided by the root of 1.1."""
    dispersion_below: float
    share_above: float
    """Share of misses at the capacity times the root of 1.1."""
    dispersion_above: float


@dataclass(frozen=True)
class Server:
    """A model, its bound, and the truth."""

    name: str
    model: Model
    limit: float
    """Latency in seconds above which a request misses its bound."""
    truth: Truth
    shares: Callable[[float], float] | None = field(default=None, compare=False)
    """Requests per second to the share of misses, for servers without a queue."""
    also_crosses: tuple[float, ...] = ()
    """Further rates at which the share of misses passes what is allowed, below the capacity."""
    steep: bool = False
    """A batching engine where 5% more load multiplies the misses, with a dispersion as that of an end-to-end SLO."""

    @property
    def latency(self) -> Latency:
        """What the bound is on."""
        return KINDS[self.model.latency]

    def run(self, rate: float, seed: int, served: int = 0) -> "Run":
        """Starts the server, empty, at a rate of arrivals."""
        model = replace(self.model, rate=rate, served=float(served))
        if self.shares is not None:
            model = replace(model, miss=min(1.0, self.shares(rate) / model.active))
        return Run(model, seed)

    def lengths(self, random: np.random.RandomState, count: int) -> tuple[Floats, Floats]:
        """Input and output lengths of as many requests, as the server draws them."""
        model = self.model
        if model.draw == NORMAL:
            outputs = np.maximum(model.first / 100, random.normal(model.first, model.second, count))
        elif model.draw == UNIFORM:
            outputs = random.uniform(model.first, model.second, count)
        else:
            outputs = model.first * random.lognormal(-(model.second**2) / 2, model.second, count)
        return np.ones(count), outputs

    def good(self, rate: float) -> bool:
        """Whether the share of misses at a rate is within what is allowed."""
        return sum(cross < rate for cross in (*self.also_crosses, self.truth.capacity)) % 2 == 0


@dataclass(frozen=True)
class Taken:
    """Requests in the order of arrival, one value each. Times in seconds."""

    latencies: Floats
    in_flight: NDArray[np.int32]
    arrivals: Floats
    inputs: Floats
    """Input lengths in tokens."""
    outputs: Floats
    """Output lengths in tokens; of a queue, the service times. Nothing for a server without a queue."""
    ends: Floats


def run_twin(model: TwinModel, latency: Latency, arrivals: Floats, inputs: Floats, outputs: Floats) -> Floats:
    """As :func:`autotuner.capacity.twin.fit.simulate`."""
    columns = [np.ascontiguousarray(one, dtype=np.float64) for one in (arrivals, inputs, outputs)]
    latencies = np.empty(len(columns[0]), dtype=np.float64)
    slots = np.inf if model.slots is None else model.slots
    times = (model.step, model.per_request, model.prefill, slots)
    kind = KINDS.index(latency)
    _library().twin_run(*times, kind, len(latencies), *(one.ctypes.data for one in columns), latencies.ctypes.data)
    return latencies


class Run:
    """One run of a server; requests come in the order of arrival."""

    def __init__(self, model: Model, seed: int) -> None:
        values = {one.name: getattr(model, one.name) for one in fields(Model)}
        self._library = _library()
        self._sim = self._library.sim_new(ctypes.byref(_CModel(**values)), seed)

    def take(self, requests: int) -> tuple[Floats, NDArray[np.int32]]:
        """Latencies in seconds and requests in flight of the next requests; fewer from a saturated server."""
        taken = self.take_all(requests)
        return taken.latencies, taken.in_flight

    def take_all(self, requests: int) -> Taken:
        """The next requests with what the client knows of them."""
        found = np.empty(requests, dtype=np.int32)
        latencies, came, lengths, left = (np.empty(requests, dtype=np.float64) for _ in range(4))
        addresses = [one.ctypes.data for one in (latencies, found, came, lengths, left)]
        count = self._library.sim_run(self._sim, requests, *addresses)
        return Taken(latencies[:count], found[:count], came[:count], np.ones(count), lengths[:count], left[:count])

    def __del__(self) -> None:
        self._library.sim_free(self._sim)


@cache
def _library() -> ctypes.CDLL:
    """Compiles the simulation, once per process tree."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "queue_models.so"
        source = Path(__file__).with_suffix(".c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", str(built), str(source), "-lm"], check=True)
        library = ctypes.CDLL(str(built))
    library.sim_new.restype = ctypes.c_void_p
    library.sim_new.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    library.sim_free.argtypes = [ctypes.c_void_p]
    library.sim_free.restype = None
    library.sim_run.restype = ctypes.c_int64
    library.sim_run.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 5]
    library.twin_run.restype = None
    library.twin_run.argtypes = [*[ctypes.c_double] * 4, ctypes.c_int, ctypes.c_int64, *[ctypes.c_void_p] * 4]
    return library


def _queue(slots: int) -> Model:
    return Model(QUEUE, slots, draw=LOGNORMAL, first=1.0, second=0.5)


def _engine(
    slots: int, per_request: float, prefill: float, prefill_sd: float, tokens: float = 128, tokens_sd: float = 32
) -> Model:
    return Model(
        ENGINE,
        slots,
        draw=NORMAL,
        first=tokens,
        second=tokens_sd,
        step=0.01,
        per_request=per_request,
        prefill=prefill,
        prefill_sd=prefill_sd,
    )


def _bump(rate: float) -> float:
    """A server that is bad in the middle, as where a batch size has no good kernel."""
    return 0.05 if 3.0 < rate < 5.0 else 0.001 if rate < 10 else 0.2


_ANALYTIC = Truth(10.0, 0.001, 1.0, 0.2, 1.0)
_B512 = Truth(28.84, 0.0028, 4.8, 0.034, 22)
_B64 = _engine(64, 0.0003, 0.01, 0.003)
_B64_TTFT = replace(_B64, latency=1)
_B32_TTFT = Model(
    ENGINE, 32, 1, draw=UNIFORM, first=50, second=150, step=0.01, per_request=0.0004, prefill=0.02, prefill_sd=0.006
)

SERVERS = (
    Server("M/G/2 e2e", _queue(2), 6.0, Truth(1.465, 0.0056, 21, 0.019, 38)),
    Server("M/G/4 e2e", _queue(4), 4.5, Truth(3.186, 0.005, 23, 0.022, 65)),
    Server("M/G/8 e2e", _queue(8), 3.6, Truth(6.738, 0.0057, 10, 0.025, 110)),
    Server("batch 16 e2e", _engine(16, 0.0004, 0.04, 0.008, 24, 6), 2.0, Truth(13.23, 0.0035, 29, 0.037, 125)),
    Server("batch 32 e2e", _engine(32, 0.0004, 0.01, 0.003), 4.0, Truth(6.957, 0.0058, 3.7, 0.017, 6.1)),
    Server("batch 64 e2e", _B64, 5.0, Truth(11.19, 0.0045, 5.7, 0.022, 12), steep=True),
    Server("batch 256 e2e", _engine(256, 0.0002, 0.005, 0.001), 6.0, Truth(20.56, 0.003, 7, 0.03, 26), steep=True),
    Server("batch 512 e2e", _engine(512, 0.0001, 0.002, 0.0005, 200, 50), 9.0, _B512, steep=True),
    Server("batch 64 tpot", replace(_B64, latency=2), 0.027, Truth(10.05, 0.0031, 43, 0.029, 55)),
    Server("batch 32 ttft", _B32_TTFT, 0.5, Truth(8.674, 0.0039, 26, 0.027, 54)),
    Server("batch 64 ttft", _B64_TTFT, 0.2, Truth(12.15, 0.0024, 40, 0.037, 94)),
    Server("cliff", Model(SHARE), 1.0, _ANALYTIC, shares=lambda rate: 0.001 if rate < 10 else 0.2),
    Server(
        "bimodal",
        Model(SHARE, burst=30.0, active=0.2),
        1.0,
        Truth(10, 0.007, 2.5, 0.015, 3.9),
        shares=lambda rate: min(0.19, 0.01 * (rate / 10) ** 8),
    ),
    Server("drifting", replace(_B64, drift=1.1, drift_requests=1500), 5.0, Truth(9.389, 0.005, 4.5, 0.02, 9)),
    Server("non-monotone", Model(SHARE), 1.0, _ANALYTIC, shares=_bump, also_crosses=(3.0, 5.0)),
    Server("cold start", replace(_B64, cold=4.0, cold_requests=120), 5.0, Truth(11.19, 0.0045, 5.7, 0.022, 12)),
)
