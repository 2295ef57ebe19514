"""Trials of an earlier study in terms of a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from autotuner.errors import UsageError
from autotuner.plugins.engine import Engine
from autotuner.scoring.cost import usd_per_hour, with_costs
from autotuner.scoring.values import metric_value
from autotuner.secrets import HIDDEN
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Blame, FailureCause
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS
from autotuner.study.objective import metric_text
from autotuner.study.parameters.environment import PREFIX, flags_in, is_variable
from autotuner.study.search.evidence import EarlierTrial, EarlierWindow
from autotuner.study.search.forecast import Forecast
from autotuner.study.search.goals import Place
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial, TrialState
from autotuner.study.workload import Scenario, Workload
from autotuner.tuning.memory.present_terms import given, known_now, unlike, with_combinations
from autotuner.tuning.planning.portable_checks import expanded
from autotuner.tuning.planning.prediction.predictions import Predictions
from autotuner.tuning.planning.prepared_study import Prepared

_LATENCIES = ("ttft", "tpot")
_AT_START = frozenset(
    {
        FailureCause.INVALID_FLAG, FailureCause.INVALID_VALUE, FailureCause.UNSUPPORTED_COMBINATION,
        FailureCause.UNSUPPORTED_GPU, FailureCause.GPU_OUT_OF_MEMORY_LOADING, FailureCause.KV_CACHE_TOO_SMALL,
        FailureCause.CRASH_LOADING,
    }
)  # fmt: skip
"""Failures that do not depend on the load."""
_STATISTICS = ("mean", "p50", "p90", "p95", "p99")


@dataclass(frozen=True)
class Translation:
    """What it takes to see the trials of an earlier study with the eyes of a new one."""

    prepared: Prepared
    """The new study."""
    spec: StudySpec
    """The earlier one."""
    engine: Engine
    """Of the earlier one."""
    predictions: Predictions
    same_server: bool
    """Whether equal flags start equal servers: model, GPU and engine are the same."""
    same_load: bool
    """Whether the workload is the same."""
    _forecasts: dict[str, Forecast | None] = field(default_factory=dict)

    def trials(self, stored: Sequence[Trial], most: int) -> list[EarlierTrial]:
        """Those with measurements that a search may learn from, with at most so many levels."""
        found = []
        for trial in stored:
            made = self._failed(trial) if trial.state is TrialState.FAILED else self._trial(trial)
            if made is None:
                continue
            most -= len(made.windows)
            if most < 0:
                break
            found.append(made)
        return found

    def _failed(self, trial: Trial) -> EarlierTrial | None:
        """A failure that the same server would have in the new study, too."""
        failure = trial.failure
        if failure is None or failure.blame is not Blame.CONFIGURATION:
            return None
        if failure.cause not in _AT_START and not self.same_load:
            return None
        try:
            flags = self._flags(trial)
        except UsageError:
            return None
        configuration = self._same(trial, flags)
        if configuration is None:
            return None
        return EarlierTrial(
            number=trial.number,
            values={},
            flags=_without_secrets(flags),
            configuration=configuration,
            failed=failure.cause,
        )

    def _trial(self, trial: Trial) -> EarlierTrial | None:
        simulated = self.prepared.spec.engine.kind == "simulated"
        if trial.state is not TrialState.DONE or trial.verdict is None or trial.simulated != simulated:
            return None
        try:
            flags = self._flags(trial)
        except UsageError:
            return None  # flags that this version of the engine does not know
        forecast = self._forecast(flags)
        prices = self.prepared.spec.prices
        hourly = usd_per_hour(prices, self.prepared.gpu_name, self.prepared.engine.priced_gpus(flags_in(flags)))
        priced = (with_costs(m, hourly) for m in trial.measurements)  # the earlier study may have had others
        windows = tuple(w for m in priced if (w := self._window(m, forecast)) is not None)
        if not windows:
            return None
        configuration = self._same(trial, flags)
        values = {**flags, **trial.launched.values, **trial.configuration.values}
        return EarlierTrial(
            number=trial.number,
            values=with_combinations(self.prepared, _without_secrets(values), flags),
            flags=_without_secrets(flags),
            configuration=configuration,
            unlike=() if configuration is not None else tuple(self._unlike(flags)),
            gpus=trial.gpus,
            windows=windows,
        )

    def _forecast(self, flags: Mapping[str, Value]) -> Forecast | None:
        """Computed once for repeats of a launch."""
        key = repr(sorted(flags.items()))
        if key not in self._forecasts:
            self._forecasts[key] = self.predictions.forecast(flags_in(flags), self.spec.workload, self.spec.slos)
        return self._forecasts[key]

    def _flags(self, trial: Trial) -> dict[str, Value]:
        """Flags and tuned variables that reached the server."""
        fixed = {self.engine.canonical(k): v for k, v in self.spec.engine.args.items()}
        tuned = trial.launched.values
        variables = {name: value for name, value in tuned.items() if is_variable(name)}
        return given({**expanded(self.engine, {**fixed, **flags_in(tuned)}), **variables})

    def _same(self, trial: Trial, flags: Mapping[str, Value]) -> Configuration | None:
        """The configuration of the new study that starts the same server; None if none does."""
        if not self.same_server or self.spec.engine.env != self.prepared.spec.engine.env:
            return None
        return known_now(self.prepared, trial.configuration, flags)

    def _unlike(self, flags: Mapping[str, Value]) -> list[str]:
        """Flags and variables that the new study fixes or leaves out, where the earlier one had another value."""
        env = self.prepared.spec.engine.env
        own = self.spec.engine.env
        fixed = [f"{PREFIX}{name}" for name in sorted({*env, *own}) if env.get(name) != own.get(name)]
        return [*unlike(self.prepared, _without_secrets(flags)), *fixed]

    def _window(self, m: Measurement, forecast: Forecast | None) -> EarlierWindow | None:
        kinds = {level.kind for level in self.prepared.spec.workload.levels}
        scenario = _scenario(self.spec.workload, m.scenario)
        unsound = m.overloaded or m.cut or m.undecided or m.thin or m.self_check.client_limited
        if scenario is None or unsound or m.level.kind not in kinds:
            return None
        values = {}
        for metric, statistic in _wanted(self.prepared.spec):
            value = metric_value(m, metric, statistic)
            if value is not None and value > 0:
                values[metric_text(metric, statistic)] = value
        level = forecast.at(m.scenario, m.level.text) if forecast is not None else None
        predicted = {c.text: mean for c, mean in level.log_mean.items()} if level is not None else {}
        slopes = {c.text: dict(s) for c, s in level.slopes.items()} if level is not None else {}
        return EarlierWindow(
            place=Place.of(scenario, m.level, generates=self.spec.workload.streams),
            values=values,
            uncertainty={name: half for name, half in m.uncertainty.items() if name in values},
            predicted={name: mean for name, mean in predicted.items() if name in values},
            slopes={name: own for name, own in slopes.items() if name in values},
        )


def _wanted(spec: StudySpec) -> list[tuple[str, str | None]]:
    """Metrics that objectives and SLOs name, those that they are derived from, and the latencies."""
    named = [(o.metric, o.statistic) for o in spec.objectives] + [(s.metric, s.statistic) for s in spec.slos]
    found = [(metric, statistic) for metric, statistic in named if statistic or not METRICS[metric].distribution]
    means = [(metric, "mean") for metric, _ in named if METRICS[metric].distribution]
    latencies = [(metric, statistic) for metric in _LATENCIES for statistic in _STATISTICS]
    return list(dict.fromkeys([*found, *means, *latencies]))


def _scenario(workload: Workload, text: str) -> Scenario | None:
    return next((s for s in workload.scenarios if s.text == text), None)


def _without_secrets(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if HIDDEN not in str(value)}
