"""Conformance of all search strategies and of the scripted double."""

from collections.abc import Callable

import pytest

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.search.bayesian import BayesianSearch
from autotuner.search.calibrated import CalibratedSearch
from autotuner.search.grid import GridSearch
from autotuner.search.random import RandomSearch
from autotuner.study.base import FrozenModel
from autotuner.study.configuration import Configuration
from autotuner.testing.search_kit import (
    ScriptedSearch,
    ScriptedSettings,
    SearchConformance,
    context_of,
    made,
    small_space,
)

Strategy = Callable[[SearchContext], Search]


class TestGrid(SearchConformance):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return lambda context: GridSearch(GridSearch.Settings(), context)


class TestRandom(SearchConformance):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return lambda context: RandomSearch(RandomSearch.Settings(), context)


class TestBayesian(SearchConformance):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return lambda context: BayesianSearch(BayesianSearch.Settings(), context)


class TestCalibrated(SearchConformance):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return lambda context: CalibratedSearch(CalibratedSearch.Settings(), context)


class TestScripted(SearchConformance):
    @pytest.fixture
    def strategy(self) -> Strategy:
        return lambda context: ScriptedSearch(ScriptedSettings(), context)

    def test_a_space_of_a_trillion_points_is_never_written_out(self, strategy: Strategy) -> None:
        """Replaced for the double, which only proposes what its script lists."""
        script = (Configuration(values={"a": 3}), Configuration(values={"a": 1}))
        search = ScriptedSearch(ScriptedSettings(script=script), context_of(small_space()))
        first = search.ask([])
        assert first == script[0]
        trial = made(0, script[0])
        search.tell(trial)
        assert search.ask([trial]) == script[1]
        assert search.learned == [trial]


def test_kit_detects_repeated_proposals() -> None:
    """The kit must be able to fail."""

    class Repeater(Search):
        kind = "repeater"
        Settings = FrozenModel

        def ask(self, history: object, free: int = 1) -> Configuration | Stop:
            return next(iter(self.context.space.grid()))

        def tell(self, trial: object) -> None: ...

    with pytest.raises(AssertionError):
        SearchConformance().test_tries_every_allowed_configuration_once_and_then_stops(
            lambda c: Repeater(FrozenModel(), c)
        )
