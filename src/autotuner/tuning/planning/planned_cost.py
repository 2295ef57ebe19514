"""Costs at the prices that a study states: of the planned study, and of its stored trials."""

from autotuner.errors import UsageError
from autotuner.scoring.cost import usd_per_hour, with_costs
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial
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


def priced_again(prepared: Prepared, trial: Trial) -> Trial:
    """A stored trial with its costs at the present prices."""
    if prepared.spec.engine_name(trial.configuration) not in prepared.by_engine:
        return trial  # where its engine ran is not known any more
    own = prepared.of(trial.configuration)
    try:
        hourly = own.usd_per_hour(trial.launched)  # what a combination's name stands for may have been edited
    except UsageError:  # set aside: it sets a flag that the study no longer knows
        hourly = usd_per_hour(prepared.spec.prices, own.gpu_name, trial.gpus)
    looks, measurements = (tuple(with_costs(m, hourly) for m in found) for found in (trial.looks, trial.measurements))
    return trial.replaced(looks=looks, measurements=measurements, usd_per_hour=hourly)
