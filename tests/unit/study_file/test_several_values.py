"""Lists as values of one flag: reading, identity, rendering and storing."""

from pathlib import Path
from typing import Any

import pytest

from autotuner.errors import UsageError
from autotuner.search.points import Axis
from autotuner.study.base import Value, same, value_text
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.parameter import Choices, Parameter
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

BASE: dict[str, Any] = {
    "name": "s",
    "model": "m",
    "engine": {"kind": "vllm", "args": {"lora-modules": ["a=/x", "b=/y"], "gc-threshold": [700, 10, 10]}},
    "parameters": {"sizes": [None, [1, 2, 4], [1, 2, 4, 8], "1 2", 16]},
    "workload": {"scenarios": "D(8,8)", "concurrency": 1},
    "objective": "max output_throughput",
}


def read(**changes: Any) -> StudySpec:
    return parse_study({**BASE, **changes}, source="s.yaml", folder=Path("/")).spec


def test_a_list_is_a_single_fixed_or_tuned_value() -> None:
    spec = read()
    assert spec.engine.args == {"lora-modules": ("a=/x", "b=/y"), "gc-threshold": (700, 10, 10)}
    [parameter] = spec.parameters
    assert parameter.domain.grid() == (None, (1, 2, 4), (1, 2, 4, 8), "1 2", 16)


def test_lists_survive_the_file_and_the_store() -> None:
    spec = read()
    again = parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec
    assert again == spec
    stored = StudySpec.model_validate_json(spec.model_dump_json())
    assert stored == spec
    assert stored.digest == spec.digest
    point = Configuration(values={"sizes": (1, 2, 4)})
    kept = Configuration.model_validate_json(point.model_dump_json())
    assert kept == point
    assert kept.values == {"sizes": (1, 2, 4)}


VALUES: tuple[Value, ...] = ((1, 2), (2, 1), (1.0, 2), (True, 2), ("1", "2"), (1,), 1, "1 2", None)


def test_lists_differ_by_order_and_type() -> None:
    assert len({Configuration(values={"a": v}).key for v in VALUES}) == len(VALUES)
    axis = Axis(Parameter(name="a", domain=Choices(values=VALUES)))
    assert [axis.position(v) for v in VALUES] == list(range(len(VALUES)))
    assert all(same(v, v) for v in VALUES)
    assert not axis.ordered


def test_the_text_of_a_list_has_no_spaces() -> None:
    assert value_text((1, "b", 0.5)) == "1,b,0.5"
    assert Configuration(values={"a": (1, 2), "b": 3}).text == "a=1,2 b=3"


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("engine.args.x", {"engine": {"kind": "vllm", "args": {"x": []}}}),
        ("engine.args.x", {"engine": {"kind": "vllm", "args": {"x": [1, [2]]}}}),
        ("engine.args.x", {"engine": {"kind": "vllm", "args": {"x": [None]}}}),
        ("engine.args.x", {"engine": {"kind": "vllm", "args": {"x": {"a": 1}}}}),
        ("engine.args.x", {"engine": {"kind": "vllm", "args": {"x": list(range(2000))}}}),
        ("parameters.sizes", {"parameters": {"sizes": [[1, 2], [1, 2]]}}),
        ("parameters.sizes[0]", {"parameters": {"sizes": [[]]}}),
        ("parameters.sizes[1]", {"parameters": {"sizes": [[1], [[2]]]}}),
    ],
)
def test_anything_but_a_list_of_single_values_is_rejected(path: str, changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as error:
        read(**changes)
    [problem] = error.value.problems
    assert problem.where.split()[-1].startswith(path)
