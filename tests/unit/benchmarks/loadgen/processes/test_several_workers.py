"""A window whose load several processes send: one schedule, one set of records, one end for all."""

import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import orjson
import psutil
import pytest

from autotuner.benchmarks.loadgen.processes.cores import available_cores
from autotuner.benchmarks.loadgen.processes.several_workers import SHARE_WORKER
from autotuner.benchmarks.loadgen.spec import Conversations, Lengths, Pauses, Prefixes, Replay, WorkerSpec
from autotuner.benchmarks.measuring.level_replay import decide
from autotuner.benchmarks.measuring.records import read_records
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.native import WORKER, NativeBenchmark, NativeSettings
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.plugins.benchmark import Progress
from autotuner.study.capacity.level_test import CapacityBound, LevelPlan
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import Labels
from autotuner.study.workload import Concurrency, LoadLevel, RequestRate
from autotuner.testing.benchmark_kit import ChildRunner, UrlEndpoint, fixed_scenario, make_window
from autotuner.testing.mock_openai import Behavior, MockOpenAI, mock_openai

pytestmark = pytest.mark.anyio

LABELS = Labels(study="kit", trial=0, owner="kit")
# A busy machine delays the load generator; that is another test's subject.
PATIENT = NativeSettings(drain=3.0, limits=Limits(lag_s=60.0, rate_share=0.0, cpu_cores=64.0), workers=3)


@pytest.fixture
async def server() -> AsyncIterator[MockOpenAI]:
    async with mock_openai(Behavior(ttft_s=0.01, itl_s=0.001)) as mock:
        yield mock


def spec_for(server: MockOpenAI, **changes: Any) -> WorkerSpec:
    fields = {
        "url": server.url,
        "model": "m",
        "warmup_s": 0.2,
        "duration_s": 0.8,
        "drain_s": 3.0,
        "seed": 7,
        "salt": "s",
        "input": Lengths("normal", 30, 8),
        "output": Lengths("normal", 6, 2),
    }
    return WorkerSpec(**{**fields, **changes})


async def run(spec: WorkerSpec) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The records and the result of a worker."""
    rows = []
    result = {}
    async with LocalRunner().run(WORKER, spec.to_json(), labels=LABELS) as lines:
        async for text in lines:
            line = orjson.loads(text)
            rows += line.get("records", ())
            result = line if line["kind"] in ("result", "error") else result
    return rows, result


def loads(server: MockOpenAI, since: int = 0) -> list[str]:
    """Prompts that the server has received, without those of the calibration."""
    return [t.text for t in server.log[since:] if t.body["max_tokens"] > 1]


def share_workers() -> list[psutil.Process]:
    """The processes below this one that send a share of a load."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if SHARE_WORKER in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def none_of(processes: list[psutil.Process]) -> bool:
    """Whether all of them end."""
    end = time.monotonic() + 20
    while any(map(running, processes)) and time.monotonic() < end:  # noqa: ASYNC110 - nothing tells of foreign processes
        await anyio.sleep(0.02)
    return not any(map(running, processes))


def running(process: psutil.Process) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
async def test_several_processes_send_the_schedule_of_one(server: MockOpenAI, arrivals: str) -> None:
    found = []
    for workers in (1, 3):
        since = len(server.log)
        rows, result = await run(spec_for(server, rate=60.0, arrivals=arrivals, workers=workers))
        assert sum(r["complete"] for r in rows) <= len(loads(server, since)) <= len(rows)
        by_index = {r["index"]: r for r in rows}
        assert len(by_index) == len(rows)
        found.append((by_index, loads(server, since), result["asked_rate"]))
    (alone, texts, rate), (divided, divided_texts, same_rate) = found
    assert rate == same_rate
    same = ("asked_input", "asked_output", "output_tokens", "input_tokens", "reused")
    due = 12 + 48  # of the warm-up and of the shortest window
    for index in range(due):
        row = alone[index]
        other = divided[index]
        assert [row[name] for name in same] == [other[name] for name in same]
        apart = row["scheduled_ns"] - alone[0]["scheduled_ns"]
        assert abs(other["scheduled_ns"] - divided[0]["scheduled_ns"] - apart) <= 2
    assert not Counter(texts[:due]) - Counter(divided_texts)


async def test_users_are_divided_with_their_conversations(server: MockOpenAI) -> None:
    rows = tuple(
        {"turns": [{"messages": [said(f"{n} {turn}")], "max_tokens": 9} for turn in range(3)]} for n in range(400)
    )
    conversations = Conversations(None, Pauses("uniform", 0.0, 0.02))
    found = []
    for workers in (1, 3):
        since = len(server.log)
        spec = spec_for(
            server, users=5, conversations=conversations, rows=rows, input=None, output=None, workers=workers
        )
        records, result = await run(spec)
        assert result["workers"] == min(workers, available_cores())
        assert len({r["index"] for r in records}) == len(records)
        seats = {(r["user"], r["conversation"], r["turn"]) for r in records}
        assert len(seats) == len(records)
        assert {user for user, _, _ in seats} == set(range(5))
        assert all(turn == 0 or (user, number, turn - 1) in seats for user, number, turn in seats)
        assert sum(r["ramp"] for r in records) == 5
        messages = [t.body["messages"] for t in server.log[since:]]
        begun = [m[0]["content"] for m in messages if len(m) == 1]
        assert len(set(begun)) == len(begun) <= result["rows_used"][0], "no row is sent twice"
        for turns in messages:
            assert [m["content"] for m in turns[::2]] == [
                f"{turns[0]['content'].split()[0]} {n}" for n in range(len(turns[::2]))
            ]
        found.append({r["user"]: r["asked_output"] for r in records if r["ramp"]})
    assert found[0] == found[1], "users start alike in however many processes"


def said(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


async def test_the_slots_of_a_closed_loop_are_divided(server: MockOpenAI, tmp_path: Path) -> None:
    scenario = fixed_scenario(16, 20)
    window = make_window(tmp_path, Concurrency(in_flight=5), scenario=scenario, requests=60, duration_s=30.0)
    measured = await NativeBenchmark(PATIENT).measure(UrlEndpoint(server.url), window)
    rows = read_records(tmp_path / "records.parquet")
    texts = loads(server)
    # A connection that is closed at the end may carry a request that the server has not read yet.
    assert sum(rows.columns["complete"]) <= len(texts) <= len(rows)
    assert len(set(texts)) == len(texts), "no prompt is sent twice"
    assert measured.requests >= 60
    assert measured.failed == 0
    assert sum(rows.columns["ramp"]) == 5
    times = sorted([(t.received_ns, 1) for t in server.log] + [(t.sent_ns[-1], -1) for t in server.log if t.sent_ns])
    in_flight = 0
    for _, step in times:
        in_flight += step
        assert in_flight <= 5


async def test_a_trace_is_replayed_at_its_times(server: MockOpenAI) -> None:
    at_s = tuple(-0.2 + n * 0.02 for n in range(60))
    trace = Replay(at_s=at_s, inputs=(20,) * 60, outputs=(4,) * 60)
    spec = spec_for(server, rate=50.0, arrivals="trace", input=None, output=None, replay=trace, workers=2)
    rows, result = await run(replace(spec, max_duration_s=0.8))
    assert result["window_ns"] == 800_000_000
    assert result["scheduled_in_window"] == 40
    times = {r["index"]: r["scheduled_ns"] for r in rows}
    assert all(abs(times[n] - round(at_s[n] * 1e9)) <= 2 for n in range(50))
    assert len(set(loads(server))) == len(loads(server))


async def test_stages_keep_to_their_schedule(server: MockOpenAI) -> None:
    stages = ((20.0, 20.0, 0.4), (20.0, 80.0, 0.4))
    spec = spec_for(server, rate=35.0, stages=stages, workers=2, duration_s=0.8, max_duration_s=0.8)
    rows, result = await run(spec)
    assert (result["window_ns"], result["scheduled_in_window"]) == (800_000_000, 28)
    first = [row for row in rows if 0 <= row["scheduled_ns"] < 400_000_000]
    assert len(first) == 8


@pytest.mark.parametrize("level", [RequestRate(rate=100.0), Concurrency(in_flight=8)], ids=lambda level: level.kind)
async def test_a_level_is_decided_by_the_requests_of_all(server: MockOpenAI, tmp_path: Path, level: LoadLevel) -> None:
    bounds = (
        CapacityBound(slo="p90 ttft <= 1000ms", metric="ttft", limit=1.0, allowed=0.1),
        CapacityBound(slo="success_rate >= 0.9", metric="success_rate", limit=0.0, allowed=0.1),
    )
    test = LevelPlan(bounds=bounds, certify=0.05, refute=0.05, requests=1900)
    window = replace(make_window(tmp_path, level, duration_s=20.0, warmup_s=0.2), test=test)
    measured = await NativeBenchmark(PATIENT).measure(UrlEndpoint(server.url), window)
    assert measured.decision is not None
    assert measured.decision.state == "certified"
    records = read_records(tmp_path / "records.parquet")
    assert decide(records, test, measured.decision.requests) == measured.decision
    found = [count for count in records.columns["in_flight"] if count is not None]
    assert max(found) <= (7 if isinstance(level, Concurrency) else 1900)


async def test_a_slow_server_is_refuted_before_its_answers(tmp_path: Path) -> None:
    strict = CapacityBound(slo="p90 e2e_latency <= 20ms", metric="e2e_latency", limit=0.02, allowed=0.1)
    test = LevelPlan(bounds=(strict,), certify=0.05, refute=0.05, requests=1900)
    async with mock_openai(Behavior(ttft_s=0.2)) as slow:
        window = replace(make_window(tmp_path, RequestRate(rate=100.0), duration_s=20.0, warmup_s=0.2), test=test)
        measured = await NativeBenchmark(PATIENT).measure(UrlEndpoint(slow.url), window)
    assert measured.decision is not None
    assert measured.decision.state in ("refuted", "saturated")
    assert measured.window_s < 15


async def test_one_worker_is_one_process(server: MockOpenAI, tmp_path: Path) -> None:
    seen: list[int] = []

    def count(_: Progress) -> None:
        seen.append(len(share_workers()))

    for workers in ("auto", 1):
        settings = PATIENT.model_copy(update={"workers": workers})
        window = make_window(tmp_path, Concurrency(in_flight=2), on_progress=count)
        await NativeBenchmark(settings).measure(UrlEndpoint(server.url), window)
    assert set(seen) == {0}


async def interrupted(
    server: MockOpenAI, folder: Path, act: Callable[[list[psutil.Process]], None], **endpoint: Any
) -> list[psutil.Process]:
    """Acts on the processes of a window while it is open; returns them."""
    seen: list[psutil.Process] = []

    def on_progress(_: Progress) -> None:
        if not seen:
            seen.extend(share_workers())
            act(seen)

    window = make_window(folder, Concurrency(in_flight=6), duration_s=60.0, on_progress=on_progress)
    try:
        await NativeBenchmark(PATIENT).measure(UrlEndpoint(server.url, **endpoint), window)
    finally:
        assert len(seen) == 3
        assert await none_of(seen)
    return seen


async def test_a_process_that_dies_fails_the_window(server: MockOpenAI, tmp_path: Path) -> None:
    with pytest.raises(TrialFailedError) as caught:
        await interrupted(server, tmp_path, lambda processes: processes[1].kill(), client=LocalRunner())
    message = caught.value.failure.message
    assert "SIGKILL" in message
    assert " of 3 " in message
    assert "\n" not in message
    assert not (tmp_path / "records.parquet").exists()


async def test_no_process_is_left_after_an_interrupt(server: MockOpenAI, tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        await interrupted(server, tmp_path, lambda _: scope.cancel(), client=LocalRunner())
    assert scope.cancelled_caught


async def test_no_process_outlives_a_killed_parent(server: MockOpenAI, tmp_path: Path) -> None:
    def kill_parent(processes: list[psutil.Process]) -> None:
        os.kill(processes[0].ppid(), signal.SIGKILL)

    with pytest.raises(TrialFailedError):
        await interrupted(server, tmp_path, kill_parent, client=ChildRunner())


async def test_calibration_and_shared_prefixes_are_sent_once(server: MockOpenAI) -> None:
    spec = spec_for(server, rate=40.0, prefixes=Prefixes(4), prefix_tokens=30, workers=3)
    rows, result = await run(spec)
    assert result["primed"] == [4]
    assert len(result["calibrations"]) == 1
    first = min(t.received_ns for t in server.log if t.body["max_tokens"] > 1)
    single = [t.received_ns for t in server.log if t.body["max_tokens"] == 1]
    by_one = sum(row["asked_output"] == 1 for row in rows)
    probes = [at for at in single if at < first]
    alone = len(server.log)
    await run(replace(spec, workers=1))
    again = [t for t in server.log[alone:] if t.body["max_tokens"] == 1]
    first = min(t.received_ns for t in server.log[alone:] if t.body["max_tokens"] > 1)
    assert len(probes) == len([t for t in again if t.received_ns < first]), "as many as one process sends"
    assert len(single) <= len(probes) + by_one
