"""Prometheus' text format, as servers write it and as they must not."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.metrics.prometheus_text import (
    LONGEST_LINE,
    MOST_SERIES,
    Samples,
    read_samples,
    split_series,
)

NAMES = frozenset({"vllm:num_requests_running", "vllm:prefix_cache_hits_total", "llamacpp:requests_deferred"})


def read(text: str) -> Samples:
    return read_samples(text, NAMES)


@pytest.mark.parametrize(
    ("line", "series", "value"),
    [
        ("llamacpp:requests_deferred 3", "llamacpp:requests_deferred", 3.0),
        ('vllm:num_requests_running{engine="0",model_name="m"} 4.0', None, 4.0),
        ('vllm:num_requests_running{ engine = "0" , model_name="m", } 4', None, 4.0),
        ('vllm:num_requests_running{engine="0"}\t1e+02 1700000000000', None, 100.0),
        ('vllm:num_requests_running{model_name="a b, \\"c\\" {d} # 1"} 2', None, 2.0),
        ("vllm:num_requests_running{} 2", "vllm:num_requests_running", 2.0),
        ("llamacpp:requests_deferred 3\r", "llamacpp:requests_deferred", 3.0),
    ],
)
def test_a_sample_is_read(line: str, series: str | None, value: float) -> None:
    seen = read(f"# HELP x y\n# TYPE x gauge\n{line}\n")
    assert list(seen.values.values()) == [value]
    assert series is None or list(seen.values) == [series]
    assert seen.unreadable == 0


@pytest.mark.parametrize(
    "line",
    [
        "llamacpp:requests_deferred",
        "llamacpp:requests_deferred NaN",
        "llamacpp:requests_deferred +Inf",
        "llamacpp:requests_deferred three",
        "llamacpp:requests_deferred 3 4 5",
        'vllm:num_requests_running{engine="0" 4',
        "vllm:num_requests_running{engine=0} 4",
        "llamacpp:requests_deferred 1" + " " * LONGEST_LINE,
    ],
)
def test_what_is_no_sample_with_a_finite_number_is_counted_and_costs_no_other_line(line: str) -> None:
    seen = read(f"{line}\nvllm:prefix_cache_hits_total 7\n")
    assert seen.values == {"vllm:prefix_cache_hits_total": 7.0}
    assert seen.unreadable == 1


def test_names_that_only_begin_like_a_wanted_one_are_others() -> None:
    assert read("vllm:num_requests_running_by_reason 1\nllamacpp:requests_deferred_total 2").values == {}


def test_a_flood_of_series_is_cut() -> None:
    text = "\n".join(f'vllm:num_requests_running{{x="{i}"}} 1' for i in range(MOST_SERIES + 50))
    seen = read(text)
    assert len(seen.values) == MOST_SERIES
    assert seen.cut


@given(st.text(max_size=300) | st.builds(lambda tail: "vllm:num_requests_running" + tail, st.text(max_size=80)))
def test_no_text_breaks_the_parser(text: str) -> None:
    seen = read(text)
    assert all(math.isfinite(value) for value in seen.values.values())


LABEL = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)


@given(st.dictionaries(LABEL, st.text(max_size=12).filter(lambda t: "\n" not in t and "\r" not in t), max_size=4))
def test_labels_survive(labels: dict[str, str]) -> None:
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"') for k, v in labels.items()}
    inside = ",".join(f'{k}="{v}"' for k, v in escaped.items())
    (series,) = read(f"vllm:num_requests_running{{{inside}}} 1").values
    assert split_series(series) == ("vllm:num_requests_running", labels)
