"""A child process with everything it starts: watched without polling, and removed as a whole.

The child leads its own session, and carries the trial's labels in its environment. Its end is noticed through a
pidfd. It is not collected before the whole family is gone, so its process id cannot be reused meanwhile.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

import anyio

from autotuner.deployers import _proc
from autotuner.study.launch import Labels

_LABEL_PREFIX = "AUTOTUNER_"
_MARK = "AUTOTUNER_PROCESS"
"""Tells one child's family from others with the same labels: a trial has a server and load generators."""
_KILL_TIMEOUT_S = 10.0
"""How long to wait for killed processes; only one stuck in the kernel takes longer."""

Stream = int | IO[bytes]


class OwnedProcess:
    """One started child. Made by :func:`spawn`; whoever makes it must call :meth:`stop` on every path."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: Mapping[str, str]) -> None:
        self._popen = popen
        self._mark = mark
        self.pid = popen.pid
        self._pidfd = os.pidfd_open(popen.pid)
        found = _proc.stat(popen.pid)
        self.started = found.started if found else 0.0
        """Seconds since boot."""

    def exit_code(self) -> int | None:
        """The exit code once the child has ended, negative for a signal; None while it runs."""
        if self._popen.returncode is not None:
            return self._popen.returncode
        ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status

    async def exited(self) -> int:
        """Waits for the child's end and returns its exit code. Any number of tasks may wait."""
        handle = os.dup(self._pidfd)
        try:
            while (code := self.exit_code()) is None:
                await anyio.wait_readable(handle)
        finally:
            os.close(handle)
        return code

    def family(self) -> set[int]:
        """Process ids of the child and of everything below it, as far as they run."""
        return _proc.family(self.pid)

    async def stop(self, grace_s: float) -> None:
        """Ends child, group and descendants, also those that left the group: SIGTERM, then SIGKILL after ``grace_s``
        seconds. Returns when all are gone; to be called shielded from cancellation. May be called again."""
        if self._popen.returncode is not None:
            return
        try:
            self._signal(self._remaining(), signal.SIGTERM)
            if not await self._gone(grace_s):
                with anyio.move_on_after(_KILL_TIMEOUT_S):
                    while remaining := self._remaining():
                        self._signal(remaining, signal.SIGKILL)
                        await anyio.sleep(0.005)
        finally:
            if self.exit_code() is None:
                self._popen.kill()
            self._popen.wait(timeout=_KILL_TIMEOUT_S)
            os.close(self._pidfd)

    def _remaining(self) -> list[_proc.Stat]:
        members = _proc.family(self.pid)
        return [p for p in _proc.processes() if p.pid in members or _proc.carries(p.pid, self._mark)]

    def _signal(self, targets: list[_proc.Stat], number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)
        for target in targets:
            if target.group != self.pid:
                _proc.send(target, number)

    async def _gone(self, grace_s: float) -> bool:
        with anyio.move_on_after(grace_s):
            await self.exited()
            while self._remaining():  # noqa: ASYNC110 - not our children: no event tells
                await anyio.sleep(0.01)
            return True
        return False


def spawn(
    argv: Sequence[str],
    *,
    labels: Labels,
    env: Mapping[str, str],
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream,
    stderr: Stream,
    cwd: Path | None = None,
    cpus: Sequence[int] | None = None,
) -> OwnedProcess:
    """Starts a child in its own session. ``env`` comes on top of the caller's environment, from which the labels of
    others are taken out. Raises OSError as :class:`subprocess.Popen` does; nothing is left then."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_LABEL_PREFIX)}
    mark = {_MARK: uuid4().hex}
    before = os.sched_getaffinity(0)
    try:
        if cpus is not None:
            os.sched_setaffinity(0, cpus)
        popen = subprocess.Popen(
            list(argv), env={**inherited, **env, **labels.env(), **mark}, stdin=stdin, stdout=stdout, stderr=stderr,
            cwd=cwd, start_new_session=True, close_fds=True,
        )  # fmt: skip
    finally:
        if cpus is not None:
            os.sched_setaffinity(0, before)
    try:
        return OwnedProcess(popen, mark)
    except BaseException:
        popen.kill()
        popen.wait()
        raise
