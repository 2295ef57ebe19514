"""User-visible wordings of the deployers to this machine: failures, checks and refused settings."""

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from syrupy.assertion import SnapshotAssertion

from autotuner.deployers.external import ExternalSettings
from autotuner.deployers.local import gpu_selection, machine
from autotuner.deployers.local.nvml import Seen
from autotuner.deployers.process import ProcessSettings
from autotuner.deployers.shared import failures
from autotuner.study.check import Check
from autotuner.study.failure import Failure, FailureCause
from autotuner.study.launch import Gpu, LaunchPlan
from autotuner.testing.deployer_kit import Recorder

IN_USE = "INFO start\nRuntimeError: Address already in use (port 5555)\n"
EXPLAINED = Failure(cause=FailureCause.CRASH_LOADING, message="exit code 1 while loading")


def ended(folder: Path, log: str = "", **facts: Any) -> Failure:
    context = replace(Recorder(folder).context, explain=lambda *_: EXPLAINED)
    return failures.ended(context, 1, log, **{"was_ready": False, **facts})


FAILURES: dict[str, Callable[[Path], Failure]] = {
    "log not written": lambda _: failures.not_written("the server's log", OSError(errno.EROFS, "Read-only")),
    "log on a full disk": lambda _: failures.not_written("the server's log", OSError(errno.ENOSPC, "No space")),
    "port taken": lambda _: failures.port_taken("127.0.0.1", 24000),
    "not ready": lambda _: failures.not_ready(600, "/health", "HTTP 503", ""),
    "killed while loading": lambda folder: ended(folder, memory_ran_out=True),
    "killed under load": lambda folder: ended(folder, memory_ran_out=True, was_ready=True),
    "another port in use": lambda folder: ended(folder, IN_USE),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name: str, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    failure = FAILURES[name](tmp_path)
    assert [failure.cause.value, failure.message, failure.remedy] == snapshot


@pytest.mark.parametrize("number", [*sorted(failures._MESSAGES), errno.EIO], ids=lambda n: errno.errorcode[n])
def test_programs_that_do_not_start(number: int, snapshot: SnapshotAssertion) -> None:
    failure = failures.not_started("vllm", OSError(number, os.strerror(number)))
    assert [failure.cause.value, failure.message, failure.remedy] == snapshot


GPUS = tuple(Gpu(index=i, uuid=f"GPU-{i}", name="H100", memory_gb=80.0) for i in range(2))


def plan(**changes: Any) -> LaunchPlan:
    return LaunchPlan(command=("no-such-server",), model="m", **changes)


def of_this_machine(folder: Path) -> list[Check]:
    unreadable = folder / "program"
    unreadable.write_text("")
    plans = [plan(needs_modules=("no_such_module",), needs_files=(str(folder / "absent"),))]
    plans += [plan().model_copy(update={"command": (str(unreadable),)})]
    return [check for check in machine.preflight(plans, "127.0.0.1", (24000, 24001), (100_000,)) if check.remedy]


def of_gpus(_: Path) -> list[Check]:
    described = Check.ok("gpus", "2 x H100 (80 GiB), driver 1")
    plans = [plan(gpus=3, env={"CUDA_VISIBLE_DEVICES": "0"})]
    return gpu_selection.checks(described, GPUS, plans)


@pytest.mark.parametrize("checks", [of_this_machine, of_gpus])
def test_checks(checks: Callable[[Path], list[Check]], tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    shown = [f"{check.status}: {check.name}: {check.detail}; {check.remedy}" for check in checks(tmp_path)]
    cpus = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
    assert [line.replace(str(tmp_path), "FOLDER").replace(cpus, "CPUS") for line in shown] == snapshot


@pytest.mark.parametrize(
    "seen",
    [
        Seen(
            gpus=GPUS, left_out=("GPU 2 is split into MIG devices, which cannot be leased",), remedies=("disable MIG",)
        ),
        Seen(why_none="no driver"),
    ],
)
def test_unknown_gpus(seen: Seen, snapshot: SnapshotAssertion) -> None:
    assert [str(problem) for problem in gpu_selection.unknown(seen, [0, 7, "GPU-x"])] == snapshot


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        (ProcessSettings, {"host": "localhost"}),
        (ProcessSettings, {"ports": (5, 4)}),
        (ExternalSettings, {"url": "ftp://x"}),
        (ExternalSettings, {"url": "http://x?api_key=sk-0123456789abcdef0123456789abcdef"}),
        (ExternalSettings, {"url": "http://x", "headers": {"Authorization": "Bearer abc"}}),
        (ExternalSettings, {"url": "http://x", "insecure": True, "ca_file": "/ca.pem"}),
    ],
)
def test_refused_settings(settings: Any, values: dict[str, Any], snapshot: SnapshotAssertion) -> None:
    with pytest.raises(ValidationError) as refused:
        settings(**values)
    assert [[error["loc"], error["msg"]] for error in refused.value.errors()] == snapshot
