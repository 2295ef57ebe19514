"""Ports of servers as child processes: the server that is measured is the one that was started."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from autotuner.deployers import process as process_module
from autotuner.deployers.local import ports as local_ports
from autotuner.deployers.local import procfs
from autotuner.deployers.local.ports import Ports
from autotuner.deployers.process import ProcessDeployer, ProcessSettings
from autotuner.deployers.shared import failures
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import LaunchPlan
from autotuner.study.trial import Phase
from autotuner.testing.deployer_kit import MemoryPorts, Recorder
from autotuner.testing.fake_plans import fake_plan
from support.processes import alive, free_range, recorder
from support.second_listener import check_that_a_second_listener_changes_the_identity

__all__ = ["recorder"]

pytestmark = pytest.mark.anyio


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
    """Only the server that was started is ever measured."""

    @pytest.fixture
    def port(self) -> int:
        return free_range(1)[0]

    @pytest.fixture
    def foreign(self, port: int) -> Iterator[subprocess.Popen[bytes]]:
        """A foreign server that is ready and shares its port."""
        command = [sys.executable, "-m", "autotuner.testing.fake_server", "--port", str(port), "--reuse-port"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            with anyio.from_thread.start_blocking_portal() as portal:
                portal.call(_until_listening, port)
            yield process
        finally:
            process.kill()
            process.wait()

    async def test_a_port_in_use_is_skipped(
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
        """The port is taken between our check and our server's bind; with SO_REUSEPORT both would listen. The trial
        goes to another port and does not fail."""
        monkeypatch.setattr(Ports, "_free", lambda *_: True)
        mine = ProcessDeployer(ProcessSettings(ports=(port, port + 1), stop_grace=0.5))
        with anyio.fail_after(60):
            async with mine.deploy(fake_plan(reuse_port=share), recorder.context) as endpoint:
                assert endpoint.url.endswith(f":{port + 1}")
                assert recorder.ports.leased == {port + 1}
        assert recorder.phases == [Phase.LAUNCHING, Phase.LOADING] * 2
        assert foreign.poll() is None, "a foreign process is left running"

    async def test_a_port_that_is_lost_repeatedly(
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

    async def test_an_address_of_another_machine_is_not_retried(self, recorder: Recorder) -> None:
        mine = ProcessDeployer(ProcessSettings(host="192.0.2.1"))
        with pytest.raises(TrialFailedError) as caught:
            async with mine.deploy(fake_plan(), recorder.context):
                pytest.fail("this machine does not have the address")
        assert caught.value.failure.cause is FailureCause.ENVIRONMENT
        assert "192.0.2.1:24000" in caught.value.failure.message
        assert recorder.phases == []

    async def test_a_foreign_listener_that_arrives_later(self, port: int, recorder: Recorder) -> None:
        mine = ProcessDeployer(ProcessSettings(ports=(port, port)))
        async with mine.deploy(fake_plan(reuse_port=True), recorder.context) as endpoint:
            await check_that_a_second_listener_changes_the_identity(endpoint, port)

    async def test_a_response_is_not_enough(
        self, port: int, foreign: subprocess.Popen[bytes], recorder: Recorder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A server responds whose socket is invisible to us (another network namespace): it is still not ours."""
        monkeypatch.setattr(Ports, "lease", _lease_unseen)
        monkeypatch.setattr(procfs, "foreign_listener", lambda *_: False)
        mine = ProcessDeployer(ProcessSettings(ports=(port, port), stop_grace=0.5))
        with pytest.raises(TrialFailedError) as caught:
            async with mine.deploy(fake_plan(1.0, never_listen=True), recorder.context):
                pytest.fail("this is not our server")
        assert caught.value.failure.cause is FailureCause.START_TIMEOUT
        assert "HTTP 200" in caught.value.failure.message

    async def test_a_server_that_no_longer_listens(self, port: int, recorder: Recorder) -> None:
        """It is alive, but another server may respond in its place at any time."""
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
        """The second one waits for the port, in phase QUEUED."""
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

    async def test_a_port_that_is_never_released(
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
        "line",
        [
            "OSError: [Errno 98] Address already in use",
            "zmq.error.ZMQError: Address already in use (addr='tcp://127.0.0.1:5555')",
            "[c10d] The server socket has failed to bind to 0.0.0.0:29500 (errno: 98 - Address already in use).",
            "Error: listen EADDRINUSE: address already in use 127.0.0.1:8000",
        ],
    )
    async def test_an_address_in_use_according_to_the_log(self, recorder: Recorder, line: str) -> None:
        """It may be an internal port of the engine, which the deployer cannot check."""
        recorder.context.folder.mkdir()
        failure = failures.ended(recorder.context, 1, f"loading\n{line}\nbye", was_ready=False)
        assert failure.cause is FailureCause.PORT_UNAVAILABLE
        assert line[:20] in failure.message
        assert failures.ended(recorder.context, 1, line, was_ready=True).cause is FailureCause.CRASH_UNDER_LOAD

    @pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
    def test_foreign_and_own_listeners(self, port: int, address: str) -> None:
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
    """A lease without the check for listeners, as if the check came too early."""
    return self._range[0]
