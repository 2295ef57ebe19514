"""Child processes with all their descendants: watched without polling, and ended as a whole, even if this process is
killed.

A supervisor (:mod:`autotuner.deployers.local.child_supervisor`) runs between this process and the child. It adopts the
child's orphans, and ends all of them on request or when this process has ended. The child leads its own session and
carries the trial's labels in its environment.
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
"""Distinguishes children with the same labels: a trial has a server and load generators."""
RUNNER = "AUTOTUNER_RUNNER"
"""Identity of the runner's process, by which an unrelated run can see whether it is still alive."""
_KILL_TIMEOUT_S = 10.0
"""How long to wait for killed processes. Only a process that is stuck in the kernel takes longer."""
_ORPHAN_GRACE_S = 5.0

Stream = int | IO[bytes]


logger = logging.getLogger(__name__)


class LogNotWrittenError(OSError):
    """The child's log cannot be created, or can no longer be written."""


class OwnedProcess:
    """A running child. Created by :func:`spawn`; the caller must call :meth:`stop` on every path."""

    def __init__(self, supervisor: subprocess.Popen[bytes], orders: int, answers: int, mark: Mapping[str, str]) -> None:
        self._supervisor = supervisor
        self._orders = orders
        self._answers = answers
        self._mark = mark
        self._partial = b""
        self._code: int | None = None
        self._answers_ended = False
        self._stopped = False
        self._log_error: LogNotWrittenError | None = None
        self.oom_kills = oom.oom_kills()
        """The kernel's counter at the start. If it is higher at the child's end, memory had run out."""
        self.pid = 0
        self.started = 0.0
        """Seconds since boot."""
        self.environment: Mapping[str, str] = {}
        """The environment at the start. Read at once, since a server may overwrite it with a process title."""
        self._pidfd = os.pidfd_open(supervisor.pid)
        os.set_blocking(answers, False)

    async def begun(self) -> None:
        """Waits until the child runs its program. Raises the ``OSError`` that prevented it."""
        while not self.pid:
            for word, number in self._replies():
                if word == "started":
                    self.pid = number
                    found = procfs.stat(self.pid)
                    self.started = found.started if found else 0.0
                    self.environment = procfs.environ(self.pid)
                elif word == "unwritable":
                    raise LogNotWrittenError(number, os.strerror(number))
                elif word == "failed":
                    raise OSError(number, os.strerror(number))
                else:  # its end, right behind its start
                    self._take(word, number)
            if not self.pid:
                if self._answers_ended:
                    raise OSError("the supervisor process exited")
                await anyio.wait_readable(self._answers)

    def exit_code(self) -> int | None:
        """The exit code once the child has ended, negative for a signal; None while it runs."""
        for word, number in self._replies():
            self._take(word, number)
        if self._code is None and self._answers_ended:
            self._code = -signal.SIGKILL  # the kernel kills it with its supervisor
        return self._code

    def _take(self, word: str, number: int) -> None:
        """Keeps a reply that comes after the start."""
        if word == "exited":
            self._code = number
            logger.info("process %d ended: %s", self.pid, f"signal {-number}" if number < 0 else f"exit code {number}")
        else:
            self._log_error = LogNotWrittenError(number, os.strerror(number))

    async def exited(self) -> int:
        """Waits for the child's end and returns its exit code. Any number of tasks may wait. Raises
        :class:`LogNotWrittenError` if its log can no longer be written."""
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
        """Ids of the running processes among the child, its descendants and their orphans."""
        return procfs.family(self._supervisor.pid) - {self._supervisor.pid}

    async def stop(self, grace_s: float) -> None:
        """Ends the child and all descendants, including those that left its session: SIGTERM, then SIGKILL after
        ``grace_s`` seconds. Returns when all have ended. Must be shielded from cancellation; may be called again."""
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
        """Kills the supervisor. Its descendants have ended by now, unless it was killed before or one cannot be
        killed."""
        self._supervisor.kill()
        self._supervisor.wait(timeout=_KILL_TIMEOUT_S)
        self.exit_code()
        self._answers_ended = True
        for fd in (self._orders, self._answers, self._pidfd):
            os.close(fd)
        self._answers = -1

    async def _sweep(self) -> None:
        """Kills the descendants of a child whose supervisor was killed, found by their mark. The kernel kills the
        child."""
        with anyio.move_on_after(_KILL_TIMEOUT_S):
            while remaining := [p for p in procfs.processes() if procfs.carries(p.pid, self._mark)]:
                for target in remaining:
                    procfs.send(target, signal.SIGKILL)
                await anyio.sleep(0.005)

    def _replies(self) -> list[tuple[str, int]]:
        """The supervisor's replies since the last call."""
        while self._answers >= 0 and not self._answers_ended:
            try:
                data = os.read(self._answers, 4096)
            except BlockingIOError:
                break
            self._partial += data
            self._answers_ended = not data
        *lines, self._partial = self._partial.split(b"\n")
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
    """Starts a child in its own session.

    Args:
        argv: Program and arguments.
        labels: Study, trial and owner, for the environment.
        env: Variables on top of this process's environment, without labels of other trials.
        unset: Variables of this process that the child does not inherit.
        stdin: As for :class:`subprocess.Popen`, like ``stdout`` and ``stderr``.
        stdout: See ``stdin``.
        stderr: See ``stdin``.
        log: File for stdout and stderr, bounded by :mod:`autotuner.deployers.local.bounded_log`.
        cwd: Working folder; None for this process's.
        cpus: CPUs that it may use; None for all.
        orphan_grace_s: Seconds between SIGTERM and SIGKILL once this process has ended.

    Raises:
        OSError: As :class:`subprocess.Popen` does; nothing is left running.
        LogNotWrittenError: If the log cannot be created.
        ValueError: If an argument or a variable contains a NUL character.
    """
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
        raise ValueError("an argument or a variable contains a NUL character")
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
    orders, ordering = os.pipe()
    answers, answering = os.pipe()
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
