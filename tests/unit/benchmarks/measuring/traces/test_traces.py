"""Traces: every format gives the same requests, bad lines are named, and samples keep what prompts share."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotuner.benchmarks.measuring.traces import traces
from autotuner.benchmarks.measuring.traces.trace_part import families, hit_rate, read_part
from autotuner.benchmarks.measuring.traces.traces import read_trace
from autotuner.errors import UsageError
from autotuner.study.workload import TracePart

Request = tuple[float, int, int]


def mooncake(requests: list[Request]) -> str:
    rows = [{"timestamp": round(at * 1000), "input_length": i, "output_length": o} for at, i, o in requests]
    return "\n".join(json.dumps({**row, "hash_ids": []}) for row in rows)


def azure(requests: list[Request], zone: str = "") -> str:
    begin = datetime(2024, 5, 10, 23, 59, 50, tzinfo=UTC)
    times = [(begin + timedelta(seconds=at)).strftime("%Y-%m-%d %H:%M:%S.%f") for at, _, _ in requests]
    lines = [f"{time}0{zone},{i},{o}" for time, (_, i, o) in zip(times, requests, strict=True)]
    return "\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *lines])


def burst_gpt(requests: list[Request]) -> str:
    lines = [f"{at + 5},ChatGPT,{i},{o},{i + o},Conversation log" for at, i, o in requests]
    return "\n".join(["Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type", *lines])


def own(requests: list[Request]) -> str:
    rows = [{"timestamp": at - 100, "input_tokens": i, "output_tokens": o} for at, i, o in requests]
    return "\n\n".join(map(json.dumps, rows))


FORMATS: list[Callable[[list[Request]], str]] = [mooncake, azure, lambda r: azure(r, "+00:00"), burst_gpt, own]


def written(folder: Path, text: str) -> str:
    file = folder / "trace"
    file.write_text(text, newline="")
    return str(file)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 9000), st.integers(1, 900)), min_size=1, max_size=9),
    st.sampled_from(FORMATS),
)
def test_every_format_gives_the_same_requests(
    requests: list[tuple[int, int, int]], form: Callable[[list[Request]], str]
) -> None:
    ordered = sorted(requests, key=lambda request: request[0])
    with TemporaryDirectory() as folder:
        found = read_trace(written(Path(folder), form([(at / 1000, i, o) for at, i, o in ordered])))
    begin = ordered[0][0]
    assert found.at_s == pytest.approx([(at - begin) / 1000 for at, _, _ in ordered], abs=1e-5)
    assert found.inputs.tolist() == [i for _, i, _ in ordered]
    assert found.outputs.tolist() == [o for _, _, o in ordered]


HEAD = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
ROW = '{"timestamp": 0, "input_tokens": 1, "output_tokens": 1}\n'
MOON = '{"timestamp": 0, "input_length": 600, "output_length": 1, "hash_ids": [1, 2]}\n'


@pytest.mark.parametrize(
    ("text", "line", "named"),
    [
        ("", None, "empty"),
        ("hello\n", 1, "not a trace"),
        ("a,b,c\n1,2,3\n", 1, "not a trace"),
        ('{"x": 1}\n', 1, "fields"),
        (f"{ROW}{{bad\n", 2, "not JSON"),
        (f"{ROW}[1]\n", 2, "not a JSON object"),
        (f'{ROW}{{"timestamp": "soon", "input_tokens": 1, "output_tokens": 1}}\n', 2, "timestamp"),
        (f'{ROW}{{"timestamp": 1, "input_tokens": 0, "output_tokens": 1}}\n', 2, "input_tokens"),
        (f'{ROW}\n{{"timestamp": 1, "input_tokens": 1}}\n', 3, "output_tokens"),
        (f'{ROW}{{"timestamp": 1, "input_tokens": 1, "output_tokens": 1, "outputt": 1}}\n', 2, "outputt"),
        (f'{ROW}{{"timestamp": 1, "input_tokens": 1, "output_tokens": 1, "prompt": 3}}\n', 2, "prompt"),
        (f'{ROW}{{"timestamp": 1, "messages": ["x"], "output_tokens": 1}}\n', 2, "messages"),
        (f'{ROW}{{"timestamp": 1, "input_tokens": 9, "output_tokens": 1, "prefix_ids": 7}}\n', 2, "prefix_ids"),
        (f'{ROW}{{"timestamp": -1, "input_tokens": 1, "output_tokens": 1}}\n', 2, "earlier"),
        (f'{ROW}{{"timestamp": 1e300, "input_tokens": 1, "output_tokens": 1}}\n', 2, "more than a year"),
        (f"{MOON}{MOON.replace('600', '10')}", 2, "2 blocks"),
        (f"{MOON}{MOON.replace('600', '1e3')}", 2, "input_length"),
        (MOON.replace('"output_length": 1', '"output_length": 0'), None, "answer"),
        (HEAD, None, "empty"),
        (f"{HEAD}2024-05-10 00:00:00,1,2\n2024-05-10 00:00:99,1,2\n", 3, "not a time"),
        (f"{HEAD}2024-05-10 00:00:00,x,2\n", 2, "tokens"),
        (f"{HEAD}2024-05-10 00:00:00,1\n", 2, "2 columns"),
        (burst_gpt([(0, 1, 1)]) + "\nnan,GPT,1,1,2,log\n", 3, "not a time"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, text: str, line: int | None, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read_trace(path)
    (problem,) = error.value.problems
    assert problem.where == (f"{path}:{line}" if line else f"workload.scenarios trace:{path}")
    assert named in problem.why
    assert "\n" not in str(problem)


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as error:
        read_trace(str(tmp_path / name))
    assert error.value.problems[0].where.startswith("workload.scenarios trace:")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_trace_or_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        for begin in (b"", HEAD.encode(), ROW.encode(), MOON.encode()):
            file = Path(folder) / "trace"
            file.write_bytes(begin + data)
            try:
                found = read_trace(str(file))
            except UsageError as error:
                assert len(error.problems) == 1  # noqa: PT017 - or it is a trace
                continue
            assert len(found) >= 1


def test_failed_requests_are_left_out_and_counted(tmp_path: Path) -> None:
    found = read_trace(written(tmp_path, burst_gpt([(0, 5, 5), (1, 5, 0), (2, 5, 5)])))
    assert (len(found), found.left_out) == (2, 1)


def test_own_fields(tmp_path: Path) -> None:
    rows = [
        {"timestamp": 0, "prompt": "hi", "output_tokens": 3, "session": "a"},
        {"timestamp": 1, "input_tokens": 40, "output_tokens": 3, "prefix_ids": ["x", "y"], "block_tokens": 16},
        {"timestamp": 2, "input_tokens": 40, "output_tokens": 3, "prefix_ids": ["x", "z"], "block_tokens": 16},
        {"timestamp": 3, "messages": [{"role": "user", "content": "u"}], "output_tokens": 1, "session": "a"},
    ]
    found = read_trace(written(tmp_path, "\n".join(map(json.dumps, rows))))
    assert found.block_tokens == 16
    assert found.texts == {0: {"prompt": "hi"}, 3: {"messages": [{"role": "user", "content": "u"}]}}
    assert found.sessions.tolist() == [0, -1, -1, 0]
    assert found.blocks[1][0] == found.blocks[2][0] != found.blocks[2][1]
    assert sorted(map(sorted, families(found, range(4), 8))) == [[0, 3], [1, 2]]


def test_reading_stops_after_the_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_REQUESTS", 20)
    path = written(tmp_path, own([(float(at * 100), 1, 1) for at in range(50)]))
    assert read_part(TracePart(file=path, begin_s=300.0, end_s=900.0)).requests == 6
    with pytest.raises(UsageError, match="more than 20 requests"):
        read_trace(path)


def test_range_is_half_open_and_relative_to_the_first_request(tmp_path: Path) -> None:
    path = written(tmp_path, own([(float(at), 1 + at, 1) for at in range(10)]))
    part = read_part(TracePart(file=path, begin_s=3.0, end_s=6.0))
    assert part.span_s == 3.0
    assert part.trace.inputs[part.inside].tolist() == [4, 5, 6]
    assert part.trace.at_s[part.inside].tolist() == [0.0, 1.0, 2.0]
    assert read_part(TracePart(file=path)).requests == 10
    with pytest.raises(UsageError, match="no request between 20 s and 30 s"):
        read_part(TracePart(file=path, begin_s=20.0, end_s=30.0))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An hour of conversations that grow turn by turn behind a common system prompt, and of single questions about some
    documents of different popularity."""
    rng = Random(4)
    rows = []
    block = 100
    for _ in range(900):
        at = rng.uniform(0, 3600)
        ids = [0]
        if rng.random() < 0.5:
            ids = [1 + int(rng.paretovariate(1.0)) % 40] * 3
        for _ in range(rng.choice([1, 1, 2, 3, 6])):
            new = rng.randint(1, 6)
            ids = [*ids, *range(block, block + new)]
            block += new
            rows.append((at, 512 * len(ids) - rng.randint(0, 500), rng.randint(1, 400), ids))
            at += rng.expovariate(1 / 40)
    rows.sort(key=lambda row: row[0])
    folder = tmp_path_factory.mktemp("trace")
    lines = [{"timestamp": t * 1000, "input_length": i, "output_length": o, "hash_ids": ids} for t, i, o, ids in rows]
    return written(folder, "\n".join(map(json.dumps, lines)))


@pytest.mark.parametrize("share", [0.5, 0.25, 0.1])
def test_sample_keeps_rate_lengths_and_prefix_hits(shared: str, share: float) -> None:
    whole = read_part(TracePart(file=shared))
    part = read_part(TracePart(file=shared, sample=share))
    assert whole.hit_rate > 0.3
    assert part.whole_hit_rate == whole.hit_rate
    assert abs(part.hit_rate - whole.hit_rate) <= 0.02
    assert part.requests == pytest.approx(share * whole.requests, rel=0.05)
    assert part.trace.inputs[part.inside].mean() == pytest.approx(whole.trace.inputs.mean(), rel=0.1)
    quarters = [np.histogram(p.trace.at_s[p.inside], 4, (0, whole.span_s))[0] / p.requests for p in (whole, part)]
    assert quarters[1] == pytest.approx(quarters[0], abs=0.05)


def test_sample_is_always_the_same_and_a_part_of_the_whole(shared: str) -> None:
    def drawn() -> list[tuple[float, int]]:
        part = read_part(TracePart(file=shared, begin_s=600.0, end_s=2400.0, sample=0.2))
        return list(zip(part.trace.at_s.tolist(), part.trace.inputs.tolist(), strict=True))

    first = drawn()
    traces._read.cache_clear()
    assert drawn() == first
    whole = read_part(TracePart(file=shared, begin_s=600.0, end_s=2400.0)).trace
    assert set(first) < set(zip(whole.at_s.tolist(), whole.inputs.tolist(), strict=True))


def test_sampling_requests_one_by_one_would_lose_hits(shared: str) -> None:
    trace = read_part(TracePart(file=shared)).trace
    rng = Random(1)
    single = [index for index in range(len(trace)) if rng.random() < 0.1]
    assert hit_rate(trace, range(len(trace))) - hit_rate(trace, single) > 0.04


def test_empty_sample_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, own([(0.0, 1, 1), (1.0, 1, 1)]))
    with pytest.raises(UsageError, match="empty"):
        read_part(TracePart(file=path, sample=0.1))
