"""SIGKILL is put down to a lack of memory only where the kernel has counted a kill for it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autotuner.deployers.local import oom
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.deployers.shared import failures
from autotuner.plugins.deployer import DeployContext
from autotuner.study.failure import Failure, FailureCause
from autotuner.testing.deployer_kit import Recorder
from autotuner.testing.fake_plans import fake_plan

pytestmark = pytest.mark.anyio
Explained = Callable[[FailureCause], DeployContext]


@pytest.fixture
def explained(tmp_path: Path) -> Explained:
    """A context whose engine names this cause."""

    def make(cause: FailureCause) -> DeployContext:
        context = Recorder(tmp_path).context
        return DeployContext(
            labels=context.labels,
            folder=tmp_path,
            explain=lambda code, tail, _: Failure(cause=cause, message="x", exit_code=code, log_tail=tail),
            on_phase=context.on_phase,
            lease_port=context.lease_port,
        )

    return make


@pytest.mark.parametrize(
    ("named", "with_evidence"),
    [
        (FailureCause.ENVIRONMENT, FailureCause.HOST_OUT_OF_MEMORY),
        (FailureCause.CRASH_UNDER_LOAD, FailureCause.HOST_OUT_OF_MEMORY),
        (FailureCause.GPU_OUT_OF_MEMORY_LOADING, FailureCause.GPU_OUT_OF_MEMORY_LOADING),
        (FailureCause.INVALID_FLAG, FailureCause.INVALID_FLAG),
    ],
)
def test_evidence_decides(explained: Explained, named: FailureCause, with_evidence: FailureCause) -> None:
    context = explained(named)
    plain = failures.ended(context, -9, "tail", was_ready=True)
    proven = failures.ended(context, -9, "tail", was_ready=True, memory_ran_out=True)
    assert (plain.cause, proven.cause) == (named, with_evidence)
    assert (proven.exit_code, proven.log_tail) == (-9, "tail")


@pytest.mark.parametrize(
    ("group", "files", "kills"),
    [
        ("0::/user/run", {"sys/user/run/memory.events": "oom 9\noom_kill 4\noom_group_kill 7\n"}, 4),
        ("0::/host/path", {"sys/memory.events": "oom_kill 5\n"}, 5),
        ("5:cpu:/x\n4:memory:/run", {"sys/memory/run/memory.oom_control": "under_oom 0\noom_kill 6\n"}, 6),
        ("4:memory:/host/path", {"sys/memory/memory.oom_control": "oom_kill 8\n"}, 8),
        ("0::/", {"proc/vmstat": "oom_kill_disable 1\noom_kill 3\n"}, 3),
        ("0::/", {"proc/vmstat": "pgfault 3\n"}, None),
    ],
    ids=["v2", "v2 in a container", "v1", "v1 in a container", "the machine's", "an old kernel"],
)
def test_where_the_kernel_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, files: dict[str, str], kills: int | None
) -> None:
    for name, text in {"proc/self/cgroup": f"{group}\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(oom, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(oom, "_CGROUPS", tmp_path / "sys")
    assert oom.oom_kills() == kills
    assert not oom.ran_out(kills)
    assert oom.ran_out(kills - 1) if kills else not oom.ran_out(0)


RUN = """
import anyio, json, os, sys
from pathlib import Path
group, folder, command, port = json.loads(sys.argv[1])
(Path(group) / "cgroup.procs").write_text(str(os.getpid()))
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.testing.deployer_kit import Recorder

async def main():
    deployer = ProcessDeployer(ProcessSettings(ports=(port, port + 40), stop_grace=0.5))
    try:
        async with deployer.deploy(LaunchPlan(command=tuple(command), model="m"), Recorder(Path(folder)).context):
            pass
    except TrialFailedError as error:
        print(error.failure.model_dump_json())

anyio.run(main)
"""
HOG = "data = [bytearray(1 << 20) for _ in range(4096)]"


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 192 MiB."""
    own = [file.parent for file in oom._control_group() if file.exists()]
    if os.geteuid() or not own:
        pytest.skip("memory control groups can be made by root only")
    group = own[0] / f"autotuner-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = next(f for name in ("memory.limit_in_bytes", "memory.max") if (f := group / name).exists())
        limit.write_text(str(192 << 20))
    except (OSError, StopIteration):
        group.rmdir() if group.is_dir() else None
        pytest.skip("this machine lets nobody limit memory by control groups")
    yield group
    group.rmdir()


def test_a_server_that_the_kernel_kills(small_group: Path, tmp_path: Path) -> None:
    order = json.dumps([str(small_group), str(tmp_path / "trial"), [sys.executable, "-c", HOG], 21000])
    done = subprocess.run([sys.executable, "-c", RUN, order], stdout=subprocess.PIPE, timeout=120, check=True)
    failure = Failure.model_validate_json(done.stdout)
    assert failure.cause is FailureCause.HOST_OUT_OF_MEMORY
    assert failure.exit_code == -signal.SIGKILL


async def test_a_server_that_another_process_kills(tmp_path: Path) -> None:
    """The kernel has counted nothing: the engine's explanation stands."""
    recorder = Recorder(tmp_path / "trial")
    deployer = ProcessDeployer(ProcessSettings(ports=(21100, 21140), stop_grace=0.5))
    async with deployer.deploy(fake_plan(), recorder.context) as endpoint:
        os.kill(int((await endpoint.identity()).id), signal.SIGKILL)
        failure = await endpoint.died()
    assert failure.message == "explained"
    assert failure.exit_code == -signal.SIGKILL
