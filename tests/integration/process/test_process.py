"""Servers as child processes, with a scripted server."""

import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from autotuner.deployers.local import owned_process, procfs
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.plugins.deployer import Endpoint
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.spec import PluginSpec
from autotuner.testing.deployer_kit import LABELS, DeployerConformance, Recorder
from autotuner.testing.fake_plans import fake_plan
from autotuner.testing.scripted_case import ScriptedServerCase
from support.processes import alive, deployer, free_range, labeled, recorder

__all__ = ["deployer", "recorder"]

pytestmark = pytest.mark.anyio


class ProcessCase(ScriptedServerCase):
    leases: ClassVar[int] = 1

    def __init__(self, pids: Path) -> None:
        self.deployer = ProcessDeployer(ProcessSettings(ports=free_range(), stop_grace=0.5))
        self._pids = str(pids)

    def good(self) -> LaunchPlan:
        return fake_plan(parallel=3, note='two words {"a": "b c"}', child=True, daemon=True, pids=self._pids)

    def dies_loading(self) -> LaunchPlan:
        return fake_plan(never_ready=True, exit_after=0.1, exit_code=3, say="broken", child=True, daemon=True)

    def never_ready(self) -> LaunchPlan:
        return fake_plan(0.5, never_ready=True, ignore_sigterm=True, child=True, daemon=True)

    async def kill(self, endpoint: Endpoint) -> None:
        os.kill(int((await endpoint.identity()).id), signal.SIGKILL)

    async def answers(self, url: str) -> bool:
        host, _, port = url.removeprefix("http://").rpartition(":")
        try:
            await (await anyio.connect_tcp(host, int(port))).aclose()
        except OSError:
            return False
        return True

    def left(self) -> list[str]:
        return labeled(LABELS.study)


class TestProcess(DeployerConformance):
    @pytest.fixture
    def case(self, tmp_path: Path) -> ProcessCase:
        return ProcessCase(tmp_path / "pids.json")


def test_is_found_as_a_plugin() -> None:
    made = loading.deployer(PluginSpec.model_validate({"kind": "process", "ports": [30000, 30001]}))
    assert isinstance(made, ProcessDeployer)


@pytest.mark.parametrize(
    ("settings", "where", "fact"),
    [({"host": "localhost"}, "deploy.host", "IP address"), ({"ports": [2, 1]}, "deploy", "ports")],
)
def test_invalid_settings_are_refused(settings: dict[str, object], where: str, fact: str) -> None:
    with pytest.raises(UsageError) as caught:
        loading.deployer(PluginSpec.model_validate({"kind": "process", **settings}))
    (problem,) = caught.value.problems
    assert problem.where == where
    assert fact in problem.why


async def test_children_and_daemons_are_removed_too(
    deployer: ProcessDeployer, recorder: Recorder, tmp_path: Path
) -> None:
    """A child in the process group and a daemon that left it, both ignoring SIGTERM."""
    file = tmp_path / "pids.json"
    async with deployer.deploy(fake_plan(child=True, daemon=True, pids=str(file)), recorder.context) as endpoint:
        server, child, daemon = json.loads(file.read_text())
        assert alive([server, child, daemon]) == [server, child, daemon]
        assert os.getpgid(child) == server
        assert os.getpgid(daemon) == daemon
        assert {server, child} <= endpoint.pids()
    assert alive([server, child, daemon]) == []


async def test_a_daemon_whose_server_died_is_removed(
    deployer: ProcessDeployer, recorder: Recorder, tmp_path: Path
) -> None:
    file = tmp_path / "pids.json"
    async with deployer.deploy(fake_plan(child=True, daemon=True, pids=str(file)), recorder.context) as endpoint:
        pids = json.loads(file.read_text())
        os.kill(pids[0], signal.SIGKILL)
        failure = await endpoint.died()
        assert failure.exit_code == -signal.SIGKILL
        assert alive(pids) == pids[1:]
    assert alive(pids) == []


async def test_a_server_that_stops_on_sigterm_is_not_killed(recorder: Recorder, tmp_path: Path) -> None:
    """SIGTERM comes first: the server's handler completes, and stopping does not take the whole grace period."""
    proof = tmp_path / "proof"
    code = (
        "import signal, sys, threading, http.server as h\n"
        f"def bye(*_): open({str(proof)!r}, 'w').write('stopped'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, bye)\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()\n"
        "    def log_message(self, *a): pass\n"
        "h.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[-1])), H).serve_forever()\n"
    )
    polite = ProcessDeployer(ProcessSettings(ports=free_range(1), stop_grace=25))
    with anyio.fail_after(20):
        async with polite.deploy(LaunchPlan(command=(sys.executable, "-c", code), model="m"), recorder.context):
            pass
    assert proof.read_text() == "stopped"


async def test_an_exit_while_loading_is_noticed_before_the_next_probe(
    deployer: ProcessDeployer, recorder: Recorder
) -> None:
    """The exit is not polled for: with a probe every 20 seconds, it is still noticed at once."""
    plan = fake_plan(30.0, never_listen=True, exit_after=0.1)
    plan = plan.model_copy(update={"readiness": plan.readiness.model_copy(update={"interval_s": 20.0})})
    with anyio.fail_after(10), pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    assert caught.value.failure.cause is FailureCause.CRASH_LOADING
    assert recorder.ends[0][2] is False


async def test_the_log_of_an_earlier_trial_is_ignored(deployer: ProcessDeployer, recorder: Recorder) -> None:
    recorder.context.folder.mkdir()
    log = recorder.context.folder / "server.log"
    log.write_text("error: of an earlier trial\n" * 100)
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(exit_after=0.1, never_listen=True, say="mine"), recorder.context):
            pytest.fail("must not get ready")
    assert "mine" in caught.value.failure.log_tail
    assert "earlier" not in caught.value.failure.log_tail


async def test_a_start_timeout_reports_the_last_response(deployer: ProcessDeployer, recorder: Recorder) -> None:
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(1.5, never_ready=True, say="still loading"), recorder.context):
            pytest.fail("must not get ready")
    failure = caught.value.failure
    assert failure.cause is FailureCause.START_TIMEOUT
    assert "HTTP 503" in failure.message
    assert "still loading" in failure.log_tail


async def test_the_server_inherits_the_environment_and_gets_labels(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET", "s3cret")
    monkeypatch.setenv("AUTOTUNER_OWNER", "an outer run")
    monkeypatch.setenv("AUTOTUNER_PROCESS", "of an outer run")
    monkeypatch.setenv("AUTOTUNER_STORE", "postgresql://user:password@host/db")
    mine = ProcessDeployer(ProcessSettings(ports=free_range(1), cpus=(0,)))
    plan = fake_plan().model_copy(update={"env": {"EXTRA": "with space"}})
    async with mine.deploy(plan, recorder.context) as endpoint:
        pid = int((await endpoint.identity()).id)
        env = procfs.environ(pid)
        assert env["SOME_SECRET"] == "s3cret"
        assert env["EXTRA"] == "with space"
        assert env["AUTOTUNER_OWNER"] == recorder.context.labels.owner
        assert env["AUTOTUNER_TRIAL"] == "7"
        assert "AUTOTUNER_STORE" not in env, "settings of the tuner are not passed on"
        assert env["AUTOTUNER_PROCESS"] != "of an outer run"
        assert not any("s3cret" in argument for argument in endpoint.argv)
        assert os.sched_getaffinity(pid) == {0}
        assert os.getsid(pid) == pid
    assert os.sched_getaffinity(0) != {0} or os.cpu_count() == 1


@pytest.mark.parametrize(
    ("command", "cause"),
    [
        ("/no/such/program", FailureCause.NO_BINARY),
        ("not-executable", FailureCause.NO_BINARY),
        ("not-a-program", FailureCause.NO_BINARY),
    ],
)
async def test_a_program_that_cannot_be_executed(
    deployer: ProcessDeployer, recorder: Recorder, tmp_path: Path, command: str, cause: FailureCause
) -> None:
    (tmp_path / "not-executable").write_text("#!/bin/sh\n")
    (tmp_path / "not-a-program").write_bytes(b"\x7fgarbage")
    (tmp_path / "not-a-program").chmod(0o755)
    plan = LaunchPlan(command=(str(tmp_path / command),), model="m")
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, recorder.context):
            pytest.fail("cannot start")
    assert caught.value.failure.cause is cause
    assert caught.value.failure.remedy
    checks = await deployer.preflight([plan])
    if command != "not-a-program":
        assert [c.name for c in checks if c.status is CheckStatus.FAIL] == ["program"]


async def test_an_unwritable_log_is_blamed_on_the_environment(deployer: ProcessDeployer, recorder: Recorder) -> None:
    recorder.context.folder.mkdir()
    (recorder.context.folder / "server.log").mkdir()
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("there is no log")
    assert caught.value.failure.cause is FailureCause.ENVIRONMENT


async def test_an_exception_right_after_the_spawn_leaves_nothing(
    deployer: ProcessDeployer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(owned_process.os, "pidfd_open", broken)
    with pytest.raises(MemoryError):
        async with deployer.deploy(fake_plan(daemon=False), recorder.context):
            pytest.fail("there is no watch")


async def test_preflight_reports_everything_that_is_missing(tmp_path: Path) -> None:
    plan = fake_plan().model_copy(
        update={"needs_modules": ("no_such_module",), "needs_files": (str(tmp_path / "no.gguf"),)}
    )
    first, last = free_range(1)
    mine = ProcessDeployer(ProcessSettings(ports=(first, last), cpus=(0, 9999)))
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", first))
        listener.listen()
        failed = [c for c in await mine.preflight([plan, plan]) if c.status is CheckStatus.FAIL]
    assert [c.name for c in failed] == ["module", "model", "cpus", "ports"]
    assert all(c.remedy for c in failed)
