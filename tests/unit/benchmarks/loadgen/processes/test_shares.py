"""A load divided among processes is the load of one process."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.processes.several_workers import Plan
from autotuner.benchmarks.loadgen.processes.shares import dealt, divided, workers_for
from autotuner.benchmarks.loadgen.request_factories import calibrated, given_calibrations, request_factory
from autotuner.benchmarks.loadgen.run_window import rows_used
from autotuner.benchmarks.loadgen.spec import (
    AUTO,
    Calibration,
    Documents,
    Lengths,
    Part,
    Prefixes,
    Replay,
    WorkerSpec,
)

LENGTHS = st.builds(Lengths, st.sampled_from(["fixed", "normal"]), st.integers(1, 120), st.integers(1, 30))


def spec_of(**changes: Any) -> WorkerSpec:
    fields = {
        "url": "http://h",
        "model": "m",
        "rate": 5.0,
        "input": Lengths("fixed", 40),
        "output": Lengths("fixed", 4),
    }
    return WorkerSpec(**{**fields, **changes})


def made(spec: WorkerSpec, count: int) -> list[Request]:
    factory = request_factory(spec, given_calibrations(spec), "h")
    return [factory.next() for _ in range(count)]


def merged(spec: WorkerSpec, workers: int, count: int) -> list[tuple[int, bytes, bool]]:
    """Index, bytes and ``reused`` of all processes' requests below ``count``."""
    found = []
    for part in divided(spec, workers):
        found += made(part, len(range(part.share.index, count, workers)))
    return sorted((r.index, r.payload, r.reused) for r in found)


@given(LENGTHS, LENGTHS, st.integers(0, 60), st.integers(1, 5), st.integers(1, 25))
def test_processes_send_the_requests_that_one_would_send(
    lengths: Lengths, output: Lengths, prefix: int, workers: int, count: int
) -> None:
    spec = spec_of(input=lengths, output=output, prefix_tokens=prefix)
    alone = [(r.index, r.payload, r.reused) for r in made(spec, count)]
    assert merged(spec, workers, count) == alone


@given(LENGTHS, st.integers(1, 6), st.integers(1, 5), st.integers(1, 25))
def test_shared_prefixes_are_the_same_for_all_processes(
    lengths: Lengths, prefixes: int, workers: int, count: int
) -> None:
    spec = spec_of(input=lengths, prefixes=Prefixes(prefixes), prefix_tokens=20)
    assert merged(spec, workers, count) == [(r.index, r.payload, r.reused) for r in made(spec, count)]


@given(LENGTHS, LENGTHS, st.integers(1, 5), st.integers(1, 25))
def test_a_mix_is_divided_whichever_kind_a_request_is(one: Lengths, other: Lengths, workers: int, count: int) -> None:
    parts = (
        Part(weight=0.7, model="m", input=one, output=Lengths("uniform", 1, 9)),
        Part(weight=0.3, model="adapter", input=other, output=one, prefix_tokens=20, prefixes=Prefixes(3)),
    )
    spec = spec_of(input=None, output=None, parts=parts)
    calibrations = [Calibration(((1, 2), (100, 200))), Calibration(((1, 3), (100, 300)), prefix_words=5)]
    known = calibrated(spec, calibrations)
    assert given_calibrations(known) == calibrations
    alone = [(r.index, r.payload, r.reused) for r in made(known, count)]
    assert merged(known, workers, count) == alone
    assert [r.part for r in made(divided(known, workers)[-1], 3)] == [
        r.part for r in made(known, 3 * workers)[workers - 1 :: workers]
    ]


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 25))
def test_the_rows_of_a_mix_are_divided(workers: int, rows: int, count: int) -> None:
    prompts = tuple({"prompt": f"question {n}", "max_tokens": 4} for n in range(rows))
    parts = (Part(1, "m", Lengths("fixed", 9), Lengths("fixed", 2)), Part(2, "m", None, None, rows=prompts))
    spec = calibrated(spec_of(input=None, output=None, parts=parts, row_order="o"), [Calibration()] * 2)
    alone = made(spec, count)
    assert merged(spec, workers, count) == [(r.index, r.payload, r.reused) for r in alone]
    taken = [r.row for r in alone if r.part == 1]
    assert taken == list(range(len(taken)))
    assert [r.reused for r in alone if r.part == 1] == [row >= rows for row in taken if row is not None]
    for request in alone[:-1]:
        request.sent_ns = 1
    assert rows_used(spec, alone) == [0, len([r for r in alone[:-1] if r.part == 1])]


@given(st.integers(1, 4), st.integers(1, 90), st.none() | st.integers(1, 9), st.integers(1, 4))
def test_documents_are_divided(documents: int, tokens: int, query: int | None, workers: int) -> None:
    api = "embeddings" if query is None else "rerank"
    spec = spec_of(input=None, output=None, documents=Documents(documents, tokens, query), api=api, stream=False)
    assert merged(spec, workers, 12) == [(r.index, r.payload, r.reused) for r in made(spec, 12)]


@given(st.integers(1, 5), st.integers(5, 20))
def test_the_rows_of_a_dataset_are_divided(workers: int, count: int) -> None:
    rows = tuple({"prompt": f"question {n}", "max_tokens": 4} for n in range(count))
    spec = spec_of(input=None, output=None, rows=rows)
    assert merged(spec, workers, count) == [(r.index, r.payload, r.reused) for r in made(spec, count)]
    for part in divided(spec, workers):
        more = made(part, 2 * count)
        again = [r for r in more if r.index >= count]
        assert all(r.reused for r in again)
        assert {r.payload for r in again} <= {r.payload for r in more if r.index < count}


@given(st.integers(1, 4), st.integers(4, 16), st.booleans())
def test_a_trace_is_divided_with_its_shared_prefixes(workers: int, count: int, token_ids: bool) -> None:
    replay = Replay(
        at_s=tuple(n / 10 for n in range(count)),
        inputs=tuple(20 + n for n in range(count)),
        outputs=(3,) * count,
        blocks=tuple((n % 2, n) for n in range(count)),
        block_tokens=8,
        token_ids=token_ids,
    )
    spec = spec_of(input=None, output=None, replay=replay, api="completions")
    assert merged(spec, workers, count) == [(r.index, r.payload, r.reused) for r in made(spec, count)]


@pytest.mark.parametrize("arrivals", ["constant", "poisson", "gamma"])
def test_the_schedule_is_drawn_once_and_dealt(arrivals: str) -> None:
    spec = spec_of(rate=40.0, arrivals=arrivals, duration_s=2.0, warmup_s=1.0)
    plan = Plan.of(spec)
    parts = [dealt(plan.at_ns, part.share) for part in divided(spec, 3)]
    assert sorted(at for part in parts for at in part) == list(plan.at_ns)
    assert plan.opens_ns == 1_000_000_000
    assert len([at for at in plan.at_ns if 0 <= at - plan.opens_ns < 2e9]) == 80


def test_only_the_parent_samples_the_server() -> None:
    spec = spec_of()
    assert all(part.server_metrics is None and part.workers == 1 for part in divided(spec, 2))
    assert {part.share.of for part in divided(spec, 2)} == {2}


@pytest.mark.parametrize(
    ("load", "cores", "expected"),
    [
        ({"concurrency": 8}, 64, 1),
        ({"concurrency": 256}, 64, 1),
        ({"concurrency": 257}, 64, 2),
        ({"concurrency": 4096}, 64, 16),
        ({"concurrency": 4096}, 2, 2),
        ({"rate": 10.0, "output": Lengths("fixed", 100)}, 64, 1),
        ({"rate": 1000.0, "output": Lengths("fixed", 460)}, 64, 10),
        ({"rate": 1000.0, "output": Lengths("uniform", 1, 919)}, 64, 10),
        ({"rate": 500.0, "stages": ((0.0, 1000.0, 9.0),), "output": Lengths("fixed", 460)}, 64, 10),
    ],
)
def test_auto_starts_as_many_as_the_load_needs_and_the_machine_has_cores(
    load: dict[str, Any], cores: int, expected: int
) -> None:
    spec = spec_of(**{"rate": None, "workers": AUTO, **load})
    assert workers_for(spec, cores) == expected


def test_no_process_is_without_a_request() -> None:
    assert workers_for(spec_of(workers=8), 2) == 8
    assert workers_for(spec_of(workers=8, rate=None, concurrency=3), 64) == 3
    assert workers_for(spec_of(workers=8, rate=None, users=3), 64) == 3
    assert workers_for(spec_of(workers=AUTO, rate=None, users=600), 64) == 3
    rows = tuple({"prompt": str(n)} for n in range(5))
    assert workers_for(spec_of(workers=8, rows=rows), 64) == 5
    assert workers_for(replace(spec_of(workers=8), rows=rows[:1]), 64) == 1
