"""Servers as child processes, with a scripted server."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import anyio
import psutil
import pytest

from autotuner.deployers import process as process_module
from autotuner.deployers.local import owned_process, procfs
from autotuner.deployers.local import ports as local_ports
from autotuner.deployers.local.ports import Ports
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.deployers.shared import failures
from autotuner.errors import UsageError
from autotuner.plugins import loading
from autotuner.plugins.deployer import Endpoint
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.check import CheckStatus
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels, LaunchPlan
from autotuner.study.spec import PluginSpec
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import LABELS, DeployerConformance, MemoryPorts, Recorder
from autotuner.testing.fake_plans import fake_plan
from autotuner.testing.scripted_case import ScriptedServerCase

pytestmark = pytest.mark.anyio


def free_range(count: int = 40) -> tuple[int, int]:
    """Ports that nobody listens on, below those that the system hands out."""
    taken = procfs.listening_ports("127.0.0.1")
    first = next(p for p in range(20000 + os.getpid() % 5000, 32000) if not taken & set(range(p, p + count)))
    return first, first + count - 1


def alive(pids: list[int]) -> list[int]:
    found = [procfs.stat(pid) for pid in pids]
    return [s.pid for s in found if s and s.alive]


def labeled(study: str) -> list[str]:
    """Every process on this machine with the label of this study, by command line."""
    return [
        " ".join(procfs.cmdline(p.pid))
        for p in procfs.processes()
        if p.pid != os.getpid() and procfs.environ(p.pid).get("AUTOTUNER_STUDY") == study
    ]


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


@pytest.fixture
def deployer() -> ProcessDeployer:
    return ProcessDeployer(ProcessSettings(ports=free_range(1), stop_grace=0.5))


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    yield Recorder(tmp_path / "trial")
    assert labeled(LABELS.study) == []


def test_is_found_as_a_plugin() -> None:
    made = loading.deployer(PluginSpec.model_validate({"kind": "process", "ports": [30000, 30001]}))
    assert isinstance(made, ProcessDeployer)
    with pytest.raises(UsageError, match="must be an IP address"):
        loading.deployer(PluginSpec.model_validate({"kind": "process", "host": "localhost"}))
    with pytest.raises(UsageError, match="ports must be"):
        loading.deployer(PluginSpec.model_validate({"kind": "process", "ports": [2, 1]}))


async def test_relatives_are_removed_too(deployer: ProcessDeployer, recorder: Recorder, tmp_path: Path) -> None:
    """A child in the group and a daemon that left it, both deaf to SIGTERM."""
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


async def test_a_polite_server_is_not_killed(recorder: Recorder, tmp_path: Path) -> None:
    """SIGTERM first: what the server does on it is done, and nobody waits out the grace."""
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


async def test_death_while_loading_is_noticed_before_the_next_look(
    deployer: ProcessDeployer, recorder: Recorder
) -> None:
    """Nothing polls: with a look every 20 seconds the death is still noticed at once."""
    plan = fake_plan(30.0, never_listen=True, exit_after=0.1)
    plan = plan.model_copy(update={"readiness": plan.readiness.model_copy(update={"interval_s": 20.0})})
    with anyio.fail_after(10), pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(plan, recorder.context):
            pytest.fail("must not get ready")
    assert caught.value.failure.cause is FailureCause.CRASH_LOADING
    assert recorder.ends[0][2] is False


async def test_a_stale_log_is_never_read(deployer: ProcessDeployer, recorder: Recorder) -> None:
    recorder.context.folder.mkdir()
    log = recorder.context.folder / "server.log"
    log.write_text("error: of an earlier trial\n" * 100)
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(exit_after=0.1, never_listen=True, say="mine"), recorder.context):
            pytest.fail("must not get ready")
    assert "mine" in caught.value.failure.log_tail
    assert "earlier" not in caught.value.failure.log_tail


async def test_start_timeout_says_what_was_answered(deployer: ProcessDeployer, recorder: Recorder) -> None:
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(1.5, never_ready=True, say="still loading"), recorder.context):
            pytest.fail("must not get ready")
    failure = caught.value.failure
    assert failure.cause is FailureCause.START_TIMEOUT
    assert "HTTP 503" in failure.message
    assert "still loading" in failure.log_tail


async def test_the_environment_is_the_users_with_our_labels(
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
        assert "AUTOTUNER_STORE" not in env, "our own settings are not the server's business"
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
async def test_a_program_that_cannot_run(
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


async def test_a_full_disk_is_the_environments_fault(deployer: ProcessDeployer, recorder: Recorder) -> None:
    recorder.context.folder.mkdir()
    (recorder.context.folder / "server.log").mkdir()
    with pytest.raises(TrialFailedError) as caught:
        async with deployer.deploy(fake_plan(), recorder.context):
            pytest.fail("there is no log")
    assert caught.value.failure.cause is FailureCause.ENVIRONMENT


async def test_an_exception_right_after_the_spawn(
    deployer: ProcessDeployer, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(owned_process.os, "pidfd_open", broken)
    with pytest.raises(MemoryError):
        async with deployer.deploy(fake_plan(daemon=False), recorder.context):
            pytest.fail("there is no watch")


async def test_preflight_names_what_is_missing(tmp_path: Path) -> None:
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


DEAF = """
import signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[-1])), Handler)
signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=close).start())

def close():
    server.shutdown()
    server.server_close()

server.serve_forever(poll_interval=0.01)
threading.Event().wait()
"""


class TestPorts:
    """The server that is measured is the one that was started."""

    @pytest.fixture
    def port(self) -> int:
        return free_range(1)[0]

    @pytest.fixture
    def foreign(self, port: int) -> Iterator[subprocess.Popen[bytes]]:
        """A server of somebody else that answers as ready, and lets others share its port."""
        command = [sys.executable, "-m", "autotuner.testing.fake_server", "--port", str(port), "--reuse-port"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            with anyio.from_thread.start_blocking_portal() as portal:
                portal.call(_until_listening, port)
            yield process
        finally:
            process.kill()
            process.wait()

    async def test_a_taken_port_is_passed_over(
        self, port: int, foreign: subprocess.Popen[bytes], recorder: Recorder
    ) -> None:
        mine = ProcessDeployer(ProcessSettings(ports=(port, port + 1)))
        async with mine.deploy(fake_plan(), recorder.context) as endpoint:
            assert endpoint.url.endswith(f":{port + 1}")
            assert recorder.ports.leased == {port + 1}
        assert recorder.ports.leased == set()

    @pytest.mark.parametrize("share", [True, False])
    async def test_a_foreign_listener_is_never_measured(
        self,
        port: int,
        foreign: subprocess.Popen[bytes],
        recorder: Recorder,
        share: bool,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The port is taken between our look and our server's bind; with SO_REUSEPORT both would listen. Another port
        is taken: the trial is none the worse for it."""
        monkeypatch.setattr(Ports, "_free", lambda *_: True)
        mine = ProcessDeployer(ProcessSettings(ports=(port, port + 1), stop_grace=0.5))
        with anyio.fail_after(60):
            async with mine.deploy(fake_plan(reuse_port=share), recorder.context) as endpoint:
                assert endpoint.url.endswith(f":{port + 1}")
                assert recorder.ports.leased == {port + 1}
        assert recorder.phases == [Phase.LAUNCHING, Phase.LOADING] * 2
        assert foreign.poll() is None, "it is not ours to end"

    async def test_a_port_that_is_lost_again_and_again(
        self, port: int, foreign: subprocess.Popen[bytes], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Ports, "lease", _lease_unseen)
        monkeypatch.setattr(process_module, "TRIES", 2)
        mine = ProcessDeployer(ProcessSettings(ports=(port, port), stop_grace=0.5))
        with pytest.raises(TrialFailedError) as caught:
            async with mine.deploy(fake_plan(), recorder.context):
                pytest.fail("this is not our server")
        assert caught.value.failure.cause is FailureCause.PORT_UNAVAILABLE
        assert recorder.phases == [Phase.LAUNCHING, Phase.LOADING] * 2

    async def test_an_address_of_another_machine_is_not_tried_again(self, recorder: Recorder) -> None:
        mine = ProcessDeployer(ProcessSettings(host="192.0.2.1"))
        with pytest.raises(TrialFailedError) as caught:
            async with mine.deploy(fake_plan(), recorder.context):
                pytest.fail("nobody can listen there")
        assert caught.value.failure.cause is FailureCause.ENVIRONMENT
        assert "192.0.2.1:24000" in caught.value.failure.message
        assert recorder.phases == []

    async def test_a_foreign_listener_that_comes_later(self, port: int, recorder: Recorder) -> None:
        mine = ProcessDeployer(ProcessSettings(ports=(port, port)))
        async with mine.deploy(fake_plan(reuse_port=True), recorder.context) as endpoint:
            await endpoint.identity()
            with socket.socket() as intruder:
                intruder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                intruder.bind(("127.0.0.1", port))
                intruder.listen()
                with pytest.raises(TrialFailedError) as caught:
                    await endpoint.identity()
            assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
            await endpoint.identity()

    async def test_an_answer_is_not_enough(
        self, port: int, foreign: subprocess.Popen[bytes], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Someone answers whose socket we cannot see (another network namespace): it is still not our server."""
        monkeypatch.setattr(Ports, "lease", _lease_unseen)
        monkeypatch.setattr(procfs, "foreign_listener", lambda *_: False)
        mine = ProcessDeployer(ProcessSettings(ports=(port, port), stop_grace=0.5))
        with pytest.raises(TrialFailedError) as caught:
            async with mine.deploy(fake_plan(1.0, never_listen=True), recorder.context):
                pytest.fail("this is not our server")
        assert caught.value.failure.cause is FailureCause.START_TIMEOUT
        assert "HTTP 200" in caught.value.failure.message

    async def test_a_server_that_no_longer_listens(self, port: int, recorder: Recorder) -> None:
        """It lives, and something else may answer in its place at any time."""
        mine = ProcessDeployer(ProcessSettings(ports=(port, port), stop_grace=5))
        async with mine.deploy(
            LaunchPlan(command=(sys.executable, "-c", DEAF), model="m"), recorder.context
        ) as endpoint:
            pid = int((await endpoint.identity()).id)
            os.kill(pid, signal.SIGUSR1)
            with anyio.fail_after(20):
                while port in procfs.listening_ports("127.0.0.1"):  # noqa: ASYNC110 - another process's
                    await anyio.sleep(0.01)
            with pytest.raises(TrialFailedError) as caught:
                await endpoint.identity()
            assert caught.value.failure.cause is FailureCause.IDENTITY_CHANGED
            assert alive([pid]) == [pid]

    async def test_two_deployments_on_one_port(
        self, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The second waits for it, and the wait is not charged to its time."""
        monkeypatch.setattr(local_ports, "_POLL_S", 0.01)
        mine = ProcessDeployer(ProcessSettings(ports=(port, port)))
        ports = MemoryPorts()
        first = Recorder(tmp_path / "1", ports=ports)
        second = Recorder(tmp_path / "2", ports=ports)

        async def wait() -> None:
            async with mine.deploy(fake_plan(), second.context) as endpoint:
                assert endpoint.url.endswith(f":{port}")

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks, mine.deploy(fake_plan(), first.context):
                tasks.start_soon(wait)
                while not second.phases:  # noqa: ASYNC110 - no event tells
                    await anyio.sleep(0.01)
        assert second.phases == [Phase.QUEUED, Phase.LAUNCHING, Phase.LOADING]

    async def test_a_port_that_nobody_gives_back(
        self, port: int, foreign: subprocess.Popen[bytes], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(local_ports, "WAIT_S", 0.0)
        mine = ProcessDeployer(ProcessSettings(ports=(port, port)))
        with pytest.raises(TrialFailedError) as caught:
            async with mine.deploy(fake_plan(), recorder.context):
                pytest.fail("the port is in use")
        assert caught.value.failure.cause is FailureCause.PORT_UNAVAILABLE
        assert recorder.ports.leased == set()

    @pytest.mark.parametrize(
        "said",
        [
            "OSError: [Errno 98] Address already in use",
            "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:5555')",
            "[c10d] The server socket has failed to bind to 0.0.0.0:29500 (errno: 98 - Address already in use).",
            "Error: listen EADDRINUSE: address already in use 127.0.0.1:8000",
        ],
    )
    async def test_the_servers_word_for_it(self, recorder: Recorder, said: str) -> None:
        """It may be a port that the engine opens for itself, on which nothing can be seen here any more."""
        recorder.context.folder.mkdir()
        failure = failures.ended(recorder.context, 1, f"loading\n{said}\nbye", was_ready=False)
        assert failure.cause is FailureCause.PORT_UNAVAILABLE
        assert said[:20] in failure.message
        assert failures.ended(recorder.context, 1, said, was_ready=True).cause is FailureCause.CRASH_UNDER_LOAD

    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
    def test_who_listens(self, port: int, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            assert not procfs.foreign_listener("127.0.0.1", port, set())
            listener.listen()
            assert procfs.foreign_listener("127.0.0.1", port, set())
            assert not procfs.foreign_listener("127.0.0.1", port, {os.getpid()})
            assert procfs.own_listener("127.0.0.1", port, {os.getpid()})
            assert address != "127.0.0.1" or not procfs.foreign_listener("127.0.0.2", port, set())


async def _until_listening(port: int) -> None:
    with anyio.fail_after(20):
        while port not in procfs.listening_ports("127.0.0.1"):  # noqa: ASYNC110 - another process's
            await anyio.sleep(0.01)


async def _lease_unseen(self: Ports, stack: object) -> int:
    """As the lease, without the look at who listens: the look can come too early."""
    return self._range[0]


class TestReap:
    """What a dead run left behind."""

    def spawn(self, owner: str, study: str = "reaped", **marks: str) -> int:
        labels = Labels(study=study, trial=1, owner=owner)
        command = [sys.executable, "-m", "autotuner.testing.fake_server", "--never-listen", "--child", "--daemon"]
        process = subprocess.Popen(
            command, env={**os.environ, **labels.env(), **marks}, start_new_session=True, stderr=subprocess.PIPE
        )
        assert process.stderr
        process.stderr.readline()
        process.stderr.close()
        self.started.append(process)
        return process.pid

    def bystander(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])

    @pytest.fixture(autouse=True)
    def _ended(self) -> Iterator[None]:
        self.started: list[subprocess.Popen[bytes]] = []
        yield
        for process in self.started:
            for pid in [p.pid for p in procfs.processes() if procfs.environ(p.pid).get("AUTOTUNER_STUDY") == "reaped"]:
                os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait()

    async def test_only_dead_owners_lose_theirs(self, deployer: ProcessDeployer) -> None:
        dead = self.spawn("dead")
        living = self.spawn("living")
        bystander = self.bystander()
        try:
            lines = await deployer.reap(lambda owner: owner == "dead")
            assert lines
            assert all("owner dead" in line and "study reaped trial 1" in line for line in lines)
            assert any(f"process {dead} " in line for line in lines)
            assert alive([dead, living, bystander.pid]) == [living, bystander.pid]
            owners = {procfs.environ(p.pid).get("AUTOTUNER_OWNER") for p in procfs.processes()}
            assert "dead" not in owners, "the daemon too"
            assert await deployer.reap(lambda owner: owner == "dead") == []
        finally:
            bystander.kill()
            bystander.wait()

    async def test_owners_of_a_lost_store_are_judged_by_their_process(self, deployer: ProcessDeployer) -> None:
        here = ProcessIdentity.of_this_process()
        living = self.spawn("unknown-1", AUTOTUNER_RUNNER=here.text)
        dead = self.spawn("unknown-2", AUTOTUNER_RUNNER=here._replace(ticks=here.ticks - 1).text)
        elsewhere = self.spawn("unknown-3", AUTOTUNER_RUNNER=here._replace(boot="another-kernel").text)
        assert await deployer.reap(lambda _: False, study="another") == []
        lines = await deployer.reap(lambda _: False)
        assert {line.partition("(owner ")[2].partition(")")[0] for line in lines} == {"unknown-2"}
        assert alive([living, dead, elsewhere]) == [living, elsewhere]

    async def test_only_of_the_study(self, deployer: ProcessDeployer) -> None:
        mine = self.spawn("dead")
        assert await deployer.reap(lambda owner: owner == "dead", study="another") == []
        assert alive([mine]) == [mine]
        assert await deployer.reap(lambda owner: owner == "dead", study="reaped")
        assert alive([mine]) == []

    async def test_never_itself(self, deployer: ProcessDeployer) -> None:
        """A run that was started by a run carries a dead owner's label in its own environment."""
        code = (
            "import anyio, os\n"
            "from autotuner.deployers.process import ProcessDeployer, ProcessSettings\n"
            "print(anyio.run(ProcessDeployer(ProcessSettings()).reap, lambda owner: owner == 'dead'))\n"
        )
        env = {**os.environ, **Labels(study="reaped", trial=1, owner="dead").env()}
        done = await anyio.run_process([sys.executable, "-c", code], env=env, start_new_session=True)
        assert done.stdout.strip() == b"[]"


def test_family_is_complete() -> None:
    # The tests' own process has children that come and go, so a small family is made.
    words = ["sh", "-c", "sleep 60 & setsid sleep 60 & echo; wait"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, start_new_session=True) as head:
        try:
            assert head.stdout is not None
            head.stdout.readline()
            children = {child.pid for child in psutil.Process(head.pid).children(recursive=True)}
            assert len(children) == 2
            assert procfs.family(head.pid) == {head.pid, *children}
            assert {head.pid, *children} < procfs.family(os.getpid())
        finally:
            for pid in procfs.family(head.pid):
                os.kill(pid, signal.SIGKILL)
