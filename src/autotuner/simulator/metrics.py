"""Prometheus metrics under the engines' own names, plus ``autotuner_simulated 1`` to mark them as simulated."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

_TTFT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
_E2E = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0)


class Histogram:
    """A Prometheus histogram."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Adds one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: Mapping[str, str]) -> Iterable[str]:
        """The histogram as Prometheus text."""
        yield f"# TYPE {name} histogram"
        total = 0
        for bound, n in zip((*map(repr, self.bounds), "+Inf"), self._counts, strict=True):
            total += n
            yield f"{name}_bucket{_braced({**labels, 'le': bound})} {total}"
        yield f"{name}_sum{_braced(labels)} {self._sum!r}"
        yield f"{name}_count{_braced(labels)} {total}"


class Latencies:
    """Latency histograms of finished requests."""

    def __init__(self) -> None:
        self.ttft = Histogram(_TTFT)
        self.e2e = Histogram(_E2E)

    def observe(self, ttft_s: float, e2e_s: float) -> None:
        """Adds one request. Times in seconds."""
        self.ttft.observe(ttft_s)
        self.e2e.observe(e2e_s)


def _braced(labels: Mapping[str, str]) -> str:
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") for k, v in labels.items()}
    return "{" + ",".join(f'{k}="{v}"' for k, v in escaped.items()) + "}" if labels else ""


def sample(name: str, value: float, labels: Mapping[str, str], kind: str = "gauge") -> list[str]:
    """One sample with its type line, as the engines' client library writes it: counters keep their ``_total``."""
    return [f"# TYPE {name} {kind}", f"{name}{_braced(labels)} {value!r}"]


def samples(
    name: str, values: Sequence[float], labels: Mapping[str, str], replica: str, kind: str = "gauge"
) -> list[str]:
    """One sample per data-parallel replica, distinguished by the label ``replica``."""
    rows = [f"{name}{_braced({**labels, replica: str(i)})} {value!r}" for i, value in enumerate(values)]
    return [f"# TYPE {name} {kind}", *rows]
