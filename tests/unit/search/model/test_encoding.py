"""Configurations as columns: unknown values, and how much each column may matter."""

import numpy as np
import pytest

from autotuner.plugins.search import SearchContext
from autotuner.search.model import scales
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


def test_predictions_tell_nothing_about_parameters_that_they_do_not_depend_on() -> None:
    """Of these, as much is expected as without predictions; of everything else, as usual with predictions."""
    context = SearchContext(space=Space(parameters=PARAMETERS[:2]), directions=(Direction.MAX,), seed=1, trials=9)
    typical = [Configuration(values={"a": 1, "b": "x"})]
    usual = Encoder(context, typical)
    encoder = Encoder(context, typical, {"b"})
    b = encoder.parts() == 3  # the load, the GPUs and "a" come first
    assert b.sum() == 4  # an offset and a slope per value
    found = encoder.deviations(scales.PREDICTED)
    assert found[b] == pytest.approx(usual.deviations(scales.STRUCTURED)[b])
    assert found[~b] == pytest.approx(usual.deviations(scales.PREDICTED)[~b])
    assert np.array_equal(encoder.deviations(scales.STRUCTURED), usual.deviations(scales.STRUCTURED))
