"""Choice of the prior: what predicts the results of a study's servers.

A study has one prior per engine. The search learns how far predictions are off, and two sources are off in different
ways, so a configuration that the chosen one does not know has no prediction, rather than one from elsewhere.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.plugins import loading
from autotuner.study.base import Value
from autotuner.study.spec import SearchSpec, StudySpec
from autotuner.tuning.planning.portable_checks import expanded
from autotuner.tuning.planning.prediction.predictions import AUTO, NO_PRIOR, ROOFLINE, Predictions

_BUILT_IN = (AUTO, ROOFLINE, NO_PRIOR)


def check_prior(search: SearchSpec) -> None:
    """Refuses a prior that cannot be used.

    Raises:
        UsageError: If it is unknown.
        MissingExtraError: If it needs an extra that is not installed.
    """
    if search.prior in _BUILT_IN:
        return
    known = loading.kinds("priors")
    if search.prior not in known:
        remedy = did_you_mean(search.prior, [*_BUILT_IN, *known])
        raise UsageError.at("search.prior", "unknown prior", value=search.prior, remedy=remedy)
    loading.prior(search.prior)


def by_prior(predictions: Predictions, spec: StudySpec, fixed: Mapping[str, Value]) -> Predictions:
    """The predictions of the study's prior.

    ``auto`` is the roofline, or, if that knows nothing of the default, the first installed plugin that does.

    Args:
        predictions: Of the roofline.
        spec: The study.
        fixed: Arguments of every launch, which make the default.
    """
    if spec.search.prior != AUTO:
        return replace(predictions, prior=spec.search.prior)
    if not _knows(predictions, spec, fixed):
        for kind in sorted(loading.available("priors")):
            other = replace(predictions, prior=kind)
            if _knows(other, spec, fixed):
                return other
    return predictions


def prior_notes(predictions: Predictions, spec: StudySpec, fixed: Mapping[str, Value]) -> Iterator[Problem]:
    """Warnings about a prior that was chosen in vain."""
    prior = spec.search.prior
    if prior in {AUTO, NO_PRIOR}:
        return
    uses = loading.load("searches", spec.search.kind).uses_forecasts
    if not uses:
        why = f"strategy {spec.search.kind} does not use predictions; they are only shown"
        yield Problem(where="search.prior", value=prior, why=why, remedy="use strategy: calibrated")
    if not _knows(predictions, spec, fixed):
        why = f"{prior} has no prediction for the default: model, GPU, workload or a flag is unknown to it"
        remedy = "use prior: auto" if uses else ""
        yield Problem(where="search.prior", value=prior, why=why, remedy=remedy)


def _knows(predictions: Predictions, spec: StudySpec, fixed: Mapping[str, Value]) -> bool:
    """Whether there is a prediction for the default."""
    try:
        return predictions.forecast(expanded(predictions.engine, fixed), spec.workload) is not None
    except UsageError:
        return False  # fixed arguments that the engine refuses
