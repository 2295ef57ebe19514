"""Results of each kind of request in a mix."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.records import Records
from autotuner.benchmarks.measuring.requirements import required_requests
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.study.text.forms import parse_level, parse_scenario, parse_slo
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

    assert [part.name for part in seen.slices] == ["part 1", "part 2"]
    for metric in ("output_throughput", "request_throughput", "input_throughput"):
        assert sum(part.scalars[metric] for part in seen.slices) == pytest.approx(seen.scalars[metric])


@given(st.lists(st.integers(0, 3_999), min_size=1, max_size=30))
def test_rates_of_stages_count_what_happened_meanwhile(scheduled_ms: list[int]) -> None:
    level = parse_level("stages=1/s:1s,5/s:3s")
    rows = [
        row(scheduled_ns=at * MS, sent_ns=at * MS, first_ns=(at + 50) * MS, end_ns=(at + 90) * MS)
        for at in scheduled_ms
    ]
    found = records(rows)
    info = replace(found.info, window_ns=4 * S)
    seen = summarize(replace(found, info=info, where={**found.where, "level": level.model_dump()}))
    first, second = seen.slices
    for metric in ("output_throughput", "request_throughput"):
        assert first.scalars[metric] + 3 * second.scalars[metric] == pytest.approx(4 * seen.scalars[metric])
    assert first.scalars["request_throughput"] == sum(at + 90 < 1000 for at in scheduled_ms)
    assert first.requests == sum(at < 1000 for at in scheduled_ms)


def test_a_stage_without_requests_has_no_success_rate() -> None:
    level = parse_level("stages=1/s:1s,5/s:3s")
    found = records([row(scheduled_ns=100 * MS, sent_ns=100 * MS, first_ns=150 * MS, end_ns=190 * MS)])
    info = replace(found.info, window_ns=4 * S)
    first, second = summarize(replace(found, info=info, where={**found.where, "level": level.model_dump()})).slices
    assert (first.requests, first.scalars["success_rate"]) == (1, 1.0)
    assert second.requests == 0
    assert "success_rate" not in second.scalars


def test_other_scenarios_have_none() -> None:
    assert summarize(records([row()])).slices == ()


def test_a_part_without_requests_is_not_left_out() -> None:
    (first, second) = summarize(mixed([request(0, 0, 50)])).slices
    assert (first.requests, second.requests, dict(second.distributions)) == (1, 0, {})


def test_a_bound_on_each_request_of_a_part_counts_in_goodput() -> None:
    found = mixed([request(number, number % 2, 50 + 100 * number) for number in range(4)])
    slo = parse_slo("ttft of part 2 <= 200ms")
    seen = summarize(replace(found, where={**found.where, "slos": [slo.model_dump()]}))
    rate = seen.scalars["request_throughput"]
    assert seen.scalars["goodput"] == pytest.approx(rate * 3 / 4), "one of the second part is late"
    first, second = seen.slices
    assert first.scalars["goodput"] == first.scalars["request_throughput"]
    assert second.scalars["goodput"] == pytest.approx(second.scalars["request_throughput"] / 2)


def test_a_percentile_of_a_part_needs_requests_in_proportion_to_its_weight() -> None:
    slos = (parse_slo("p90 ttft of part 2 <= 1s"), parse_slo("p50 ttft <= 1s"))
    whole = required_requests((), (parse_slo("p90 ttft <= 1s"),), MIX.text, "concurrency=1")
    assert required_requests((), slos, MIX.text, "concurrency=1") == math.ceil(whole / 0.3)
