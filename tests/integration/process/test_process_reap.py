"""Removal of servers that a dead run left behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import anyio
import psutil
import pytest

from autotuner.deployers.local import procfs
from autotuner.deployers.process import ProcessDeployer
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.launch import Labels, LaunchedObject
from support.processes import alive, deployer

__all__ = ["deployer"]

pytestmark = pytest.mark.anyio


class TestReap:
    """Servers that a dead run left behind."""

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

    async def test_only_processes_of_dead_owners_are_ended(self, deployer: ProcessDeployer) -> None:
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

    async def test_owners_missing_in_the_store_are_judged_by_their_process(self, deployer: ProcessDeployer) -> None:
        here = ProcessIdentity.of_this_process()
        living = self.spawn("unknown-1", AUTOTUNER_RUNNER=here.text)
        dead = self.spawn("unknown-2", AUTOTUNER_RUNNER=here._replace(ticks=here.ticks - 1).text)
        elsewhere = self.spawn("unknown-3", AUTOTUNER_RUNNER=here._replace(boot="another-kernel").text)
        assert await deployer.reap(lambda _: False, study="another") == []
        lines = await deployer.reap(lambda _: False)
        assert {line.partition("(owner ")[2].partition(")")[0] for line in lines} == {"unknown-2"}
        assert alive([living, dead, elsewhere]) == [living, elsewhere]

    async def test_what_runs_launched_is_listed_once(self, deployer: ProcessDeployer) -> None:
        here = ProcessIdentity.of_this_process()
        living = self.spawn("living", AUTOTUNER_RUNNER=here.text)
        dead = self.spawn("dead", AUTOTUNER_RUNNER=here._replace(ticks=here.ticks - 1).text)
        found: dict[str, LaunchedObject] = {}
        with anyio.fail_after(60):
            while len(found) < 4:  # each has a daemon, which starts a little later
                found = {one.name: one for one in await deployer.launched_objects() if one.study == "reaped"}
        leaders = [found.pop(str(living)), found.pop(str(dead))]
        assert [(one.kind, one.trial, one.owner, one.runner_ended) for one in leaders] == [
            ("process", 1, "living", False),
            ("process", 1, "dead", True),
        ]
        sessions = {(stat := procfs.stat(int(pid))) and stat.session for pid in found}
        assert sessions == {int(pid) for pid in found}, "the daemons, which have sessions of their own, but no children"
        assert alive([living, dead]) == [living, dead]

    async def test_a_study_limits_what_is_ended(self, deployer: ProcessDeployer) -> None:
        mine = self.spawn("dead")
        assert await deployer.reap(lambda owner: owner == "dead", study="another") == []
        assert alive([mine]) == [mine]
        assert await deployer.reap(lambda owner: owner == "dead", study="reaped")
        assert alive([mine]) == []

    async def test_a_run_never_ends_itself(self, deployer: ProcessDeployer) -> None:
        """A run that was started by another run may carry a dead owner's label in its environment."""
        code = (
            "import anyio, os\n"
            "from autotuner.deployers.process import ProcessDeployer, ProcessSettings\n"
            "print(anyio.run(ProcessDeployer(ProcessSettings()).reap, lambda owner: owner == 'dead'))\n"
        )
        env = {**os.environ, **Labels(study="reaped", trial=1, owner="dead").env()}
        done = await anyio.run_process([sys.executable, "-c", code], env=env, start_new_session=True)
        assert done.stdout.strip() == b"[]"


def test_family_is_complete() -> None:
    # The test process has children that come and go, so the test makes a small family.
    command = ["sh", "-c", "sleep 60 & setsid sleep 60 & echo; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as head:
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
