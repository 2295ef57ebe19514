"""Where the capacity search of a new trial begins: just above what the best configuration of the study holds."""

from collections.abc import Sequence
from math import exp

from autotuner.capacity.loads import next_above
from autotuner.scoring import rank
from autotuner.study.capacity.units import LOAD_KINDS
from autotuner.study.metric import CAPACITY_METRICS, PER_GPU
from autotuner.study.search.forecast import Channel, Forecast
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import CapacityLoad, LoadUnit
from autotuner.tuning.trials.capacity_window import CapacityStart


def capacity_start(
    spec: StudySpec, trial: Trial, trials: Sequence[Trial], gpus: int, forecast: Forecast | None = None
) -> CapacityStart:
    """The first load of a trial's search.

    A repeat begins where the trial that it repeats ended. A trial of the search must exceed the best one so far by the
    precision, if that decides the ranking: the capacity is the only objective, and there is one scenario. The search
    does not resolve smaller differences, and a lower requirement would start a long search for most configurations. A
    trace must be replayed only as fast as for the best one, because a single replay decides. As long as nothing is
    measured, it begins at the predicted capacity.

    Args:
        spec: The study.
        trial: The new trial.
        trials: All trials of the study.
        gpus: GPUs that the new trial holds.
        forecast: What is predicted for it.
    """
    load = next((level for level in spec.workload.levels if isinstance(level, CapacityLoad)), None)
    if load is None:
        return CapacityStart()
    metric = CAPACITY_METRICS[load.unit]
    if trial.repeat_of is not None:
        repeated = [t for t in trials if t.number == trial.repeat_of]
        return CapacityStart(_capacity(repeated[0], metric) if repeated else None)
    done = [t for t in trials if t.role is not TrialRole.CONFIRM and t.state is TrialState.DONE and _usable(t)]
    if not done:
        return CapacityStart(_predicted(spec, load, forecast))
    best = rank(done, spec.objectives)[0]
    found = _capacity(best, metric)
    decides = len(spec.objectives) == 1 and len(spec.workload.scenarios) == 1
    objective = spec.objectives[0].metric
    if found is None or not decides or objective not in (metric, metric + PER_GPU):
        return CapacityStart(found)
    if objective == metric + PER_GPU and best.gpus:
        found *= gpus / best.gpus
    # Soft SLOs that the best one misses lower its rank, so that less capacity might win.
    penalized = best.verdict is not None and best.verdict.penalty > 0
    if trial.role is not TrialRole.SEARCH or trial.engine_default or penalized:
        return CapacityStart(found)
    return CapacityStart(found if load.unit is LoadUnit.SPEED else above(found, load), required=True)


def above(found: float, load: CapacityLoad) -> float:
    """The load that exceeds the best configuration's by the precision, within the range.

    Args:
        found: What the best configuration holds, in the unit of the load.
        load: Unit, precision and range.
    """
    higher = next_above(found, load.precision, whole=LOAD_KINDS[load.unit].whole)
    return min(higher, load.high or higher)


def _predicted(spec: StudySpec, load: CapacityLoad, forecast: Forecast | None) -> float | None:
    """The least predicted capacity over the scenarios; None without a prediction for each."""
    if forecast is None:
        return None
    channel = Channel(CAPACITY_METRICS[load.unit])
    found = [forecast.at(scenario.text, load.text) for scenario in spec.workload.scenarios]
    logs = [level.log_mean.get(channel) for level in found if level is not None]
    known = [value for value in logs if value is not None]
    return exp(min(known)) if len(known) == len(found) else None


def _usable(trial: Trial) -> bool:
    verdict = trial.verdict
    return verdict is not None and verdict.feasible and verdict.rankable


def _capacity(trial: Trial, metric: str) -> float | None:
    """The least capacity over the trial's scenarios."""
    return min((v for m in trial.measurements if (v := m.value(metric, None)) is not None), default=None)
