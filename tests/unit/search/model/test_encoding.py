"""Rows of configurations: what is unknown of one that leaves parameters to the engine."""

import pytest

from autotuner.plugins.search import SearchContext
from autotuner.search.model.encoding import Encoder
from autotuner.study.base import Value
from autotuner.study.configuration import Configuration
from autotuner.study.metric import Direction
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.parameters.space import Space

PARAMETERS = (
    Parameter(name="a", domain=Choices(values=(1, 2, 4))),
    Parameter(name="b", domain=Choices(values=("x", "y"))),
    Parameter(name="c", domain=Choices(values=(1, 2)), when="b == 'y'"),
)


@pytest.mark.parametrize(
    ("values", "unknown"),
    [({}, 3), ({"a": 3}, 1), ({"a": 3, "b": "x"}, 0), ({"a": 1, "b": "y", "c": 1}, 0), ({"b": "x"}, 1)],
)
def test_a_baseline_may_leave_some_parameters_to_the_engine(values: dict[str, Value], unknown: int) -> None:
    space = Space(parameters=PARAMETERS)
    context = SearchContext(space=space, directions=(Direction.MAX,), seed=1, trials=9)
    encoder = Encoder(context, [Configuration(values={"a": 1, "b": "x"})])
    assert encoder.units([Configuration(values=values)]).unknown.tolist() == [unknown]
