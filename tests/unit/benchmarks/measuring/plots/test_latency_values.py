"""Latencies read as columns: the same as those of the objects that measurements are computed from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.plots.latency_values import read_latencies
from autotuner.benchmarks.measuring.population import (
    FIRST_TOKEN_METRICS,
    NS,
    ONE_PIECE_METRICS,
    WHOLE_ANSWER_METRICS,
    classify,
)
from autotuner.benchmarks.measuring.records import Records, read_records, write_records
from support.request_records import S, arrival, failed, records, row

AT = st.integers(-2 * S, 12 * S)
LONG = st.integers(1, 6 * S)


@st.composite
def rows(draw: st.DrawFn, *, scheduled: bool) -> list[dict[str, Any]]:
    found = []
    for index in range(draw(st.integers(1, 12))):
        at = draw(AT)
        gaps = draw(st.lists(LONG, max_size=3))
        first = draw(st.none() | LONG)
        end = at + (first or 0) + draw(LONG)
        error = draw(st.sampled_from([None, None, None, "timeout", "http_500"]))
        found.append(
            row(
                index=index,
                scheduled_ns=at if scheduled else None,
                sent_ns=at + draw(st.integers(0, S)) if scheduled else at,
                first_ns=None if first is None else at + first,
                end_ns=end,
                gaps_ns=[] if first is None else gaps,
                output_tokens=draw(st.integers(0, 6)),
                complete=error is None and draw(st.booleans()),
                ramp=not scheduled and draw(st.booleans()),
                error=error,
                turn=draw(st.sampled_from([None, 0, 1, 2])),
            )
        )
    return found


@given(
    st.booleans().flatmap(lambda scheduled: st.tuples(rows(scheduled=scheduled), st.just(scheduled))),
    st.sampled_from(["streamed", "whole", "documents"]),
    st.booleans(),
)
def test_they_are_those_of_the_measurement(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[list[dict[str, Any]], bool], answers: str, ends_only: bool
) -> None:
    found, scheduled = made
    asked = {"asked_rate": 2.0} if scheduled else {}
    written = records(found, answers=answers, ends_only=ends_only, **asked)
    path = tmp_path_factory.mktemp("records") / "r.parquet"
    write_records(path, written)
    assert_same(path, read_records(path))


def assert_same(path: Path, of: Records) -> None:
    """Checks the columns of a file against its objects."""
    population = classify(of)
    streamed = of.info.answers == "streamed"
    names = (*FIRST_TOKEN_METRICS, *WHOLE_ANSWER_METRICS) if streamed else ONE_PIECE_METRICS
    expected = {name: population.values(name) for name in names}
    gaps = [r.gaps for r in population.answering() if len(r.gaps)]
    if gaps and streamed and not of.info.ends_only:
        expected["itl"] = np.concatenate(gaps), 0
    found = read_latencies(path)
    assert set(found) == {name for name, (values, censored) in expected.items() if len(values) or censored}
    for metric, (values, censored) in found.items():
        assert np.sort(values) == pytest.approx(np.sort(expected[metric][0]), rel=1e-9, abs=1e-12), metric
        assert censored == expected[metric][1], metric


def test_known_latencies(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    write_records(path, records([row(), failed(), row(output_tokens=1, gaps_ns=[])]))
    found = read_latencies(path)
    assert [list(np.round(found[name][0] / NS)) for name in ("ttft", "tpot", "e2e_latency")] == [
        [50_000_000, 50_000_000],
        [10_000_000],
        [90_000_000, 50_000_000],
    ]


def test_a_hanging_request_of_an_open_loop_is_censored(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    write_records(path, records([arrival(1, 0.1, 0.5), arrival(9, 0.2, 9, ended=False)], asked_rate=2.0))
    found = read_latencies(path)
    assert (found["ttft"][1], found["e2e_latency"][1]) == (0, 1)


@pytest.mark.parametrize("content", [b"", b"PAR1 something else"])
def test_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="does not contain request records"):
        read_latencies(path)
