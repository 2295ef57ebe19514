"""What one level showed of one bound, as far as the curve needs it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ShareCount:
    """Misses of a bound on a share, in independent requests (divided by the dispersion)."""

    load: float
    requests: float
    misses: float
    allowed: float


@dataclass(frozen=True)
class MeanValue:
    """Mean of a bound on a mean."""

    load: float
    requests: float
    """Independent requests."""
    distance: float
    """Mean minus limit, in standard deviations of the values."""


Observation = ShareCount | MeanValue
