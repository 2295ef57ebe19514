"""Where a study measures, as far as a search needs to know it."""

import pytest

from autotuner.study.metric import Direction
from autotuner.study.objective import Objective
from autotuner.study.search.goals import Goals, Place
from autotuner.study.text.forms import parse_level, parse_scenario
from autotuner.study.workload import (
    Api,
    CapacityLoad,
    Concurrency,
    LoadLevel,
    RequestRate,
    Stage,
    Stages,
    TraceSpeed,
    Users,
    Workload,
)

FIXED = parse_scenario("D(128,48)")


@pytest.mark.parametrize(
    ("level", "load"),
    [
        (Concurrency(in_flight=8), 8),
        (RequestRate(rate=2.5), 2.5),
        (Users(count=16), 16),
        (TraceSpeed(speed=0.5), 0.5),
        (Stages(stages=(Stage(begin=2, end=2, span_s=10), Stage(begin=2, end=10, span_s=30))), 5),
        (CapacityLoad(), 1),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_loads_of_one_kind_are_comparable(level: LoadLevel, load: float) -> None:
    place = Place.of(FIXED, level)
    assert (place.scenario, place.level, place.load) == ("D(128,48)", level.text, load)
    assert (place.input_tokens, place.output_tokens) == (128, 48)
    assert place.in_flight == (8 if isinstance(level, Concurrency) else None)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("N(480,240)/(300,150)", (480, 300)),
        ("U(50,100)/(200,250)", (75, 225)),
    ],
)
def test_lengths_are_means(text: str, tokens: tuple[float, float]) -> None:
    place = Place.of(parse_scenario(text), Concurrency(in_flight=4))
    assert (place.input_tokens, place.output_tokens) == tokens
    assert place.in_flight == 4


def test_littles_law_needs_requests_that_are_alike() -> None:
    """A mix has no single length, and without a stream of tokens there is no TPOT."""
    level = Concurrency(in_flight=4)
    mix = Place.of(parse_scenario("mix: 0.7 D(128,48) + 0.3 D(4000,200)"), level)
    assert (mix.in_flight, mix.input_tokens, mix.output_tokens) == (None, None, None)
    embeddings = Place.of(parse_scenario("E(512)"), level, generates=False)
    assert (embeddings.in_flight, embeddings.output_tokens) == (None, None)


def test_a_study_measures_every_scenario_at_every_level() -> None:
    objective = Objective(metric="output_throughput", direction=Direction.MAX)
    workload = Workload(
        scenarios=(FIXED, parse_scenario("D(64,8)")),
        levels=(parse_level("concurrency=2"), parse_level("concurrency=8")),
    )
    goals = Goals.of((objective,), (), workload)
    assert [(p.scenario, p.level, p.in_flight) for p in goals.places] == [
        ("D(128,48)", "concurrency=2", 2),
        ("D(128,48)", "concurrency=8", 8),
        ("D(64,8)", "concurrency=2", 2),
        ("D(64,8)", "concurrency=8", 8),
    ]
    assert not goals.any_level
    for silent in (workload.replaced(stream=False), workload.replaced(api=Api.EMBEDDINGS)):
        assert {p.in_flight for p in Goals.of((objective,), (), silent).places} == {None}
