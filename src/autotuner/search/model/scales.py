"""Prior scales: how much the model expects metrics to vary before the first measurement.

They are round numbers with a reason each, and the same for every study. All are standard deviations of natural
logarithms: 0.1 is about 10%.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

AMPLITUDES = (0.5, 1.0, 2.0, 4.0)
"""Common factors of all scales, averaged over by how well each explains the measurements: it is unknown
beforehand whether a study's parameters matter little or much."""
RELEVANCE = 1.0
"""Standard deviation of the logarithm of the factor that each part of a model has of its own (see :mod:`relevance`):
one parameter in three changes a metric by more than e times as much, or as little, as usual."""
COUPLING = 0.25
"""Spread of a metric's own factor around that of all metrics. What makes one metric vary usually makes the others vary,
yet one outlying metric should not widen the rest."""
AMPLITUDE = 0.7
"""Standard deviation of the logarithm of that factor around 1 in studies with predictions: how far these are usually
off is known within a factor of two. If all factors were equally likely, as they are without predictions, the first
launches would be chosen by draws that expect anything."""
TRUST = 0.9
"""Weight of the models with predictions before the first measurement; the others have the rest. Predictions are rarely
useless, and a few launches show when they are."""
OTHER_KIND = 0.135
"""Factor of the weight if one metric follows its predictions and another does not (e^-2)."""
DOUBT = 2.0
"""Least factor of the spread of draws that a bound is computed from. A search measures the best configurations, which
resemble each other: that the model predicts them well says less about the others than it assumes."""
LAUNCH_NOISE = 0.03
"""Assumed launch-to-launch noise, until repeats show it."""
NOISE_PSEUDO_REPEATS = 4
"""Degrees of freedom of :data:`LAUNCH_NOISE` beside those of repeats."""
NOISE_FLOOR = 0.005
"""Smallest noise of a window, whatever its own interval says."""
LOOK = 0.1
"""Added for a short window, of a trial that had no full ones."""
UNKNOWN_VALUE = 0.3
"""Added for each parameter whose value is unknown, as the default's may be."""
LENGTH = 0.5
"""Distance of the smooth part in ranges of an ordered parameter; different unordered values have distance 1."""
LOAD_LENGTH = 3.0
"""Distance of the smooth part in doublings of the load."""
KNOTS = 16
"""Points at which the main effect of an ordered parameter bends; parameters with fewer values have one for each."""
FREQUENCIES = 256
"""Random features of the interactions."""


@dataclass(frozen=True)
class Scales:
    """Standard deviations of the parts of a metric's logarithm."""

    offset: float
    load: float
    """Per doubling of the load."""
    gpus: float
    """Per doubling of the GPUs."""
    slope: float
    """Over the whole range of an ordered parameter."""
    value: float
    """Of each value of an unordered parameter."""
    value_load: float
    """Of each such value per doubling of the load."""
    main: float
    """Of the bends in the effect of one ordered parameter."""
    smooth: float
    """Of the interactions of all parameters and the load."""
    server: float
    """Of everything else about a configuration; it has the same sign at all levels."""
    level: float
    """Of everything else about a single level of a configuration: a batch size with a kernel of its own, a queue."""
    scenario: float
    """Of each scenario, if there are several."""


STRUCTURED = Scales(
    offset=1.0,  # users set bounds within a factor of about three of what their hardware reaches
    load=0.2,
    gpus=0.3,
    slope=0.45,  # 0.15 per doubling over three doublings
    value=0.35,  # engines and releases differ by up to half
    value_load=0.1,
    main=0.2,
    smooth=0.3,
    server=0.15,
    level=0.1,
    scenario=0.5,
)
"""Without predictions."""
PREDICTED = Scales(
    offset=0.25,  # published predictions of TPOT are off by a fifth in the median
    load=0.08,
    gpus=0.1,
    slope=0.2,
    value=0.22,
    value_load=0.08,
    main=0.1,
    smooth=0.15,
    server=0.1,
    level=0.1,
    scenario=0.15,
)
"""Around predictions."""
CALIBRATION: Mapping[str, float] = {
    "compute": 0.25, "memory": 0.15, "link": 0.5, "step": 0.7, "queue": 0.7,
}  # fmt: skip
"""Scales of the calibration parameters that a prediction has slopes for: efficiencies are known within a quarter, the
overhead of a step and the queueing factor within a factor of two."""
OTHER_CALIBRATION = 0.3
"""Scale of calibration parameters that are not listed."""


def calibration(parameters: Sequence[str]) -> list[float]:
    """Of these calibration parameters, and of an offset where nothing is predicted."""
    return [*(CALIBRATION.get(p, OTHER_CALIBRATION) for p in parameters), STRUCTURED.offset]


MEMORY_TRUST = 0.8
"""Weight of earlier studies before the first measurement, against knowing none."""
SHARED = 0.3
"""Share of the variance of each effect that all studies of one engine have in common."""
SHARED_PER_FACET = 0.15
"""The same for each facet (model, GPU, release of the engine, workload) that two studies share. What remains if all are
the same differs from day to day."""
DOUBTS = (0.0, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Standard deviations of additional noise that an earlier study may need to be explained."""

LATENCY_PER_LOAD = 0.3
"""Expected change of a latency per doubling of the load, without predictions."""
TPOT_PER_GPUS = -0.3
"""Expected change of TPOT per doubling of the GPUs, without predictions."""
PER_RELEASE = 0.2
"""Expected change of a latency or a cost per newer release of the engine, with and without predictions (see
:mod:`autotuner.search.ages`); of a rate, with the opposite sign."""
RATE_PER_LOAD = 0.5
"""Expected change of a rate per doubling of the load, without predictions."""
TTFT_OVER_TPOT = 3.0
"""Expected ratio (log) of TTFT to TPOT, where only TPOT has a bound."""

FACTORS: Mapping[str, float] = {"ttft": 2.0, "ttft_scheduled": 2.0, "ttft_first_turn": 2.0, "ttft_later_turns": 2.0}
"""Factor of all scales by metric. Published predictions of TTFT are off by twice as much as those of TPOT."""
DERIVED_FACTOR = 0.05
"""Factor of all scales of what remains after a quantity was derived from TTFT and TPOT: warm-up, failed requests."""
TAIL_FACTORS: Mapping[str, float] = {"ttft": 0.5, "tpot": 0.3}
"""Factor of all scales of the ratio of another statistic to the mean."""
OTHER_TAIL_FACTOR = 0.5
TAILS: Mapping[str, float] = {"p50": -0.05, "p75": 0.1, "p90": 0.3, "p95": 0.45, "p99": 0.7, "p99.9": 0.9, "max": 1.0}
"""Expected ratio (log) of a statistic to the mean; 0 for those not listed. TPOT has a third of it, because it is itself
a mean over the tokens of a response."""
TPOT_TAIL = 1 / 3
