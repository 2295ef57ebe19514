"""The model of all quantities: fitted to the finished trials, it draws joint results of any configurations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autotuner.plugins.search import SearchContext
from autotuner.search.model import scales
from autotuner.search.model.encoding import FIXED, Array, Encoder, Index, Units, by_place, first_positions
from autotuner.search.model.memory import Memory
from autotuner.search.model.observations import Rows, Windows, observe, seen, verdict_quantities
from autotuner.search.model.posterior import Design, Member, average, fit
from autotuner.search.model.quantities import TPOT, TTFT, Key, Quantity, quantities, rate_factor, rate_share
from autotuner.study.configuration import Configuration
from autotuner.study.search.forecast import Channel, Forecast
from autotuner.study.trial import Trial

Forecasts = Callable[[Configuration], Forecast | None]
"""Predictions by configuration; the caller caches them."""
_LARGEST = 300.0
"""Largest logarithm of a time."""


@dataclass(frozen=True)
class Draws:
    """Joint draws of all quantities."""

    logs: Mapping[Key, Array]
    """Natural logarithm of each metric by draw, configuration and place."""
    predicted: float | None
    """Weight of the predictions; None without predictions."""
    remembered: float | None = None
    """Weight of earlier studies; None without any."""


@dataclass(frozen=True)
class _Points:
    """What the designs of all quantities and kinds have in common; see :class:`Design`."""

    columns: Array
    """Without those of calibration parameters."""
    used: Index
    """Number of the weight of each column."""
    new: Index
    levels: Index


class Model:
    """Fitted once per proposal."""

    def __init__(
        self,
        context: SearchContext,
        encoder: Encoder,
        trials: Sequence[Trial],
        candidates: Sequence[Configuration],
        forecasts: Forecasts,
        launch_noise: float,
        memory: Memory,
        windows: Windows,
    ) -> None:
        """
        Args:
            context: The problem.
            encoder: Columns of its configurations.
            trials: All finished ones, repeats included, in the order of their numbers.
            candidates: Configurations that may be proposed.
            forecasts: Predictions.
            launch_noise: Standard deviation between launches of one configuration.
            memory: What earlier studies measured.
            windows: Reads the trials.
        """
        self._context = context
        self._encoder = encoder
        self._forecasts = forecasts
        self._launch_noise = launch_noise
        goals = context.goals
        modeled = quantities(goals) if goals else verdict_quantities(len(context.directions))
        known = seen(context, trials)
        units = encoder.units(known.configurations)
        self._memory = memory
        every = [(server, place) for server, own in zip(units.servers, units.places, strict=True) for place in own]
        self._levels = {level: i for i, level in enumerate(dict.fromkeys(every))}
        """Number of each observed level of a server."""
        self._observed = {server: i for i, server in enumerate(dict.fromkeys([*memory.servers, *units.servers]))}
        self._launched = len(set(units.servers))
        self.source = ""
        """Source of the predictions; empty if there are none."""
        self._parameters: tuple[str, ...] = ()
        self._learn_predictions([*known.configurations, *candidates])
        self._fitted: list[tuple[Quantity, list[Member]]] = []
        self._rows: list[Index] = []
        for quantity in modeled:
            rows = observe(context, quantity, known, units, windows)
            self._rows.append(np.array(rows.units, int))
            self._fitted.append(self._fit(quantity, rows, units))

    def _learn_predictions(self, configurations: Sequence[Configuration]) -> None:
        named: dict[str, None] = {}
        for configuration in configurations:
            forecast = self._forecasts(configuration)
            if forecast is None:
                continue
            self.source = f"{forecast.source} {forecast.version}".strip()
            for level in forecast.levels:
                for slopes in level.slopes.values():
                    named.update(dict.fromkeys(slopes))
        self._parameters = tuple(sorted(named))

    def _fit(self, quantity: Quantity, rows: Rows, units: Units) -> tuple[Quantity, list[Member]]:
        at = np.array(rows.units, int)
        places = np.array(rows.places, int)
        if quantity.center is None:
            quantity = replace(quantity, center=self._memory.center(quantity))
        known = quantity
        if quantity.center is None:
            rest = rows.observations.values - quantity.expected(units, at, places)
            quantity = replace(quantity, center=float(np.median(rest)) if len(rest) else 0.0)
        members: list[Member] = []
        shared = self._points(units, at, places, every=True)
        for kind in self._kinds(quantity):
            design = self._design(quantity, kind, units, at, places, shared)
            own = scales.PREDICTED if kind == "predicted" else scales.STRUCTURED
            recalled = self._memory.recalled(known, kind, own, self._parameters)
            members += fit(kind, design, rows.observations, self._launch_noise, recalled)
        return quantity, members

    def _kinds(self, quantity: Quantity) -> tuple[str, ...]:
        predicted = self._context.goals is not None and quantity.predicted
        return ("predicted", "structured") if self.source and predicted else ("structured",)

    def _points(self, units: Units, at: Index, places: Index, *, servers: bool = True, every: bool = False) -> _Points:
        """Some levels of some units.

        Args:
            units: The units.
            at: Unit of each level.
            places: Place of each level.
            servers: Whether single servers and levels have effects.
            every: Whether to include columns of servers that none of the units has.
        """
        own, new = self._servers(units)
        levels = self._numbered(units, at, places)
        if not servers:
            own = np.zeros_like(own)
            new = np.full_like(new, -1)
            levels = np.full_like(levels, -1)
        columns = self._encoder.columns(units, at, places)
        # Hardly any candidate runs on a server that was observed.
        of_servers = np.flatnonzero(own.any(axis=0) | every)
        used = np.concatenate([np.arange(columns.shape[1]), columns.shape[1] + of_servers])
        return _Points(np.hstack([columns, own[:, of_servers][at]]), used, new[at], levels)

    def _numbered(self, units: Units, at: Index, places: Index) -> Index:
        """A number for each level of a server."""
        known = np.array([server in self._observed for server in units.servers], bool)
        firsts = first_positions(units.places)
        found: Index = len(self._levels) + at * firsts.shape[-1] + firsts[at, places]
        for i in np.flatnonzero(known[at]).tolist():
            level = (units.servers[at[i]], units.places[at[i]][places[i]])
            found[i] = self._levels.get(level, found[i])
        return found

    def _design(self, quantity: Quantity, kind: str, units: Units, at: Index, places: Index, shared: _Points) -> Design:
        """Columns and mean of some levels of some units, according to one kind of model."""
        own = scales.PREDICTED if kind == "predicted" else scales.STRUCTURED
        columns = shared.columns
        mean = quantity.expected(units, at, places) + (quantity.center or 0.0)
        deviations = np.concatenate([self._encoder.deviations(own), np.full(len(self._observed), own.server)])
        known = len(deviations)
        if kind == "predicted":
            mean, slopes = self._predictions(quantity, units, at, places, mean)
            columns = np.hstack([columns, slopes])
            deviations = np.concatenate([deviations, scales.calibration(self._parameters)])
        return Design(
            columns,
            mean,
            deviations * quantity.factor,
            own.server * quantity.factor,
            shared.new,
            own.level * quantity.factor,
            shared.levels,
            self._parts(len(deviations)),
            np.concatenate([shared.used, np.arange(known, len(deviations))]),
        )

    def _parts(self, count: int) -> Index:
        """Part of each column; those of servers are one, and calibration parameters have fixed scales."""
        own = self._encoder.parts()
        servers = np.full(len(self._observed), own.max() + 1)
        return np.concatenate([own, servers, np.full(count - len(own) - len(servers), FIXED)])

    def _servers(self, units: Units) -> tuple[Array, Index]:
        """A column for each server that was observed, and a number for each of the others, by row."""
        columns = np.zeros((len(units), len(self._observed)))
        numbers: dict[str, int] = {}
        new = np.full(len(units), -1)
        for row, server in enumerate(units.servers):
            if server in self._observed:
                columns[row, self._observed[server]] = 1.0
            else:
                new[row] = numbers.setdefault(server, len(numbers))
        return columns, new

    def _predictions(
        self, quantity: Quantity, units: Units, at: Index, places: Index, otherwise: Array
    ) -> tuple[Array, Array]:
        """Predicted logarithms, and the columns of the calibration parameters. The last column is 1 where there is no
        prediction, so that these points have an offset of their own."""
        channel = Channel(quantity.key.metric, quantity.key.statistic)
        mean = otherwise.copy()
        columns = np.zeros((len(at), len(self._parameters) + 1))
        columns[:, -1] = 1.0
        forecasts = {row: self._forecasts(units.configurations[row]) for row in dict.fromkeys(at.tolist())}
        for i, (row, place) in enumerate(zip(at.tolist(), places.tolist(), strict=True)):
            forecast = forecasts[row]
            where = units.places[row][place]
            level = forecast.at(where.scenario, where.level) if forecast else None
            if level is None or channel not in level.log_mean:
                continue
            mean[i] = level.log_mean[channel] + quantity.per_release * units.ages[row]
            slopes = level.slopes.get(channel, {})
            columns[i] = [*(slopes.get(p, 0.0) for p in self._parameters), 0.0]
        return mean, columns / max(quantity.factor, 1e-9)  # calibration parameters have scales of their own

    def draw(
        self, units: Units, random: np.random.Generator, count: int, *, widened: bool = False, servers: bool = True
    ) -> Draws:
        """Joint draws of the configurations' own results, without the noise of a launch.

        Args:
            units: The configurations.
            random: Source of the draws.
            count: Number of draws.
            widened: Whether draws of a quantity are spread as far as its observations differ from what the others
                predict, and at least by :data:`scales.DOUBT`.
            servers: Whether effects of single servers and their levels are part of their results.
        """
        rows, places = np.divmod(np.arange(units.loads.size), units.loads.shape[1])
        average_of = average([members for _, members in self._fitted], random, count)
        shared = self._points(units, rows, places, servers=servers)
        # A spread that is known from few servers makes Student's distribution of a normal one.
        freedom = max(self._launched - 1, 1)
        heavy = np.sqrt(freedom / random.chisquare(freedom, count)) if widened else np.ones(count)
        logs: dict[Key, Array] = {}
        for i, (quantity, members) in enumerate(self._fitted):
            designs = {
                kind: self._design(quantity, kind, units, rows, places, shared)
                for kind in dict.fromkeys(members[n].kind for n in np.unique(average_of.chosen[i]).tolist())
            }
            own = _drawn(members, designs, average_of.chosen[i], random).reshape(count, *units.loads.shape)
            if widened:
                middle = own.mean(axis=0)
                factor = _surprise(members, self._rows[i], average_of.chosen[i])
                own = middle + (own - middle) * (factor * heavy)[:, None, None]
            if quantity.base is not None:
                own = own + logs[quantity.base]
            elif quantity.derived:
                own = own + _rates(quantity.key, units, logs)
            logs[quantity.key] = own
        return Draws(
            logs=logs,
            predicted=average_of.predicted if self.source else None,
            remembered=average_of.remembered if self._memory else None,
        )


def _surprise(members: Sequence[Member], servers: Index, chosen: Index) -> float:
    """Ratio of the residuals of servers that are predicted from all others to what is expected of them; at least
    :data:`scales.DOUBT`."""
    shares = np.bincount(chosen, minlength=len(members)) / len(chosen)
    squares = sum(share * m.left_out(servers) for share, m in zip(shares, members, strict=True) if share)
    return float(max(scales.DOUBT, np.sqrt(squares)))


def _drawn(
    members: Sequence[Member], designs: Mapping[str, Design], chosen: Index, random: np.random.Generator
) -> Array:
    """One draw per row, each from the member that was chosen for it."""
    found = np.empty((len(chosen), len(next(iter(designs.values())).mean)))
    for number in np.unique(chosen).tolist():
        own = np.flatnonzero(chosen == number)
        found[own] = members[number].draw(random, len(own), designs[members[number].kind])
    return found


def _rates(key: Key, units: Units, logs: Mapping[Key, Array]) -> Array:
    """Logarithm of a rate that follows from TTFT and TPOT; see :func:`quantities.derived`."""
    answers = by_place(units.places, lambda p: (p.output_tokens or 1.0) - 1)
    shares = np.array([rate_share(key, n) for n in units.counts], float)
    factors = by_place(units.places, lambda p: rate_factor(key, p, 1)) / shares[:, None]
    # Draws of configurations that are unlike all others may be beyond what a float holds.
    ttft = np.exp(np.minimum(logs[TTFT], _LARGEST))
    seconds = ttft + np.exp(np.minimum(logs[TPOT], _LARGEST)) * np.maximum(answers, 0.0)
    found: Array = np.log(np.maximum(factors, 1e-300)) - np.log(np.maximum(seconds, 1e-12))
    return found
