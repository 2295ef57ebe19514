"""Load generators as child processes.

A load generator has its own interpreter, so that a busy event loop here cannot distort its latencies. It ends with the
block that runs it, and with this process.
"""

import logging
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO

import anyio

from autotuner.deployers.local.owned_process import OwnedProcess, spawn
from autotuner.deployers.shared import failures
from autotuner.plugins.deployer import CommandRunner
from autotuner.study.failure import KEPT_LOG_LINES, TrialFailedError
from autotuner.study.launch import Labels

_CHUNK = 1 << 16
_STOP_GRACE_S = 1.0
_EVIDENCE_BYTES = 64 * 1024


logger = logging.getLogger(__name__)


class LocalRunner(CommandRunner):
    """Runs ``python -m module`` on this machine."""

    @asynccontextmanager
    async def run(self, module: str, spec: bytes, *, labels: Labels) -> AsyncIterator[AsyncIterator[bytes]]:
        """See :meth:`autotuner.plugins.deployer.CommandRunner.run`. Lines have no newline and any length; the worker
        blocks while they are not consumed."""
        with tempfile.TemporaryFile() as errors:
            worker, stdout = await _start(module, spec, labels, errors)
            logger.info("load generator %s started as process %d", module, worker.pid)
            try:
                yield _Lines(worker, stdout, errors)
            finally:
                os.close(stdout)
                with anyio.CancelScope(shield=True):
                    await worker.stop(_STOP_GRACE_S)
                logger.info("load generator %s of process %d: stopped", module, worker.pid)


async def _start(module: str, spec: bytes, labels: Labels, errors: IO[bytes]) -> tuple[OwnedProcess, int]:
    """The worker, and the reading end of its stdout. The spec may contain credentials: it is passed in
    memory, not in a file."""
    argv = (sys.executable, "-m", module)
    reading, writing = os.pipe()
    try:
        with os.fdopen(os.memfd_create("spec"), "w+b") as stdin:
            stdin.write(spec)
            stdin.seek(0)
            worker = await spawn(
                argv, labels=labels, env={}, stdin=stdin, stdout=writing, stderr=errors, orphan_grace_s=_STOP_GRACE_S
            )
    except OSError as error:
        os.close(reading)
        raise TrialFailedError(failures.not_started("the load generator", error)) from error
    finally:
        os.close(writing)
    os.set_blocking(reading, False)
    return worker, reading


class _Lines(AsyncIterator[bytes]):
    """The worker's lines; the exit code is checked after the last one."""

    def __init__(self, worker: OwnedProcess, stdout: int, errors: IO[bytes]) -> None:
        self._worker = worker
        self._stdout = stdout
        self._errors = errors
        self._lines: list[bytes] = []
        self._begun = bytearray()
        self._ended = False

    async def __anext__(self) -> bytes:
        while not self._lines:
            if self._ended:
                raise StopAsyncIteration
            await self._read()
        return self._lines.pop()

    async def _read(self) -> None:
        try:
            data = os.read(self._stdout, _CHUNK)
        except BlockingIOError:
            await anyio.wait_readable(self._stdout)
            return
        if not data:
            self._ended = True
            await self._check_end()
            self._lines = [bytes(self._begun)] if self._begun else []
            return
        head, newline, rest = data.rpartition(b"\n")
        if newline:
            whole = bytes(self._begun) + head
            self._lines = whole.split(b"\n")[::-1]
            self._begun = bytearray(rest)
        else:
            self._begun += data

    async def _check_end(self) -> None:
        code = await self._worker.exited()
        if code == 0:
            return
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _EVIDENCE_BYTES))
        tail = self._errors.read().decode(errors="replace").splitlines()[-KEPT_LOG_LINES:]
        raise TrialFailedError.load_generator_exit(code, tail)
