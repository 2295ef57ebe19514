"""The load generator's process: every line, its end, and no way to outlive us."""

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


async def lines_of(**order: Any) -> list[bytes]:
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
    lines = await lines_of(lines=20_000, size=10)
    assert [int(line.rstrip(b"x")) for line in lines] == list(range(20_000))


async def test_lines_have_no_limit() -> None:
    lines = await lines_of(lines=3, size=3_000_000)
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
    assert await lines_of(echo=text) == lines


async def test_a_spec_larger_than_a_pipe_arrives() -> None:
    assert await lines_of(echo="x" * 5_000_000) == [b"x" * 5_000_000]


async def test_a_slow_reader_holds_the_worker(tmp_path: Path) -> None:
    """Back-pressure: lines that nobody takes are not piled up here; the worker waits, and does not get to its end."""
    file = anyio.Path(tmp_path / "pids")
    order = {"lines": 1000, "size": 100_000, "pids": str(file)}
    async with LocalRunner().run(WORKER, json.dumps(order).encode(), labels=LABELS) as lines:
        assert (await anext(lines)).startswith(b"0 ")
        (pid,) = await pids_in(file)
        await anyio.sleep(0.3)
        assert alive([pid]) == [pid]
        assert len([line async for line in lines]) == 999


async def test_another_exit_code_is_a_failure_with_evidence() -> None:
    taken = []

    async def take() -> None:
        order = json.dumps({"lines": 2, "exit_code": 5, "say": "out of luck"}).encode()
        async with LocalRunner().run(WORKER, order, labels=LABELS) as lines:
            async for line in lines:
                taken.append(line)  # noqa: PERF401 - what came before the failure counts

    with pytest.raises(TrialFailedError) as caught:
        await take()
    assert len(taken) == 2
    failure = caught.value.failure
    assert failure.cause is FailureCause.BENCHMARK_FAILED
    assert failure.exit_code == 5
    assert "out of luck" in failure.message
    assert failure.log_tail == "out of luck"


async def test_a_missing_module_is_a_failure() -> None:
    async with LocalRunner().run("no_such_module", b"", labels=LABELS) as lines:
        with pytest.raises(TrialFailedError, match="no_such_module"):
            await anext(lines)


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


async def test_it_carries_the_labels_and_no_spec_on_its_command_line(tmp_path: Path) -> None:
    file = anyio.Path(tmp_path / "pids")
    order = json.dumps({"lines": 1, "wait": 600, "pids": str(file), "key": "s3cret"}).encode()
    async with LocalRunner().run(WORKER, order, labels=LABELS) as lines:
        await anext(lines)
        (pid,) = await pids_in(file)
        assert procfs.carries(pid, LABELS.env())
        assert b"s3cret" not in await anyio.Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"s3cret" not in await anyio.Path(f"/proc/{pid}/environ").read_bytes()


async def test_ending_one_worker_spares_the_others_of_the_trial(tmp_path: Path) -> None:
    """The server of the trial carries the same labels."""
    files = [anyio.Path(tmp_path / name) for name in ("1", "2")]
    orders = [json.dumps({"lines": 1, "wait": 600, "pids": str(file)}).encode() for file in files]
    async with LocalRunner().run(WORKER, orders[0], labels=LABELS) as first:
        await anext(first)
        async with LocalRunner().run(WORKER, orders[1], labels=LABELS) as second:
            await anext(second)
        assert alive(await pids_in(files[0])) == await pids_in(files[0])
        assert alive(await pids_in(files[1])) == []


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
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
