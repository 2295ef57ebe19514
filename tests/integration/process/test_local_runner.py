"""Runner of the load generator's process on this machine."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from autotuner.deployers.local import procfs
from autotuner.deployers.local.local_runner import LocalRunner
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels

pytestmark = pytest.mark.anyio

LABELS = Labels(study="runner", trial=3, owner="me")
WORKER = "autotuner.testing.fake_worker"


async def worker_lines(**order: Any) -> list[bytes]:
    async with LocalRunner().run(WORKER, json.dumps(order).encode(), labels=LABELS) as lines:
        return [line async for line in lines]


def alive(pids: list[int]) -> list[int]:
    found = [procfs.stat(pid) for pid in pids]
    return [s.pid for s in found if s and s.alive]


async def pids_in(file: anyio.Path) -> list[int]:
    with anyio.fail_after(20):
        while not await file.exists():  # noqa: ASYNC110 - another process writes it
            await anyio.sleep(0.01)
    found: list[int] = json.loads(await file.read_text())
    return found


async def test_all_lines_arrive_in_order() -> None:
    lines = await worker_lines(lines=20_000, size=10)
    assert [int(line.rstrip(b"x")) for line in lines] == list(range(20_000))


async def test_long_lines() -> None:
    lines = await worker_lines(lines=3, size=3_000_000)
    assert [len(line) for line in lines] == [3_000_000] * 3


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("one", [b"one"]),
        ("one\n", [b"one"]),
        ("\n\na\r\n", [b"", b"", b"a\r"]),
        ("ü\nlast without end", ["ü".encode(), b"last without end"]),
    ],
)
async def test_lines_are_split_at_newlines_only(text: str, lines: list[bytes]) -> None:
    assert await worker_lines(echo=text) == lines


async def test_spec_larger_than_a_pipe() -> None:
    assert await worker_lines(echo="x" * 5_000_000) == [b"x" * 5_000_000]


async def test_slow_reader_blocks_the_worker(tmp_path: Path) -> None:
    """Backpressure: unread lines are not buffered here, so the worker cannot finish."""
    file = anyio.Path(tmp_path / "pids")
    order = {"lines": 1000, "size": 100_000, "pids": str(file)}
    async with LocalRunner().run(WORKER, json.dumps(order).encode(), labels=LABELS) as lines:
        assert (await anext(lines)).startswith(b"0 ")
        (pid,) = await pids_in(file)
        await anyio.sleep(0.3)
        assert alive([pid]) == [pid]
        assert len([line async for line in lines]) == 999


async def test_failure_of_another_exit_code() -> None:
    received = []

    async def receive() -> None:
        order = json.dumps({"lines": 2, "exit_code": 5, "say": "cannot connect"}).encode()
        async with LocalRunner().run(WORKER, order, labels=LABELS) as lines:
            async for line in lines:
                received.append(line)  # noqa: PERF401 - lines before the failure count

    with pytest.raises(TrialFailedError) as caught:
        await receive()
    assert len(received) == 2
    failure = caught.value.failure
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert failure.exit_code == 5
    assert "cannot connect" in failure.message
    assert failure.log_tail == "cannot connect"


async def test_missing_module() -> None:
    async with LocalRunner().run("no_such_module", b"", labels=LABELS) as lines:
        with pytest.raises(TrialFailedError) as caught:
            await anext(lines)
    assert caught.value.failure.cause is FailureCause.BENCHMARK_FAILED
    assert "no_such_module" in caught.value.failure.message


@pytest.mark.parametrize("how", ["leave", "raise", "cancel"])
async def test_leaving_ends_the_worker_and_its_children(tmp_path: Path, how: str) -> None:
    file = anyio.Path(tmp_path / "pids")
    order = json.dumps({"lines": 1, "wait": 600, "pids": str(file), "child": True}).encode()

    async def work() -> None:
        async with LocalRunner().run(WORKER, order, labels=LABELS) as lines:
            await anext(lines)
            if how == "cancel":
                group.cancel_scope.cancel()
                await anext(lines)
            if how == "raise":
                raise ZeroDivisionError

    with anyio.fail_after(20):
        if how == "cancel":
            async with anyio.create_task_group() as group:
                group.start_soon(work)
        elif how == "raise":
            with pytest.raises(ZeroDivisionError):
                await work()
        else:
            await work()
    pids = await pids_in(file)
    assert len(pids) == 2
    assert alive(pids) == []


async def test_labels_and_secrecy_of_the_spec(tmp_path: Path) -> None:
    file = anyio.Path(tmp_path / "pids")
    order = json.dumps({"lines": 1, "wait": 600, "pids": str(file), "key": "s3cret"}).encode()
    async with LocalRunner().run(WORKER, order, labels=LABELS) as lines:
        await anext(lines)
        (pid,) = await pids_in(file)
        assert procfs.carries(pid, LABELS.env())
        assert b"s3cret" not in await anyio.Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"s3cret" not in await anyio.Path(f"/proc/{pid}/environ").read_bytes()


async def test_other_workers_of_the_trial_keep_running(tmp_path: Path) -> None:
    """The server of the trial carries the same labels."""
    files = [anyio.Path(tmp_path / name) for name in ("1", "2")]
    orders = [json.dumps({"lines": 1, "wait": 600, "pids": str(file)}).encode() for file in files]
    async with LocalRunner().run(WORKER, orders[0], labels=LABELS) as first:
        await anext(first)
        async with LocalRunner().run(WORKER, orders[1], labels=LABELS) as second:
            await anext(second)
        assert alive(await pids_in(files[0])) == await pids_in(files[0])
        assert alive(await pids_in(files[1])) == []


def test_worker_dies_with_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "pids"
    code = (
        "import anyio, json\n"
        "from autotuner.deployers.local.local_runner import LocalRunner\n"
        "from autotuner.study.launch import Labels\n"
        f"order = json.dumps({{'lines': 1, 'wait': 600, 'pids': {str(file)!r}}}).encode()\n"
        "async def main():\n"
        f"    async with LocalRunner().run({WORKER!r}, order, labels=Labels(study='s', trial=1, owner='o')) as lines:\n"
        "        print((await anext(lines)).decode(), flush=True)\n"
        "        await anyio.sleep(600)\n"
        "anyio.run(main)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        parent.stdout.readline()
        (pid,) = json.loads(file.read_text())
        assert alive([pid]) == [pid]
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while alive([pid]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert alive([pid]) == []
