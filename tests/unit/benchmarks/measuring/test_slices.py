"""Results of each kind of request in a mix."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.records import Records
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.text.forms import parse_scenario
from support.request_records import MS, S, failed, records, row

MIX = parse_scenario("mix:0.7 D(16,5) + 0.3 D(64,5)")


def mixed(rows: list[dict[str, object]]) -> Records:
    found = records(rows)
    return replace(found, where={**found.where, "scenario": MIX.text})


def request(number: int, part: int, ttft_ms: int, *, ok: bool = True) -> dict[str, object]:
    sent = S + number * 100 * MS
    made = row if ok else failed
    times = {"sent_ns": sent, "end_ns": sent + (ttft_ms + 40) * MS, "part": part}
    return made(**times, **({"first_ns": sent + ttft_ms * MS} if ok else {}))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 500), st.booleans()), min_size=1, max_size=40))
def test_slices_add_up_to_the_window(kinds: list[tuple[int, int, bool]]) -> None:
    seen = summarize(mixed([request(n, part, ttft, ok=ok) for n, (part, ttft, ok) in enumerate(kinds)]))
    assert [part.label for part in seen.slices] == ["0.7 D(16,5)", "0.3 D(64,5)"]
    assert sum(part.requests for part in seen.slices) == seen.requests
    assert sum(part.failed for part in seen.slices) == seen.failed
    for index, part in enumerate(seen.slices):
        own = [ttft / 1000 for kind, ttft, ok in kinds if kind == index and ok]
        found = part.distributions.get("ttft")
        assert (found.count if found else 0) == len(own)
        if found:
            assert found.mean == pytest.approx(sum(own) / len(own))


def test_other_scenarios_have_none() -> None:
    assert summarize(records([row()])).slices == ()


def test_a_part_without_requests_is_not_left_out() -> None:
    (first, second) = summarize(mixed([request(0, 0, 50)])).slices
    assert (first.requests, second.requests, dict(second.distributions)) == (1, 0, {})
