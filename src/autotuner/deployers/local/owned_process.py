"""A child process with everything it starts: watched without polling, and removed as a whole, also when this process
is killed.

Between this process and the child stands a supervisor (:mod:`autotuner.deployers.local.child_supervisor`). It adopts
whatever the child leaves behind, and ends it all when it is told to or when this process has ended. The child leads its
own session and carries the trial's labels in its environment.
"""

import logging
import marshal
import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

import anyio

from autotuner.deployers.local import oom, procfs
from autotuner.deployers.local.bare_python import bare_python
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.launch import Labels

if TYPE_CHECKING:
    from autotuner.deployers.local.child_supervisor import Order

_LABEL_PREFIX = "AUTOTUNER_"
_MARK = "AUTOTUNER_PROCESS"
"""Tells one child's family from others with the same labels: a trial has a server and load generators."""
RUNNER = "AUTOTUNER_RUNNER"
"""Names the runner's process, so that a run that knows nothing of it can see whether it still lives."""
_KILL_TIMEOUT_S = 10.0
"""How long to wait for killed processes; only one stuck in the kernel takes longer."""
_ORPHAN_GRACE_S = 5.0

Stream = int | IO[bytes]


logger = logging.getLogger(__name__)


class LogNotWrittenError(OSError):
    """The child's log cannot be made, or not be written any more."""


class OwnedProcess:
    """One started child. Made by :func:`spawn`; whoever makes it must call :meth:`stop` on every path."""

    def __init__(self, supervisor: subprocess.Popen[bytes], orders: int, answers: int, mark: Mapping[str, str]) -> None:
        self._supervisor = supervisor
        self._orders = orders
        self._answers = answers
        self._mark = mark
        self._said = b""
        self._code: int | None = None
        self._told_all = False
        self._stopped = False
        self._log_error: LogNotWrittenError | None = None
        self.oom_kills = oom.oom_kills()
        """The kernel's counter before the start; more of them at the end explain it."""
        self.pid = 0
        self.started = 0.0
        """Seconds since boot."""
        self.environment: Mapping[str, str] = {}
        """As it was started; read at once, since a server may write a title over it."""
        self._pidfd = os.pidfd_open(supervisor.pid)
        os.set_blocking(answers, False)

    async def begun(self) -> None:
        """Returns when the child runs its program; raises the OSError that kept it from it."""
        while not self.pid:
            for word, number in self._heard():
                if word == "started":
                    self.pid = number
                    found = procfs.stat(self.pid)
                    self.started = found.started if found else 0.0
                    self.environment = procfs.environ(self.pid)
                elif word == "unwritable":
                    raise LogNotWrittenError(number, os.strerror(number))
                else:
                    raise OSError(number, os.strerror(number))
            if not self.pid:
                if self._told_all:
                    raise OSError("its supervisor ended")
                await anyio.wait_readable(self._answers)

    def exit_code(self) -> int | None:
        """The exit code once the child has ended, negative for a signal; None while it runs."""
        for word, number in self._heard():
            if word == "exited":
                self._code = number
                logger.info(
                    "process %d ended: %s", self.pid, f"signal {-number}" if number < 0 else f"exit code {number}"
                )
            else:
                self._log_error = LogNotWrittenError(number, os.strerror(number))
        if self._code is None and self._told_all:
            self._code = -signal.SIGKILL  # it ends with its supervisor
        return self._code

    async def exited(self) -> int:
        """Waits for the child's end and returns its exit code. Any number of tasks may wait. Raises
        :class:`LogNotWrittenError` where the rest of its log is lost."""
        if (code := self.exit_code()) is not None:
            return code
        handle = os.dup(self._answers)
        try:
            while (code := self.exit_code()) is None:
                if self._log_error is not None:
                    raise self._log_error
                await anyio.wait_readable(handle)
        finally:
            os.close(handle)
        return code

    def family(self) -> set[int]:
        """Process ids of the child and of everything below it or left behind by it, as far as they run."""
        return procfs.family(self._supervisor.pid) - {self._supervisor.pid}

    async def stop(self, grace_s: float) -> None:
        """Ends child, group and descendants, also those that left the group: SIGTERM, then SIGKILL after ``grace_s``
        seconds. Returns when all are gone; to be called shielded from cancellation. May be called again."""
        if self._stopped:
            return
        self._stopped = True
        logger.debug("process %d: stopping it, %.1f s between SIGTERM and SIGKILL", self.pid, grace_s)
        try:
            with suppress(BrokenPipeError):
                os.write(self._orders, b"stop %f\n" % grace_s)
            with anyio.move_on_after(grace_s + 2 * _KILL_TIMEOUT_S):
                await anyio.wait_readable(self._pidfd)
        finally:
            self._end_supervisor()
        if self._supervisor.returncode != 0:
            await self._sweep()

    def _end_supervisor(self) -> None:
        """Its descendants have ended, unless it was killed itself, or one of them cannot be killed."""
        self._supervisor.kill()
        self._supervisor.wait(timeout=_KILL_TIMEOUT_S)
        self.exit_code()
        self._told_all = True
        for fd in (self._orders, self._answers, self._pidfd):
            os.close(fd)
        self._answers = -1

    async def _sweep(self) -> None:
        """Without its supervisor the child is killed by the kernel; what it started is found by its mark."""
        with anyio.move_on_after(_KILL_TIMEOUT_S):
            while remaining := [p for p in procfs.processes() if procfs.carries(p.pid, self._mark)]:
                for target in remaining:
                    procfs.send(target, signal.SIGKILL)
                await anyio.sleep(0.005)

    def _heard(self) -> list[tuple[str, int]]:
        """The supervisor's answers since the last call."""
        while self._answers >= 0 and not self._told_all:
            try:
                data = os.read(self._answers, 4096)
            except BlockingIOError:
                break
            self._said += data
            self._told_all = not data
        *lines, self._said = self._said.split(b"\n")
        return [(word.decode(), int(number)) for word, _, number in (line.partition(b" ") for line in lines)]


async def spawn(
    argv: Sequence[str],
    *,
    labels: Labels,
    env: Mapping[str, str],
    unset: Sequence[str] = (),
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = subprocess.DEVNULL,
    stderr: Stream = subprocess.DEVNULL,
    log: Path | None = None,
    cwd: Path | None = None,
    cpus: Sequence[int] | None = None,
    orphan_grace_s: float = _ORPHAN_GRACE_S,
) -> OwnedProcess:
    """Starts a child in its own session. ``env`` comes on top of the caller's environment, from which the labels of
    others and the variables ``unset`` are taken out. ``log`` takes stdout and stderr, bounded
    (:mod:`autotuner.deployers.local.bounded_log`). ``orphan_grace_s`` is the time between SIGTERM and SIGKILL when this
    process has ended. Raises OSError as :class:`subprocess.Popen` does, :class:`LogNotWrittenError` for the log;
    nothing is left then."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(_LABEL_PREFIX) and k not in unset}
    mark = {_MARK: uuid4().hex}
    runner = {RUNNER: ProcessIdentity.of_this_process().text}
    order: Order = {
        "runner": os.getpid(),
        "argv": list(argv),
        "env": {**inherited, **env, **labels.env(), **runner, **mark},
        "cwd": str(cwd) if cwd else None,
        "cpus": list(cpus) if cpus is not None else None,
        "log": str(log) if log else None,
        "grace": orphan_grace_s,
    }
    if any("\0" in text for text in (*argv, *order["env"].keys(), *order["env"].values())):
        raise ValueError("an argument or variable has a NUL character in it")
    with anyio.CancelScope(shield=True):
        process = _supervised(marshal.dumps(dict(order)), inherited, mark, (stdin, stdout, stderr))
        try:
            await process.begun()
        except BaseException as error:
            logger.info("process did not start: %s (%s)", shlex.join(argv), error)
            await process.stop(0)
            raise
    logger.info("process %d started, trial %d of %s: %s", process.pid, labels.trial, labels.study, shlex.join(argv))
    return process


def _supervised(
    order: bytes, env: Mapping[str, str], mark: Mapping[str, str], streams: tuple[Stream, Stream, Stream]
) -> OwnedProcess:
    ours = os.pipe()
    theirs = os.pipe()
    (orders, ordering), (answers, answering) = ours, theirs
    try:
        supervisor = subprocess.Popen(
            bare_python("autotuner.deployers.local.child_supervisor", orders, answering),
            env=env,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            start_new_session=True,
            pass_fds=(orders, answering),
        )
    except BaseException:
        os.close(ordering)
        os.close(answers)
        raise
    finally:
        os.close(orders)
        os.close(answering)
    try:
        process = OwnedProcess(supervisor, ordering, answers, mark)
        _write_all(ordering, len(order).to_bytes(8, "big") + order)
    except BaseException:
        supervisor.kill()
        supervisor.wait()
        os.close(ordering)
        os.close(answers)
        raise
    return process


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
