"""Text forms as inverses of the models' texts, and rendered studies that read back as the same spec."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.study.base import number_text
from autotuner.study.metric import METRICS, STATISTICS, Direction, Unit
from autotuner.study.objective import SLO, Comparison, Objective
from autotuner.study.parameters.parameter import Choices, FloatRange, IntRange, Parameter
from autotuner.study.spec import ConfirmSpec, EngineSpec, Model, PluginSpec, SearchSpec, StudySpec
from autotuner.study.text.forms import parse_duration, parse_level, parse_objective, parse_scenario, parse_slo
from autotuner.study.text.traces import trace_text
from autotuner.study.workload import (
    Api,
    Arrivals,
    Concurrency,
    RequestRate,
    Scenario,
    TracePart,
    TraceSpeed,
    Workload,
)
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

positive = st.floats(1e-6, 1e6)
sizes = st.integers(1, 10_000)
scenarios = st.one_of(
    st.tuples(sizes, sizes).map(lambda n: f"D({n[0]},{n[1]})"),
    st.tuples(sizes, sizes, sizes, sizes).map(lambda n: f"N({n[0]},{n[1]})/({n[2]},{n[3]})"),
    st.tuples(sizes, sizes, sizes, sizes).map(lambda n: f"U({n[0]},{n[0] + n[1]})/({n[2]},{n[2] + n[3]})"),
)
rates = st.builds(
    RequestRate, rate=positive, arrivals=st.sampled_from([Arrivals.CONSTANT, Arrivals.POISSON])
) | st.builds(RequestRate, rate=positive, arrivals=st.just(Arrivals.GAMMA), burstiness=positive)
levels = st.builds(Concurrency, in_flight=st.integers(1, 100_000)) | rates


@given(levels)
def test_levels(level: Concurrency | RequestRate) -> None:
    assert parse_level(level.text) == level


@given(scenarios)
def test_scenarios(text: str) -> None:
    found = parse_scenario(text)
    assert found.text == text
    assert parse_scenario(f" {text} ".replace(",", " , ").replace("/", " / ").lower()) == found


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2), ("1.5 s", 1.5), ("5m", 300), ("1h", 3600), ("20us", 2e-5), ("12.3ms", 0.0123), (3, 3),
     ("7", 7), (0.25, 0.25), ("2min", 120)],
)  # fmt: skip
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5x", "-1s", "s", "1 2s", True, None, [1], "1e999s5", "nan", "inf"])
def test_bad_durations(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(positive)
def test_number_texts_read_back(number: float) -> None:
    assert float(number_text(number)) == number
    assert parse_duration(f"{number_text(number, thousandfold=True)}ms") == number


NEEDS = {"document_throughput", "ttft_first_turn", "ttft_later_turns"}
"""Metrics that only some scenarios have."""


@st.composite
def bounds(draw: st.DrawFn) -> tuple[str, str | None]:
    metric = METRICS[draw(st.sampled_from(sorted(METRICS.keys() - NEEDS)))]
    return metric.name, draw(st.sampled_from(STATISTICS)) if metric.distribution else None


@st.composite
def objectives(draw: st.DrawFn, at: list[str | None], of: list[str | None]) -> Objective:
    metric, statistic = draw(bounds())
    return Objective(
        metric=metric,
        statistic=statistic,
        direction=Direction(METRICS[metric].better),
        at=draw(st.sampled_from(at)),
        scenario=draw(st.sampled_from(of)),
    )


@st.composite
def slos(draw: st.DrawFn, at: list[str | None], of: list[str | None]) -> SLO:
    metric, statistic = draw(bounds())
    highest = 1.0 if METRICS[metric].unit is Unit.RATIO else 1e6
    return SLO(
        metric=metric,
        statistic=statistic,
        comparison=Comparison.LE if METRICS[metric].better is Direction.MIN else Comparison.GE,
        threshold=draw(st.floats(1e-6, highest)),
        at=draw(st.sampled_from(at)),
        scenario=draw(st.sampled_from(of)),
    )


PLACES: tuple[list[str | None], list[str | None]] = (
    [None, "concurrency=8", "rate=0.5/s gamma burstiness=2"],
    [None, "D(1,2)"],
)


@given(objectives(*PLACES))
def test_objectives(objective: Objective) -> None:
    assert parse_objective(objective.text) == objective


@given(slos(*PLACES))
def test_slos(slo: SLO) -> None:
    assert parse_slo(slo.text) == slo


TRICKY = [
    "on",
    "1_0",
    "08",
    "0x1",
    "1e3",
    "null",
    "~",
    "- a",
    "a: b",
    "#x",
    "a b",
    '{"a": [1]}',
    "\u2028",
    "\U0001f600",
]
values = st.one_of(
    st.booleans(),
    st.none(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(TRICKY),
)
choices = st.lists(values, min_size=1, max_size=4, unique_by=lambda v: (type(v), v)).map(
    lambda v: Choices(values=tuple(v))
)
whole = st.tuples(st.integers(1, 99), st.integers(1, 99)).flatmap(
    lambda n: (
        st.just(IntRange(low=n[0], high=n[0] + n[1], log=True))
        | st.integers(1, n[1]).map(lambda step: IntRange(low=n[0], high=n[0] + n[1], step=step))
    )
)
real = st.tuples(positive, positive).map(lambda n: FloatRange(low=n[0], high=n[0] + n[1])) | st.builds(
    FloatRange, low=st.just(0.5), high=st.just(1.0), step=st.sampled_from([0.1, 0.25, 0.5])
)
names = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,5}){0,2}", fullmatch=True)
settings = st.dictionaries(names.map(lambda n: f"x-{n}"), values, max_size=2)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=10)


confirms = st.one_of(
    st.builds(ConfirmSpec, repeats=st.integers(0, 9), challengers=st.integers(1, 9)),
    st.builds(
        ConfirmSpec,
        at_most=st.integers(2, 99),
        margin=st.none() | st.floats(0.005, 0.5),
        confidence=st.floats(0.8, 0.999),
        challengers=st.integers(1, 9),
    ),
)


@st.composite
def specs(draw: st.DrawFn) -> StudySpec:
    used = draw(st.lists(names, max_size=4, unique=True))
    kinds = [parse_scenario(t) for t in draw(st.lists(scenarios, min_size=1, max_size=3, unique=True))]
    closed = draw(st.lists(st.integers(1, 99), max_size=2, unique=True))
    open_loop = draw(st.lists(rates, min_size=0 if closed else 1, max_size=2, unique_by=lambda r: r.text))
    load = [*(Concurrency(in_flight=n) for n in closed), *open_loop]
    places: tuple[list[str | None], list[str | None]] = (
        [None, *(x.text for x in load)],
        [None, *(k.text for k in kinds)],
    )
    hard = draw(st.booleans())
    weight = draw(st.floats(0, 5))
    return StudySpec(
        name=draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)),
        model=Model(path=draw(texts), name=draw(st.none() | texts)),
        engine=EngineSpec(
            kind=draw(texts),
            args=draw(st.dictionaries(names.map(lambda n: f"fixed-{n}"), values, max_size=2)),
            env=draw(st.dictionaries(st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True), texts, max_size=2)),
            **draw(settings),
        ),
        deploy=PluginSpec(kind=draw(texts), **draw(settings)),
        parameters=tuple(Parameter(name=f"p-{n}", domain=draw(choices | whole | real)) for n in used),
        constraints=tuple(f"p-{n} != 'x' or p-{n} == null" for n in used[:2]),
        workload=Workload(
            api=draw(st.sampled_from([Api.CHAT, Api.COMPLETIONS])),
            scenarios=tuple(kinds),
            levels=tuple(load),
            warmup_s=draw(positive),
            duration_s=draw(positive),
            requests=draw(st.none() | sizes),
            ignore_eos=draw(st.booleans()),
            extra_body=draw(st.dictionaries(texts, values, max_size=2)),
            tokenizer=draw(st.none() | texts),
        ),
        objectives=tuple(draw(st.lists(objectives(*places), min_size=1, max_size=2))),
        slos=tuple(
            s.model_copy(update={"hard": hard, "weight": weight}) for s in draw(st.lists(slos(*places), max_size=2))
        ),
        min_success_rate=draw(st.floats(0, 1)),
        search=SearchSpec(kind=draw(texts), trials=draw(sizes), time_s=draw(st.none() | positive), **draw(settings)),
        confirm=draw(confirms),
    )


@given(specs())
def test_a_rendered_study_reads_back(spec: StudySpec) -> None:
    rendered = render_study(spec)
    loaded: Any = parse_study(rendered, source="x.yaml", folder=Path("/nowhere")).spec
    assert loaded.model_dump() == spec.model_dump()
    assert loaded.digest == spec.digest


def test_dataset_keeps_its_file_through_rendering() -> None:
    found = parse_scenario("dataset: a b.jsonl ")
    assert found == Scenario(text="dataset:a b.jsonl", dataset="a b.jsonl")


@pytest.mark.parametrize(
    ("text", "canonical", "part"),
    [
        ("trace:a.jsonl", "trace:a.jsonl", TracePart(file="a.jsonl")),
        (
            "trace: a b.csv  from=10m to=1h sample=12.5%",
            "trace:a b.csv from=600s to=3600s sample=12.5%",
            TracePart(file="a b.csv", begin_s=600, end_s=3600, sample=0.125),
        ),
        ("trace:x=y z=1 to=500ms", "trace:x=y z=1 to=0.5s", TracePart(file="x=y z=1", end_s=0.5)),
        ("trace:a sample=1", "trace:a", TracePart(file="a")),
    ],
)
def test_trace_text(text: str, canonical: str, part: TracePart) -> None:
    found = parse_scenario(text)
    assert (found.text, found.trace) == (canonical, part)
    assert parse_scenario(found.text) == found


@given(
    st.from_regex(r"[a-z./_-]{1,12}( [a-z.]{1,5})?", fullmatch=True),
    st.integers(0, 10**6),
    st.none() | st.integers(1, 10**6),
    st.integers(1, 1000),
)
def test_trace_text_round_trip(file: str, begin: int, length: int | None, permille: int) -> None:
    end = None if length is None else begin + length
    part = TracePart(file=file, begin_s=begin, end_s=end, sample=permille / 1000)
    assert parse_scenario(trace_text(part)).trace == part


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("trace:", "no file"),
        ("trace:a from=10m to=10m", "empty"),
        ("trace:a from=soon", "duration"),
        ("trace:a sample=0", "above 0"),
        ("trace:a sample=110%", "above 1"),
        ("trace:a from=1s from=2s", "twice"),
    ],
)
def test_bad_trace_is_refused(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse_scenario(text)


def test_speed_is_a_load_level() -> None:
    assert parse_level(" speed = 2.50 ") == TraceSpeed(speed=2.5)
    assert parse_level(TraceSpeed(speed=0.1).text) == TraceSpeed(speed=0.1)
    for bad in ("speed=0", "speed=1e9", "speed=fast"):
        with pytest.raises(ValueError, match=r"speed|level"):
            parse_level(bad)


@pytest.mark.parametrize(
    ("api", "text", "stream"),
    [("embeddings", "E(9) documents=2", True), ("rerank", "R(9,3)", True), ("chat", "D(9,9)", False)],
)
def test_workload_of_another_endpoint_reads_back(api: str, text: str, stream: bool) -> None:
    workload = {"api": api, "scenarios": text, "concurrency": 2, "stream": stream}
    content = {"name": "s", "model": "m", "engine": "vllm", "workload": workload, "objective": "min p50 e2e_latency"}
    spec = parse_study(content, source="x.yaml", folder=Path("/nowhere")).spec
    assert (spec.workload.scenarios, spec.workload.streams) == ((parse_scenario(text),), api == "chat" and stream)
    assert parse_study(render_study(spec), source="x.yaml", folder=Path("/nowhere")).spec == spec
