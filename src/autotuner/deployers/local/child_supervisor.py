"""Supervisor process between a runner and its child: whatever happens to the runner, the child and its descendants end.

It leads its own session, so that a signal to the runner's session does not reach it. It is the subreaper of its
descendants (``PR_SET_CHILD_SUBREAPER``): even a process that forked twice, left its session and cleared its environment
stays below it and is found. It notices the runner's end by the runner's pidfd and by the end of the control pipe.

Protocol: the runner sends a length and a marshaled :class:`Order`, later ``stop SECONDS``. The replies are lines:
``started PID``, or ``failed ERRNO`` (the program) or ``unwritable ERRNO`` (the log); later ``log ERRNO`` and ``exited
CODE``, after which the replies are closed. Every server and load generator waits for this process to start, so it
imports only small modules.
"""

from __future__ import annotations

import ctypes
import errno
import marshal
import os
import select
import signal
import time

from autotuner.deployers.local.bounded_log import BoundedLog

TYPE_CHECKING = False  # importing typing takes as long as everything else
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypedDict

    class Order(TypedDict):
        """The child that the runner wants to start."""

        runner: int
        """Pid of the runner."""
        argv: list[str]
        env: dict[str, str]
        cwd: str | None
        cpus: list[int] | None
        log: str | None
        """File for stdout and stderr; None if the child inherits them from this process."""
        grace: float
        """Seconds between SIGTERM and SIGKILL once the runner has ended."""


_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_KILL_S = 10.0
"""How long to keep killing. Only a process that is stuck in the kernel takes that long."""
_LOOK_S = 0.01
_COLLECT_S = 1.0
"""Seconds between two collections of adopted processes that have ended."""
_CHUNK = 1 << 20


def main(order_fd: int, answer_fd: int) -> None:
    """Starts the child of the order, and returns when the child and all descendants have ended."""
    for inherited in (order_fd, answer_fd):
        os.set_inheritable(inherited, False)
    size = int.from_bytes(_read_exactly(order_fd, 8), "big")
    order: Order = marshal.loads(_read_exactly(order_fd, size))  # noqa: S302 - from the runner, through a pipe
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    log = output = None
    what = b"unwritable"
    try:
        if order["log"]:
            log = BoundedLog(order["log"])
            output = _pipe()
        what = b"failed"
        child = _start(order, output[1] if output else None)
    except OSError as error:
        os.write(answer_fd, b"%s %d\n" % (what, error.errno or 0))
        return
    if output:
        os.close(output[1])
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # the child has its own: a reader of its output must see the end of file when it ends
        os.dup2(null, stream)
    os.write(answer_fd, b"started %d\n" % child)
    _Supervisor(order, child, order_fd, answer_fd, log, output[0] if output else None).run()
    os._exit(0)  # faster than an orderly shutdown, and nothing is left to clean up


def _read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            raise SystemExit(1)  # the runner ended before it sent the order
        data += more
    return data


def _pipe() -> tuple[int, int]:
    """A pipe as large as this user may create it, so that a server that writes a lot does not block."""
    import fcntl

    reading, writing = os.pipe()
    try:  # noqa: SIM105 - contextlib is not imported for this
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, _CHUNK)
    except OSError:  # the user's limit for all pipes is reached
        pass
    os.set_blocking(reading, False)
    return reading, writing


def _start(order: Order, output: int | None) -> int:
    """Starts the child and returns its pid once it runs its program. Raises ``OSError`` if it could not."""
    failed, failing = os.pipe()
    supervisor = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _become(order, output, supervisor)
        except OSError as error:
            os.write(failing, str(error.errno or errno.EINVAL).encode())
        except ValueError:  # a NUL in an argument
            os.write(failing, str(errno.EINVAL).encode())
        finally:
            os._exit(127)
    os.close(failing)
    number = os.read(failed, 16)  # empty: exec has closed the pipe
    os.close(failed)
    if number:
        os.waitpid(child, 0)
        raise OSError(int(number), "not started")
    return child


def _become(order: Order, output: int | None, supervisor: int) -> None:
    """Runs in the child: a new session, death with the supervisor, then the program."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(127)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores these two
        signal.signal(number, signal.SIG_DFL)
    if output is not None:
        os.dup2(output, 1)
        os.dup2(output, 2)
    if order["cpus"]:
        os.sched_setaffinity(0, order["cpus"])
    if order["cwd"]:
        os.chdir(order["cwd"])
    os.execvpe(order["argv"][0], order["argv"], order["env"])  # noqa: S606 - no shell is wanted


class _Supervisor:
    def __init__(
        self, order: Order, child: int, orders: int, answers: int, log: BoundedLog | None, output: int | None
    ) -> None:
        self._child = child
        self._orders = orders
        self._answers = answers
        self._grace_s = order["grace"]
        self._log = log
        self._output = output
        self._log_failed = False
        self._stopping = False
        self._killing = False
        self._until = 0.0
        self._poll = select.poll()
        self._runner = _pidfd(order["runner"])
        if self._runner is None or os.getppid() != order["runner"]:
            self._stop(self._grace_s)
        for fd in (orders, output, _pidfd(child), self._runner):
            if fd is not None:
                self._poll.register(fd, select.POLLIN)

    def run(self) -> None:
        """Runs until the child and all descendants have ended, and the runner was informed or has ended."""
        while True:
            self._wait()
            self._collect()
            if not self._stopping:
                continue
            left = list(descendants())
            if not left or time.monotonic() >= self._until + (_KILL_S if self._killing else 0.0):
                if not left or self._killing:
                    break
                self._killing = True
            if self._killing:
                send(left, signal.SIGKILL)
        self._drain()
        self._collect()
        if self._log:
            self._written(self._log.close)
        self._close_answers()

    def _wait(self) -> None:
        limit_s = _LOOK_S if self._stopping else _COLLECT_S
        due_s = self._log.due_s() if self._log else None
        limit_s = limit_s if due_s is None else min(limit_s, due_s)
        for fd, _ in self._poll.poll(limit_s * 1000):
            if fd == self._output:
                self._pump()
            elif fd == self._orders:
                self._obey()
            else:  # a pidfd: child or runner has ended
                self._poll.unregister(fd)
                os.close(fd)
                if fd == self._runner:
                    self._stop(self._grace_s)
        if self._log and self._log.due_s() == 0:
            self._written(self._log.flush)

    def _obey(self) -> None:
        words = os.read(self._orders, 64).split()
        if not words:  # the runner has ended
            self._poll.unregister(self._orders)
            self._stop(self._grace_s)
        else:
            self._stop(float(words[1]))

    def _stop(self, grace_s: float) -> None:
        if not self._stopping:
            self._stopping = True
            self._until = time.monotonic() + grace_s
            send(list(descendants()), signal.SIGTERM)

    def _pump(self) -> bool:
        """Copies output of the child into the log; False if there was none."""
        assert self._output is not None  # noqa: S101 - only called where there is a log
        assert self._log is not None  # noqa: S101
        try:
            data = os.read(self._output, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            log = self._log
            self._written(lambda: log.write(data))
            return True
        self._poll.unregister(self._output)
        self._output = None
        return False

    def _drain(self) -> None:
        while self._output is not None and self._pump():
            pass

    def _written(self, work: Callable[[], None]) -> None:
        """Writes to the log. A full disk does not end the server: the runner is informed, and decides."""
        if self._log_failed:
            return
        try:
            work()
        except OSError as error:
            self._log_failed = True
            self._answer(b"log %d\n" % (error.errno or 0))

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._drain_available()
                self._answer(b"exited %d\n" % os.waitstatus_to_exitcode(status))
                self._close_answers()

    def _drain_available(self) -> None:
        """Copies the child's last output into the log before its end is reported."""
        until = time.monotonic() + _COLLECT_S  # a descendant may go on writing
        while self._output is not None and self._pump() and time.monotonic() < until:
            pass
        if self._log:
            self._written(self._log.flush)

    def _answer(self, line: bytes) -> None:
        if self._answers >= 0:
            try:  # noqa: SIM105 - contextlib is not imported for this
                os.write(self._answers, line)
            except OSError:  # the runner has ended
                pass

    def _close_answers(self) -> None:
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _stat(name: str) -> tuple[int, str] | None:
    """(parent, start time) of a process that has not ended."""
    try:
        fd = os.open(f"/proc/{name}/stat", os.O_RDONLY)
    except OSError:
        return None
    try:
        fields = os.read(fd, 4096).rpartition(b")")[2].split()
    except OSError:
        return None
    finally:
        os.close(fd)
    if not fields or (fields[0] in b"ZX" and int(fields[17]) <= 1):
        return None
    return int(fields[1]), fields[19].decode()


def descendants() -> Iterator[tuple[int, str]]:
    """(pid, start time) of every descendant of this process."""
    children: dict[int, list[tuple[int, str]]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib is slow to import
        if name.isdigit() and (found := _stat(name)):
            children.setdefault(found[0], []).append((int(name), found[1]))
    parents = [os.getpid()]
    while parents:
        for child in children.get(parents.pop(), ()):
            parents.append(child[0])
            yield child


def send(targets: list[tuple[int, str]], number: int) -> None:
    """Signals exactly these processes: a pid that was reused in the meantime is skipped."""
    for pid, started in targets:
        handle = _pidfd(pid)
        if handle is None:
            continue
        try:
            now = _stat(str(pid))
            if now and now[1] == started:
                signal.pidfd_send_signal(handle, number)
        except OSError:
            pass
        finally:
            os.close(handle)
