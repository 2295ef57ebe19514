"""SLOs on a part of a load: their text, and which parts a window has."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.capacity.bounds import bounds_of
from autotuner.errors import UsageError
from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.forms import parse_level, parse_scenario, parse_slo
from autotuner.study.text.slices import slice_names
from autotuner.study_file.goal_forms import SloForm, long_slo
from autotuner.study_file.loader import parse_study
from autotuner.study_file.writer import render_study

_NAMES = st.one_of(
    st.sampled_from(["first turns", "later turns", "chat", "long-documents"]),
    st.tuples(st.sampled_from(["part", "stage"]), st.integers(1, 9999)).map(lambda pair: f"{pair[0]} {pair[1]}"),
)


@given(
    _NAMES,
    st.sampled_from(["p99 ttft", "tpot", "mean e2e_latency"]),
    st.sampled_from(["", " at users=4 for D(8,4) turns=2"]),
)
def test_round_trip(name: str, figure: str, place: str) -> None:
    text = f"{figure} of {name} <= 500ms{place}"
    found = parse_slo(text)
    assert (found.of, found.text) == (name, text)
    assert SloForm.model_validate(long_slo(text)).parsed() == found


def test_of_rates_and_shares() -> None:
    assert parse_slo("output_throughput  of  part  2 >= 40").of == "part 2"
    assert parse_slo("success_rate of stage 1>=99%").of == "stage 1"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("p99 ttft of my chat <= 1s", '"my chat"'),
        ("p99 ttft of stage <= 1s", '"stage"'),
        ("p99 ttft of part 0 <= 1s", '"part 0"'),
        ("p99 ttft of part <= 1s", "stage 2"),
        ("p99 ttft of <= 1s", "SLO"),
        ("energy_per_token of part 1 <= 2J", "energy_per_token"),
        ("capacity of part 1 >= 2", "capacity"),
        ("p99 ttft_later_turns of later turns <= 1s", "ttft_later_turns"),
    ],
)
def test_bad_parts_are_refused(text: str, named: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        parse_slo(text)
    said = f"{error.value.why}; {error.value.remedy}"
    assert named in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("scenario", "level", "names"),
    [
        ("D(8,4)", "concurrency=1", ()),
        ("mix:D(8,4) + D(9,4)", "concurrency=1", ("part 1", "part 2")),
        ("mix:D(8,4) name=chat + D(9,4)", "concurrency=1", ("chat", "part 2")),
        ("mix:D(8,4) + D(9,4)", "stages=1/s:9s,2/s:9s", ("part 1", "part 2", "stage 1", "stage 2")),
        ("dataset:d turns=all", "users=2", ("first turns", "later turns")),
    ],
)
def test_parts_of_a_window(scenario: str, level: str, names: tuple[str, ...]) -> None:
    assert slice_names(parse_scenario(scenario), parse_level(level)) == names


def test_a_capacity_search_refuses_them() -> None:
    with pytest.raises(UsageError) as error:
        bounds_of([parse_slo("p99 ttft of part 1 <= 1s")], 0.99)
    (problem,) = error.value.problems
    assert problem.value == "p99 ttft of part 1 <= 1000ms"
    assert "all requests" in problem.why


def test_the_long_form_names_a_bad_part() -> None:
    form: dict[str, Any] = {"metric": "ttft", "statistic": "p99", "at_most": "1s", "of": "my chat"}
    with pytest.raises(ValueError, match="my chat"):
        SloForm.model_validate(form)


def test_a_rendered_study_reads_back() -> None:
    study = {
        "name": "s",
        "model": "m",
        "engine": "llama_cpp",
        "workload": {"scenarios": "mix:D(8,4) + D(9,4)", "concurrency": 1},
        "objective": "max output_throughput",
        "slo": [
            "p99 ttft of part 2 <= 1s",
            {"metric": "output_throughput", "at_least": 9, "of": "part 1", "hard": False},
        ],
    }
    spec = parse_study(study, source="s.yaml", folder=Path()).spec
    assert [slo.of for slo in spec.slos] == ["part 2", "part 1"]
    assert parse_study(render_study(spec), source="s.yaml", folder=Path()).spec == spec
