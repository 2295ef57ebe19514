"""Measurements of earlier studies in terms of the present study's columns.

Every weight of the model consists of a part that all studies share, one for each facet (model, GPU, release, workload)
that only some of them share, and one of its own. So an earlier study shifts and narrows the weights the more, the
closer it is related.
"""

import math
from collections.abc import Sequence

import numpy as np

from autotuner.plugins.search import SearchContext
from autotuner.search.model import scales
from autotuner.search.model.encoding import Array, Encoder, Index
from autotuner.search.model.quantities import Key, Quantity, anchor, logarithm
from autotuner.search.model.recall import Recalled, Rows, recall, relations
from autotuner.search.model.scales import Scales
from autotuner.study.objective import metric_text
from autotuner.study.search.evidence import EarlierStudy, EarlierTrial, EarlierWindow, Facet

_MOST_WINDOWS = 600
"""Windows that are learned from; those of the most closely related studies come first."""
_HALF_WIDTH_SDS = 1.96
"""Standard deviations in half of a 95% interval."""


class Memory:
    """The evidence of a search. What it says about the weights is computed once."""

    def __init__(self, context: SearchContext, encoder: Encoder) -> None:
        self._context = context
        self._encoder = encoder
        self._studies = context.evidence.studies
        trials: list[tuple[int, EarlierTrial]] = []
        for number, study in enumerate(self._studies):
            for trial in (t for t in study.trials if t.windows):
                if sum(len(t.windows) for _, t in trials) + len(trial.windows) <= _MOST_WINDOWS:
                    trials.append((number, trial))
        self._trials = [trial for _, trial in trials]
        self._units = encoder.earlier(self._trials)
        self._rows = [(unit, index) for unit, t in enumerate(self._trials) for index in range(len(t.windows))]
        self._study = [number for number, _ in trials]
        """By trial."""
        self.servers = list(dict.fromkeys(filter(None, self._units.servers)))
        """Servers of the present study that an earlier one has measured."""
        self._related = relations(self._studies)
        self._known: dict[tuple[object, ...], tuple[Recalled, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._rows)

    def center(self, quantity: Quantity) -> float | None:
        """Expected logarithm at a medium load, from studies with other goals at most; None without any."""
        return self._median(quantity, [n for n, study in enumerate(self._studies) if _same(study)])

    def recalled(self, quantity: Quantity, kind: str, own: Scales, parameters: tuple[str, ...]) -> tuple[Recalled, ...]:
        """What is known of the weights of one quantity, by amplitude; empty if no earlier study measured it.

        Args:
            quantity: With its center, as far as goals and earlier studies determine it.
            kind: Kind of model.
            own: Its scales.
            parameters: Calibration parameters of the predictions.
        """
        key = (quantity.key, kind, parameters)
        if key not in self._known:
            found = [(u, p, v) for u, p in self._rows if (v := self._value(quantity, u, p)) is not None]
            rows = self._of(found, quantity, kind, own, parameters) if found else None
            self._known[key] = recall(rows, self._related, quantity.factor) if rows else ()
        return self._known[key]

    def _of(
        self,
        found: Sequence[tuple[int, int, float]],
        quantity: Quantity,
        kind: str,
        own: Scales,
        parameters: tuple[str, ...],
    ) -> Rows:
        """``found`` are trials, windows and values."""
        units: Index = np.array([u for u, _, _ in found], int)
        places: Index = np.array([p for _, p, _ in found], int)
        studies: Index = np.array([self._study[u] for u in units], int)
        servers = [self._units.servers[u] for u in units]
        mean = np.array(self._centers(quantity), float)[studies] + quantity.expected(self._units, units, places)
        columns = [self._encoder.columns(self._units, units, places), self._of_servers(servers)]
        deviations = [self._encoder.deviations(own), np.full(len(self.servers), own.server)]
        if kind == "predicted":
            predicted, slopes = self._predicted(quantity, units, places, parameters)
            missing = np.isnan(predicted)
            mean = np.where(missing, mean, predicted + quantity.per_release * self._units.ages[units])
            columns.append(np.hstack([slopes, missing[:, None]]) / max(quantity.factor, 1e-9))
            deviations.append(np.array(scales.calibration(parameters)))
        width = np.concatenate(deviations) * quantity.factor
        known = len(deviations[0]) + len(deviations[1])
        return Rows(
            columns=np.hstack(columns),
            deviations=width,
            # The calibration parameters are the last columns; servers of the present study may precede them.
            at=np.concatenate([np.arange(known), np.arange(known - len(width), 0)]),
            rest=np.array([v for _, _, v in found], float) - mean,
            variances=np.array([self._variance(quantity, u, p) for u, p, _ in found], float),
            studies=studies,
            launches=units,
            others=self._others(units, own) * quantity.factor,
            level=own.level * quantity.factor,
        )

    def _value(self, quantity: Quantity, unit: int, place: int) -> float | None:
        window = self._trials[unit].windows[place]
        return logarithm(quantity, lambda key: _log(window, key), window.place, self._trials[unit].gpus)

    def _centers(self, quantity: Quantity) -> list[float]:
        """Expected logarithm at a medium load in each study: the present one's if they differ in nothing but their
        goals, or if it does not depend on them."""
        found = []
        for number, study in enumerate(self._studies):
            own = quantity.center if _same(study) or quantity.relative else anchor(quantity.key, study.slos)
            if own is None:
                own = self._median(quantity, [number])
            found.append(own or 0.0)
        return found

    def _median(self, quantity: Quantity, studies: list[int]) -> float | None:
        rest = [
            v - float(quantity.expected(self._units, np.array([u]), np.array([p]))[0])
            for u, p in self._rows
            if self._study[u] in studies and (v := self._value(quantity, u, p)) is not None
        ]
        return float(np.median(rest)) if rest else None

    def _predicted(
        self, quantity: Quantity, units: Index, places: Index, parameters: tuple[str, ...]
    ) -> tuple[Array, Array]:
        """Predicted logarithms (NaN without a prediction) and their slopes."""
        text = metric_text(quantity.key.metric, quantity.key.statistic)
        windows = [self._trials[u].windows[p] for u, p in zip(units, places, strict=True)]
        means = [w.predicted.get(text, math.nan) if quantity.predicted else math.nan for w in windows]
        slopes = [[w.slopes.get(text, {}).get(p, 0.0) for p in parameters] for w in windows]
        return np.array(means, float), np.array(slopes, float).reshape(len(windows), len(parameters))

    def _variance(self, quantity: Quantity, unit: int, place: int) -> float:
        window = self._trials[unit].windows[place]
        half = window.uncertainty.get(metric_text(quantity.key.metric, quantity.key.statistic))
        spread = max(math.log1p(half) / _HALF_WIDTH_SDS if half else 0.0, scales.NOISE_FLOOR)
        return spread**2

    def _others(self, units: Index, own: Scales) -> Array:
        """Columns for values that the present study does not have, and for each server that it cannot start."""
        labels = [label for unit in units for label in self._units.others[unit]]
        labels += [f"server {unit}" for unit in units]
        places = {label: i for i, label in enumerate(dict.fromkeys(labels))}
        found = np.zeros((len(units), len(places)))
        for row, unit in enumerate(units):
            for label in self._units.others[unit]:
                found[row, places[label]] = own.value
            if not self._units.servers[unit]:
                found[row, places[f"server {unit}"]] = own.server
        return found

    def _of_servers(self, servers: list[str]) -> Array:
        return np.array([[float(s == known) for known in self.servers] for s in servers], float).reshape(
            len(servers), len(self.servers)
        )


def _same(study: EarlierStudy) -> bool:
    return len(study.shared) == len(Facet)


def _log(window: EarlierWindow, key: Key) -> float | None:
    value = window.values.get(metric_text(key.metric, key.statistic)) if key.of is None else None
    return math.log(value) if value is not None and value > 0 else None
