"""Conformance tests for search strategies, and a scripted double.

class TestMySearch(SearchConformance):
    @pytest.fixture
    def strategy(self): return MySearch
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel

from autotuner.plugins.search import Search, SearchContext, Stop
from autotuner.study.base import FrozenModel, Value
from autotuner.study.configuration import Configuration
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.metric import Direction
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.parameter import Choices, Domain, IntRange, Parameter
from autotuner.study.parameters.space import Space
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.verdict import Verdict


def space_of(constraints: Sequence[str] = (), **domains: Domain | Sequence[Value]) -> Space:
    """A space from keyword arguments; a list stands for choices."""
    parameters = [
        Parameter(name=name, domain=d if isinstance(d, BaseModel) else Choices(values=tuple(d)))
        for name, d in domains.items()
    ]
    return Space(parameters=tuple(parameters), constraints=tuple(Constraint.parse(c) for c in constraints))


def small_space() -> Space:
    """A space with 20 allowed points of 24, including values that compare equal in Python."""
    return space_of(["threads <= 4 or level == 0"], threads=[1, 2, 8], odd=[True, 1, "1", None], level=[0, 1])


def conditional_space(steps: Domain | Sequence[Value]) -> Space:
    """A space with conditional parameters: (1 + 2n + n) * 2 - 1 allowed points, with n values of ``steps``."""
    space = space_of(algorithm=["none", "EAGLE", "NGRAM"], steps=steps, topk=[1, 4], tp=[1, 2])
    conditions = {"steps": "algorithm != 'none'", "topk": "algorithm == 'EAGLE'"}
    parameters = (p.replaced(when=conditions.get(p.name, "")) for p in space.parameters)
    return space.replaced(
        parameters=tuple(parameters), constraints=(Constraint.parse("topk != 4 or tp != 2 or steps != 1"),)
    )


def context_of(space: Space, **changes: Any) -> SearchContext:
    """A context with one objective and seed 1."""
    facts: dict[str, Any] = {"directions": (Direction.MAX,), "seed": 1, "trials": 10_000}
    return SearchContext(space=space, **{**facts, **changes})


def made(
    number: int,
    configuration: Configuration,
    *,
    state: TrialState = TrialState.DONE,
    role: TrialRole = TrialRole.SEARCH,
    objectives: Sequence[float] = (1.0,),
    violation: float = 0.0,
) -> Trial:
    """A trial with a verdict that matches its state."""
    verdict = Verdict(feasible=violation == 0, objectives=tuple(objectives), total_violation=violation)
    return Trial(
        study="kit",
        number=number,
        role=role,
        configuration=configuration,
        state=state,
        verdict=verdict if state is TrialState.DONE else None,
        failure=Failure(cause=FailureCause.OUT_OF_MEMORY, message="kit") if state is TrialState.FAILED else None,
    )


def answer(number: int, configuration: Configuration, objectives: int = 1) -> Trial:
    """The result of a made-up server: some points are good, some violate an SLO, some fail."""
    kind = int(configuration.key[:2], 16) % 5
    if kind == 0:
        return made(number, configuration, state=TrialState.FAILED)
    figures = [float(int(configuration.key[i : i + 4], 16) + 1) for i in range(objectives)]
    return made(number, configuration, objectives=figures, violation=0.5 if kind == 1 else 0.0)


class SearchConformance:
    """Subclass it and provide ``strategy``: a callable from a context to a search."""

    @pytest.fixture
    def strategy(self) -> Callable[[SearchContext], Search]:
        """The class under test, constructed with its default settings."""
        raise NotImplementedError

    def test_tries_every_allowed_configuration_once_and_then_stops(
        self, strategy: Callable[[SearchContext], Search]
    ) -> None:
        space = small_space()
        trials, stop = run(strategy(context_of(space)))
        assert isinstance(stop, Stop)
        assert "space is used up" in stop.why
        keys = [t.configuration.key for t in trials]
        assert len(keys) == 20
        assert set(keys) == {c.key for c in space.grid()}

    def test_types_are_those_of_the_space(self, strategy: Callable[[SearchContext], Search]) -> None:
        trials, _ = run(strategy(context_of(small_space())))
        for odd in (True, 1, "1", None):
            same = [t for t in trials if type(t.configuration.values["odd"]) is type(odd)]
            assert len(same) == 5
            assert all(t.configuration.values["odd"] == odd for t in same)

    def test_what_the_catalog_forbids_is_never_proposed(self, strategy: Callable[[SearchContext], Search]) -> None:
        context = context_of(small_space(), valid=lambda c: c.values["threads"] != 2)
        trials, _ = run(strategy(context))
        assert len(trials) == 12
        assert all(t.configuration.values["threads"] != 2 for t in trials)

    def test_the_default_is_not_proposed_again(self, strategy: Callable[[SearchContext], Search]) -> None:
        default = Configuration(values={"threads": 1, "odd": True, "level": 0})
        search = strategy(context_of(small_space(), default=default))
        zero = made(0, Configuration(), role=TrialRole.DEFAULT)
        search.tell(zero)
        trials, _ = run(search, [zero])
        assert len(trials) == 20
        assert default.key not in {t.configuration.key for t in trials}

    def test_one_server_written_in_two_ways_is_tried_once(self, strategy: Callable[[SearchContext], Search]) -> None:
        """``1`` and ``"1"`` look the same on a command line; what the default is already is not tried again."""

        def identity(c: Configuration) -> str:
            set_values = {k: v for k, v in c.values.items() if v is not None}
            return " ".join(f"{k}={v}" for k, v in set_values.items())

        context = context_of(space_of(odd=[1, "1", None, True], level=[None, 3]), identity=identity)
        search = strategy(context)
        zero = made(0, Configuration(), role=TrialRole.DEFAULT)
        search.tell(zero)
        trials, _ = run(search, [zero])
        tried = [identity(t.configuration) for t in trials]
        assert sorted(tried) == ["", "level=3", "odd=1", "odd=1 level=3", "odd=True", "odd=True level=3"]

    def test_listed_combinations_are_the_whole_space(self, strategy: Callable[[SearchContext], Search]) -> None:
        """Also where all combinations of their values would be far too many to look through."""
        points = tuple({f"p{n}": i * (n + 1) % 40 for n in range(8)} for i in range(40))
        domains: dict[str, Any] = {f"p{n}": sorted({p[f"p{n}"] for p in points}) for n in range(8)}
        space = space_of(**domains)
        context = context_of(space.model_copy(update={"combinations": points}))
        search = strategy(context)
        zero = made(0, Configuration(), role=TrialRole.DEFAULT)
        search.tell(zero)
        trials, end = run(search, [zero])
        tried = [tuple(t.configuration.values.values()) for t in trials if t.number]
        assert sorted(tried) == sorted(tuple(p.values()) for p in points)
        assert isinstance(end, Stop)

    def test_running_trials_are_not_proposed_and_void_ones_are(
        self, strategy: Callable[[SearchContext], Search]
    ) -> None:
        search = strategy(context_of(small_space()))
        running: list[Trial] = []
        while not isinstance(asked := search.ask(running, free=4), Stop):
            running.append(made(len(running), asked, state=TrialState.RUNNING))
        assert len({t.configuration.key for t in running}) == 20
        lost = running[7].model_copy(update={"state": TrialState.VOID})
        again = search.ask([*running[:7], lost, *running[8:]], free=4)
        assert isinstance(again, Configuration)
        assert again.key == lost.configuration.key

    def test_same_seed_and_history_same_answers(self, strategy: Callable[[SearchContext], Search]) -> None:
        one, _ = run(strategy(context_of(small_space())))
        other, _ = run(strategy(context_of(small_space())))
        assert [t.configuration.key for t in one] == [t.configuration.key for t in other]

    def test_rebuilt_at_any_moment_it_answers_as_if_never_stopped(
        self, strategy: Callable[[SearchContext], Search]
    ) -> None:
        """Two trials at a time finish out of order, and one is still running when the search is rebuilt."""
        space = small_space()
        search = strategy(context_of(space))
        history = list[Trial]()
        for _ in range(8):
            for _ in range(2):
                asked = search.ask(history, free=2)
                rebuilt = strategy(context_of(space))
                for trial in history:
                    if trial.state.finished:
                        rebuilt.tell(trial)
                assert rebuilt.ask(history, free=2) == asked
                assert isinstance(asked, Configuration)
                history.append(made(len(history), asked, state=TrialState.RUNNING))
            for at in (-1, -2) if len(history) < 8 else (-1, -3):
                if not history[at].state.finished:
                    history[at] = answer(history[at].number, history[at].configuration)
                    search.tell(history[at])

    def test_several_objectives(self, strategy: Callable[[SearchContext], Search]) -> None:
        trials, _ = run(strategy(context_of(small_space(), directions=(Direction.MAX, Direction.MIN))), objectives=2)
        assert len(trials) == 20

    def test_nothing_but_failures(self, strategy: Callable[[SearchContext], Search]) -> None:
        search = strategy(context_of(small_space()))
        history = list[Trial]()
        while not isinstance(asked := search.ask(history), Stop):
            history.append(made(len(history), asked, state=TrialState.FAILED))
            search.tell(history[-1])
        assert len(history) == 20

    def test_a_space_of_a_trillion_points_is_never_written_out(
        self, strategy: Callable[[SearchContext], Search]
    ) -> None:
        """Otherwise the test would run out of memory or time."""
        whole = IntRange(low=1, high=1_000_000)
        search = strategy(context_of(space_of(a=whole, b=whole), trials=20))
        trials, _ = run(search, most=12)
        assert len({t.configuration.key for t in trials}) == 12

    def test_inactive_parameters_are_absent(self, strategy: Callable[[SearchContext], Search]) -> None:
        space = conditional_space([1, 3, None])
        default = space.pruned({"algorithm": "none", "tp": 1})
        search = strategy(context_of(space, default=default))
        zero = made(0, Configuration(), role=TrialRole.DEFAULT)
        search.tell(zero)
        trials, stop = run(search, [zero])
        assert isinstance(stop, Stop)
        keys = [t.configuration.key for t in trials[1:]]
        assert len(keys) == len(set(keys)) == 18
        assert {*keys, default.key} == {c.key for c in space.grid()}

    def test_a_tree_of_a_trillion_points(self, strategy: Callable[[SearchContext], Search]) -> None:
        space = conditional_space(IntRange(low=1, high=10**12))
        trials, _ = run(strategy(context_of(space, trials=20)), most=12)
        assert len({t.configuration.key for t in trials}) == 12
        assert all(space.contains(t.configuration) for t in trials)

    def test_an_empty_space_stops_at_once(self, strategy: Callable[[SearchContext], Search]) -> None:
        search = strategy(context_of(space_of(["a > 2"], a=[1, 2])))
        assert isinstance(search.ask([]), Stop)


def run(
    search: Search, history: Sequence[Trial] = (), *, most: int = 100, objectives: int = 1
) -> tuple[list[Trial], Stop | None]:
    """Asks and tells until the search stops, at most ``most`` times; returns all trials and the reason."""
    trials = list(history)
    for _ in range(most):
        asked = search.ask(trials)
        if isinstance(asked, Stop):
            return trials, asked
        trials.append(answer(len(trials), asked, objectives))
        search.tell(trials[-1])
    return trials, None


class ScriptedSettings(FrozenModel):
    """Configurations to propose, in this order; if empty, the whole space in order."""

    script: tuple[Configuration, ...] = ()


class ScriptedSearch(Search):
    """A double that proposes the configurations of its script and records finished trials in ``learned``."""

    kind: ClassVar[str] = "scripted"
    Settings: ClassVar[type[BaseModel]] = ScriptedSettings

    def __init__(self, settings: BaseModel, context: SearchContext) -> None:
        super().__init__(settings, context)
        assert isinstance(settings, ScriptedSettings)
        self._script = settings.script
        self.learned: list[Trial] = []

    def ask(self, history: Sequence[Trial], free: int = 1) -> Configuration | Stop:
        """The script's first configuration that is allowed and not yet in the history."""
        identity = self.context.identity
        taken = {identity(t.configuration) for t in history if t.state is not TrialState.VOID}
        if self.context.default is not None:
            taken.add(identity(self.context.default))
        for candidate in self._script or self.context.space.grid():
            fits = self.context.space.allows(candidate) and self.context.valid(candidate)
            if fits and identity(candidate) not in taken:
                return candidate
        return Stop("the space is used up: the script has ended")

    def tell(self, trial: Trial) -> None:
        """Records the trial."""
        self.learned.append(trial)
