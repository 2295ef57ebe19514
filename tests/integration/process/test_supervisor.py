"""Supervised child processes: descendants end with the child, and all of them with the runner."""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

import anyio
import pytest

from autotuner.deployers.local import bounded_log, procfs
from autotuner.deployers.local.owned_process import LogNotWrittenError, OwnedProcess, spawn
from autotuner.study.launch import Labels

pytestmark = pytest.mark.anyio
LABELS = Labels(study="supervised", trial=1, owner="me")

HIDDEN = """
import os, signal, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:  # its parent ends, so that only a subreaper can still find it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = f"import os, time; open({sys.argv[1]!r} + '/hidden', 'w').write(str(os.getpid())); time.sleep(600)"
        os.execve(sys.executable, [sys.executable, "-I", "-c", code], {})
    os._exit(0)
os.wait()
open(sys.argv[1] + "/child", "w").write(str(os.getpid()))
time.sleep(600)
"""
"""A server whose helper has its own session and an empty environment, and ignores SIGTERM."""

RUNNER = """
import sys, anyio
from autotuner.deployers.local.owned_process import spawn
from autotuner.study.launch import Labels

async def main():
    argv = [sys.executable, "-c", sys.argv[1], sys.argv[2]]
    await spawn(argv, labels=Labels(study="supervised", trial=1, owner="me"), env={}, orphan_grace_s=0.2)
    await anyio.sleep_forever()

anyio.run(main)
"""


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.005)


def pid_in(file: Path) -> int:
    wait_until(lambda: file.exists() and file.read_text())
    return int(file.read_text())


def running(pids: Collection[int]) -> set[int]:
    return {p.pid for p in procfs.processes()} & set(pids)


def supervisor_of(pid: int) -> int:
    found = procfs.stat(pid)
    assert found is not None
    return found.parent


async def child(code: str, *more: str, log: Path | None = None) -> OwnedProcess:
    return await spawn([sys.executable, "-c", code, *more], labels=LABELS, env={}, log=log)


async def test_detached_descendant_is_found(tmp_path: Path) -> None:
    process = await child(HIDDEN, str(tmp_path))
    pids = {pid_in(tmp_path / "child"), pid_in(tmp_path / "hidden")}
    try:
        assert pids <= process.family()
    finally:
        await process.stop(0.1)
    assert running(pids) == set()
    assert process.exit_code() == -signal.SIGTERM


async def test_detached_descendant_is_found_after_the_server_has_ended(tmp_path: Path) -> None:
    process = await child(HIDDEN, str(tmp_path))
    hidden = pid_in(tmp_path / "hidden")
    os.kill(process.pid, signal.SIGKILL)
    assert await process.exited() == -signal.SIGKILL
    assert running({hidden}) == {hidden}
    await process.stop(0.1)
    assert running({hidden}) == set()


def test_all_processes_end_with_a_killed_runner(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", RUNNER, HIDDEN, str(tmp_path)]) as runner:
        pids = {pid_in(tmp_path / "child"), pid_in(tmp_path / "hidden")}
        pids.add(supervisor_of(pid_in(tmp_path / "child")))
        runner.kill()
    wait_until(lambda: not running(pids))


async def test_child_ends_with_its_supervisor(tmp_path: Path) -> None:
    process = await child(HIDDEN, str(tmp_path))
    pid = pid_in(tmp_path / "child")
    hidden = pid_in(tmp_path / "hidden")
    os.kill(supervisor_of(pid), signal.SIGKILL)
    assert await process.exited() == -signal.SIGKILL
    await process.stop(0.1)
    assert running({pid}) == set()
    os.kill(hidden, signal.SIGKILL)  # without label and supervisor it cannot be found


@pytest.mark.parametrize(("code", "end"), [("exit(7)", 7), ("import os; os.kill(os.getpid(), 11)", -11)])
async def test_all_waiters_get_the_exit_code(code: str, end: int) -> None:
    process = await child(code)
    ends: list[int] = []

    async def wait() -> None:
        ends.append(await process.exited())

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(wait)
    await process.stop(5)
    assert [*ends, process.exit_code()] == [end] * 4


async def test_child_has_default_signals_and_no_inherited_files(tmp_path: Path) -> None:
    """Python ignores two signals, and the supervisor has open pipes; a server must inherit neither."""
    argv = ["sh", "-c", "grep SigIgn /proc/$$/status; ls /proc/$$/fd; echo session $(cut -d' ' -f6 /proc/$$/stat) $$"]
    process = await spawn(argv, labels=LABELS, env={}, log=tmp_path / "log")
    assert await process.exited() == 0
    await process.stop(5)
    fields = (tmp_path / "log").read_text().split()
    # GNU make starts programs with posix_spawn, which leaves one of the C library's own signals ignored.
    plain = await anyio.run_process(["grep", "SigIgn", "/proc/self/status"])
    assert fields[:2] == plain.stdout.decode().split()
    assert fields[2:5] == ["0", "1", "2"]
    assert fields[5] == "session"
    assert fields[6] == fields[7] == str(process.pid)


async def test_log_of_a_flood_keeps_head_and_tail(tmp_path: Path) -> None:
    code = (
        "import os\nos.write(1, b'the first line\\n')\nblock = (b'x' * 1023 + b'\\n') * 1024\n"
        "for _ in range(200): os.write(1, block)\nos.write(2, b'the last line\\n')"
    )
    log = tmp_path / "log"
    process = await child(code, log=log)
    assert await process.exited() == 0
    await process.stop(5)
    text = log.read_bytes()
    assert len(text) <= bounded_log.HEAD_BYTES + 2 * bounded_log.TAIL_BYTES + 1000
    assert text.startswith(b"the first line\nxxx")
    assert text.endswith(b"xxx\nthe last line\n")
    head, _, rest = text.partition(b"\n[autotuner: ")
    dropped, _, tail = rest.partition(b" bytes of this log were dropped here]\n")
    assert len(head) + int(dropped) + len(tail) == 200 * 2**20 + len(b"the first line\nthe last line\n")


async def test_child_with_closed_output_keeps_running() -> None:
    process = await child("import os, time; os.close(1); os.close(2); time.sleep(600)")
    with anyio.move_on_after(0.1) as waiting:
        await process.exited()
    assert waiting.cancelled_caught
    await process.stop(5)
    assert process.exit_code() == -signal.SIGTERM


async def test_log_that_cannot_be_written(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        code = "import time; print('x' * 10_000, flush=True); time.sleep(600)"
        process = await child(code, log=tmp_path / "log")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    with pytest.raises(LogNotWrittenError, match="File too large"):
        await process.exited()
    assert process.exit_code() is None, "the child keeps running"
    await process.stop(5)


@pytest.mark.parametrize("where", ["no/such/folder/log", "there"])
async def test_log_that_cannot_be_created_prevents_the_start(tmp_path: Path, where: str) -> None:
    (tmp_path / "there").touch()
    with pytest.raises(LogNotWrittenError):
        await child(f"open({str(tmp_path / 'started')!r}, 'w')", log=tmp_path / where)
    assert not (tmp_path / "started").exists()
