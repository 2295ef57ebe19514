"""The strategies that are compared, each as the number of launches that it needs on a landscape."""

import importlib.util
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from warnings import catch_warnings, simplefilter

import optuna

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.search.bayesian import BayesianSearch
from autotuner.search.calibrated import CalibratedSearch
from autotuner.search.grid import GridSearch
from autotuner.search.random import RandomSearch
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.search.release import Release
from autotuner.study.trial import Trial
from landscapes.tables import LOAD, NEAR, RELEASE, Landscape

Arm = Callable[[Landscape, int, int], int]
"""Launches until a feasible configuration within 5% of the best one was tried: by landscape, seed and limit."""


@dataclass(frozen=True)
class Known:
    """What a search knows before its first launch."""

    predicted: bool = False
    evidence: Evidence = NO_EVIDENCE


def context_of(landscape: Landscape, seed: int, most: int, known: Known) -> SearchContext:
    return SearchContext(
        space=landscape.space,
        directions=(Direction.MAX,),
        seed=seed,
        trials=most,
        goals=landscape.goals,
        places=landscape.places,
        load_parameters=frozenset(() if landscape.inner else (LOAD,)),
        gpus=lambda c: landscape.gpus[c.key],
        release=lambda c: Release.named(*(str(c.values.get(name, "")) for name in reversed(RELEASE))),
        forecast=landscape.forecast if known.predicted else lambda _: None,
        evidence=known.evidence,
    )


def searched(strategy: type[Search], landscape: Landscape, seed: int, most: int, known: Known = Known()) -> int:
    """Runs one of the product's strategies."""
    search = strategy(strategy.Settings(), context_of(landscape, seed, most, known))
    history: list[Trial] = []
    while len(history) < most:
        proposal = search.ask(history)
        if isinstance(proposal, Stop):
            break
        if _near(landscape, proposal):
            return len(history) + 1
        history.append(landscape.trial(len(history), proposal))
        search.tell(history[-1])
    return most


def _near(landscape: Landscape, configuration: Configuration) -> bool:
    value = landscape.value(configuration.key)
    return value is not None and value >= NEAR * landscape.best


def _product(strategy: type[Search], known: Known = Known()) -> Arm:
    return lambda landscape, seed, most: searched(strategy, landscape, seed, most, known)


def _shuffled(landscape: Landscape, seed: int, most: int) -> int:
    return searched(CalibratedSearch, landscape.shuffled(seed), seed, most, Known(predicted=True))


def _corrected(landscape: Landscape, seed: int, most: int) -> int:
    """Knows from the start what no search can know: how far the predictions for each engine's release are off."""
    return searched(CalibratedSearch, landscape.corrected(), seed, most, Known(predicted=True))


def _warm(every: Sequence[Landscape], *, predicted: bool, misleading: bool = False) -> Arm:
    """Knows all other landscapes of the table, with their results in random order if ``misleading``."""

    def run(landscape: Landscape, seed: int, most: int) -> int:
        order = seed if misleading else None
        studies = [x.earlier(landscape, order) for x in every if x.identity != landscape.identity]
        evidence = Evidence(studies=tuple(sorted(studies, key=lambda s: -len(s.shared))))
        return searched(CalibratedSearch, landscape, seed, most, Known(predicted, evidence))

    return run


def _blind(landscape: Landscape, seed: int, most: int) -> int:
    """Launches in the order of the predictions; at random once none is predicted to meet the bound."""
    listed = list(landscape.space.grid())
    random.Random(f"blind {seed}").shuffle(listed)

    def promise(configuration: Configuration) -> float:
        found = []
        for point in landscape.points[configuration.key]:
            if point.predicted and point.predicted[1] <= landscape.bound:
                seconds = point.predicted[0] + point.predicted[1] * ((point.place.output_tokens or 1) - 1)
                found.append((point.place.in_flight or 1) / seconds / point.gpus)
        return max(found, default=-math.inf)

    listed.sort(key=promise, reverse=True)
    tried = next(i for i, c in enumerate(listed, 1) if _near(landscape, c))
    return min(tried, most)


def _optuna(sampler: Callable[[int], optuna.samplers.BaseSampler]) -> Arm:
    """One of Optuna's samplers. Proposals that are not in the table or were tried are rejected; after 20 of them, a
    random configuration is launched."""

    def run(landscape: Landscape, seed: int, most: int) -> int:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        source = random.Random(f"optuna {seed}")
        axes = {p.name: p.domain.grid() for p in landscape.space.parameters}
        space = {
            name: optuna.distributions.CategoricalDistribution([str(v) for v in values or ()])
            for name, values in axes.items()
        }
        with catch_warnings():
            simplefilter("ignore")
            study = optuna.create_study(direction="maximize", sampler=sampler(seed))
            left = {c.key: c for c in landscape.space.grid()}
            for launched in range(1, most + 1):
                chosen = None
                for _ in range(20):
                    trial = study.ask(space)
                    values = {n: next(v for v in axes[n] or () if str(v) == trial.params[n]) for n in axes}
                    if (key := Configuration(values=values).key) in left:
                        chosen = left[key]
                        break
                    study.tell(trial, state=optuna.trial.TrialState.FAIL)
                if chosen is None:
                    chosen = source.choice(list(left.values()))
                    study.enqueue_trial({n: str(v) for n, v in chosen.values.items()})
                    trial = study.ask(space)
                del left[chosen.key]
                if _near(landscape, chosen):
                    return launched
                value = landscape.value(chosen.key)
                points = landscape.points[chosen.key]
                over = min((p.tpot / landscape.bound for p in points), default=10.0)
                study.tell(trial, math.log(value) if value is not None else -20.0 - math.log(over))
        return most

    return run


def arms(every: Sequence[Landscape] = ()) -> Mapping[str, Arm]:
    """All strategies by name; ``every`` landscape of a table may be known when another one is searched."""
    found: dict[str, Arm] = {
        "random": _product(RandomSearch),
        "grid": _product(GridSearch),
        "tpe": _optuna(lambda seed: optuna.samplers.TPESampler(seed=seed, n_startup_trials=4)),
        "bayesian": _product(BayesianSearch),
        "blind": _blind,
        "cold": _product(CalibratedSearch),
        "prior": _product(CalibratedSearch, Known(predicted=True)),
        "shuffled": _shuffled,
        "corrected": _corrected,
        "warm": _warm(every, predicted=True),
        "warm-cold": _warm(every, predicted=False),
        "misleading": _warm(every, predicted=True, misleading=True),
        "misleading-cold": _warm(every, predicted=False, misleading=True),
    }
    if importlib.util.find_spec("torch"):
        found["gp"] = _optuna(lambda seed: optuna.samplers.GPSampler(seed=seed, n_startup_trials=4))
    return found


PREDICTED = frozenset({"blind", "prior", "shuffled", "corrected", "warm", "misleading"})
"""Strategies that need predictions."""
