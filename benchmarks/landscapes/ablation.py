"""Parts of the calibrated search that can be left out, to see what each contributes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from autotuner.search.model import acquisition, proposing, scales


def _both(**changes: float) -> Callable[[], None]:
    """Sets scales of both kinds of model."""

    def leave_out() -> None:
        for name in ("STRUCTURED", "PREDICTED"):
            setattr(scales, name, replace(getattr(scales, name), **changes))

    return leave_out


def _constant(module: Any, **changes: Any) -> Callable[[], None]:
    def leave_out() -> None:
        for name, value in changes.items():
            setattr(module, name, value)

    return leave_out


ABLATIONS: Mapping[str, Callable[[], None]] = {
    "values": _both(value=0.0, value_load=0.0),
    "slopes": _both(load=0.0, gpus=0.0, slope=0.0),
    "expected-slopes": _constant(scales, LATENCY_PER_LOAD=0.0, TPOT_PER_GPUS=0.0),
    "bends": _both(main=0.0),
    "interactions": _both(smooth=0.0),
    "server": _both(server=0.0),
    "level": _both(level=0.0),
    "relevance": _constant(scales, RELEVANCE=1e-3),
    "amplitudes": _constant(scales, AMPLITUDES=(1.0,)),
    "coupling": _constant(scales, COUPLING=2.0),
    "own-kind": _constant(scales, OTHER_KIND=1.0),
    "near": _constant(acquisition, GAIN=1e6),
    "new-values": _constant(proposing, _PROBED=0.0),
    "unpredicted": _constant(proposing, unpredicted=lambda *_: frozenset()),
    "amplitude": _constant(scales, AMPLITUDE=1e6),
    "releases": _constant(scales, PER_RELEASE=0.0),
}
"""By name, how to leave out each part: effects of unordered values, slopes of ordered ones, the sign of slopes, bends,
interactions, effects of single servers and of their single levels, scales that are learned for each part, averaging
over amplitudes, sharing amplitudes between metrics, one kind of model for all metrics, the probability of being near
the best one (expected improvement alone), trying values that no trial has had, scales of their own for parameters that
predictions do not depend on, expecting that the scales of predictions are right within a factor of two, and expecting
that newer releases are faster."""
