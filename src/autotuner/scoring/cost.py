"""Cost of serving, from prices of GPUs or of a whole host, in USD per hour."""

import re
from collections.abc import Mapping

from autotuner.study.measurement import Measurement
from autotuner.study.metric import COST_METRICS

ANY = "*"
"""The price of GPUs that no other key matches."""
HOST = "host"
"""The price of a server without GPUs."""
_HOUR_S = 3600
_RATES = {"cost_per_million_output_tokens": ("output_throughput", 1e6), "cost_per_request": ("request_throughput", 1.0)}
"""By metric: the rate that it follows from, and the number of tokens or requests that it prices."""


def same_kind(one: str, other: str) -> bool:
    """Whether two keys name the same GPUs. Case, order and separators of their words do not matter."""
    return one == other or (bool(_parts(one)) and _parts(one) == _parts(other))


def gpu_price(prices: Mapping[str, float], gpu_name: str) -> float | None:
    """The price of one GPU; None if no key matches.

    A key matches if the driver's name has all of its words: ``A100-80GB`` matches ``NVIDIA A100-SXM4-80GB``. The key
    with the most words wins.

    Args:
        prices: USD per hour, by kind of GPU.
        gpu_name: As the driver reports it; empty if the GPUs are of several kinds, which only ``*`` matches.
    """
    have = _parts(gpu_name)
    fitting = [key for key in prices if key not in (ANY, HOST) and _parts(key) and _parts(key) <= have]
    best = max(fitting, key=lambda key: (len(_parts(key)), key), default=ANY)
    return prices.get(best)


def usd_per_hour(prices: Mapping[str, float], gpu_name: str, gpus: int) -> float | None:
    """Price of a server; None if its GPUs have no price or, for a server without GPUs, if the host has none."""
    if not gpus:
        return prices.get(HOST)
    price = gpu_price(prices, gpu_name)
    return None if price is None else price * gpus


def with_costs(measurement: Measurement, hourly: float | None) -> Measurement:
    """The measurement with the costs of its tokens and requests, which replace those that it has.

    Args:
        measurement: A window.
        hourly: Price of the server in USD per hour; None if it is not known.
    """
    scalars = {name: value for name, value in measurement.scalars.items() if name not in COST_METRICS}
    uncertainty = {name: value for name, value in measurement.uncertainty.items() if name not in COST_METRICS}
    for cost, (rate, count) in _RATES.items():
        measured = measurement.value(rate, None)
        if hourly is not None and measured:
            scalars[cost] = hourly / _HOUR_S / measured * count
            if rate in measurement.uncertainty:  # relative, and small enough to be the same for the reciprocal
                uncertainty[cost] = measurement.uncertainty[rate]
    if scalars == measurement.scalars:
        return measurement
    return measurement.replaced(scalars=scalars, uncertainty=uncertainty)


def _parts(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.lower()))
