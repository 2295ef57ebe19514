"""Cost of a planned study at the prices that it states."""

from autotuner.study.spec import StudySpec
from autotuner.tuning.planning.prepared_study import Prepared

_HOUR_S = 3600


def planned_usd(prepared: Prepared, *, search_s: float, proof_s: float) -> float | None:
    """Cost in USD if every launch is priced as the default; with several engines, as their most expensive default.

    Args:
        prepared: The study.
        search_s: Wall-clock seconds of the search.
        proof_s: Seconds of the proof, whose launches run one at a time.

    Returns:
        None if a price is not known, or if nothing real is launched.
    """
    if any(kind == "simulated" for kind in prepared.spec.engine_kinds):
        return None
    hourly = [prepared.usd_per_hour(default) for default in prepared.defaults]
    known = [price for price in hourly if price is not None]
    if not known or len(known) < len(hourly):
        return None
    side_by_side = _servers_paid(prepared.spec, gpus=any(prepared.gpus(default) for default in prepared.defaults))
    return (search_s * side_by_side + proof_s) / _HOUR_S * max(known)


def _servers_paid(spec: StudySpec, *, gpus: bool) -> int:
    """Trials that run side by side have GPUs of their own, but without GPUs they share a host, which is paid once."""
    return spec.search.parallel if gpus else 1
