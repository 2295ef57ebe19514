"""``parameters`` as a list of combinations, which are the only points of the space."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from autotuner.engines.vllm.engine import Vllm, VllmSettings
from autotuner.errors import UsageError
from autotuner.search.points import Points
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.space import Space
from autotuner.study.spec import StudySpec
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

CANONICAL = Vllm(VllmSettings()).canonical
LISTED: list[Any] = [
    {"max_num_seqs": 32, "max_num_batched_tokens": 1024},
    {"max-num-seqs": 64, "env.A": "x"},
    {"max_num_seqs": 64, "cudagraph-capture-sizes": [1, 2]},
    {},
]


def read(parameters: Any, **changes: Any) -> StudySpec:
    data = {
        "name": "s",
        "model": "m",
        "engine": "vllm",
        "objective": "max output_throughput",
        "workload": {"scenarios": "D(8,8)", "concurrency": 1},
        "parameters": parameters,
        **changes,
    }
    return parse_study(data, source="s.yaml", folder=Path("/"), canonical_of=lambda _: CANONICAL).spec


def space_of(spec: StudySpec, *constraints: str) -> Space:
    return Space(
        parameters=spec.parameters,
        combinations=spec.combinations,
        constraints=tuple(map(Constraint.parse, constraints)),
    )


def test_each_combination_is_a_point_with_null_for_what_it_leaves_out() -> None:
    spec = read(LISTED)
    names = ["max-num-seqs", "max-num-batched-tokens", "env.A", "cudagraph-capture-sizes"]
    assert [p.name for p in spec.parameters] == names
    expected = [(32, 1024, None, None), (64, None, "x", None), (64, None, None, (1, 2)), (None, None, None, None)]
    space = space_of(spec)
    assert [tuple(c.values[n] for n in names) for c in space.grid()] == expected
    assert space.size == Points(space).size == 4
    assert all(space.contains(c) for c in space.grid())
    assert {c.key for c in Points(space).shuffled(3)} == {c.key for c in space.grid()}
    assert all(space.contains(space.sample(Random(i))) for i in range(10))
    product = Configuration(values={**spec.combinations[0], "env.A": "x"})
    assert not space.contains(product)


def test_constraints_apply_to_combinations() -> None:
    assert len(list(space_of(read(LISTED), "max-num-seqs != 64").grid())) == 2


def test_combinations_survive_the_file_and_the_store() -> None:
    spec = read(LISTED)
    assert parse_study(render_study(spec), source="s.yaml", folder=Path("/")).spec == spec
    stored = StudySpec.model_validate_json(spec.model_dump_json())
    assert stored == spec
    assert read(LISTED[:3]).digest == spec.digest == stored.digest, "other combinations do not change what is measured"


@pytest.mark.parametrize(
    ("where", "parameters"),
    [
        ("parameters", []),
        ("parameters[0]", ["max-num-seqs"]),
        ("parameters[0].a", [{"a": {"low": 1, "high": 2}}]),
        ("parameters[0].a", [{"a": []}]),
        ("parameters[1]", [{"a": 1}, {"a": 1}]),
        ("parameters[1]", [{"a": None, "b": 1}, {"b": 1}]),
        ("parameters[0].max_num_seqs", [{"max-num-seqs": 1, "max_num_seqs": 2}]),
        ("parameters.env.HF_TOKEN", [{"env.HF_TOKEN": "a"}]),
        ("parameters.seed", [{"seed": 1}]),
    ],
)
def test_an_invalid_combination_is_rejected_at_its_place(where: str, parameters: Any) -> None:
    with pytest.raises(UsageError) as error:
        read(parameters, engine={"kind": "vllm", "args": {"seed": 3}})
    assert [p.where for p in error.value.problems] == [f"s.yaml {where}"]


def test_tuned_portable_settings_exclude_combinations() -> None:
    with pytest.raises(UsageError) as error:
        read([{"a": 1}], parallelism={"tp": [1, 2]})
    assert "parallelism.tp" in error.value.problems[0].why
