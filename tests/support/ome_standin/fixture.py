"""Start and end of the stand-in in tests: a child process that acts on the cluster of a kubeconfig."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from queue import Empty, Queue
from typing import Any, Self

import pytest

from support.ome_standin.images import ENGINE, MANAGER
from support.ome_standin.sample_objects import ready_folder
from support.ome_standin.settings import Settings

_FOLDER = Path(__file__).resolve().parents[2]
_PATIENCE_S = 60.0


class OmeStandIn:
    """OME on a cluster for the duration of a block. The node must already have the images."""

    def __init__(
        self,
        kubeconfig: Path,
        *,
        listen: str = "127.0.0.1",
        engine_image: str = ENGINE,
        manager_image: str = MANAGER,
        model_path: Path | None = None,
        **more: Any,
    ) -> None:
        """``more``: other fields of :class:`support.ome_standin.settings.Settings`."""
        self._folder = tempfile.TemporaryDirectory(prefix="ome-stand-in-")
        place = model_path or ready_folder(Path(self._folder.name) / "models" / "sim-model")
        self.settings = Settings(
            kubeconfig=str(kubeconfig),
            listen=listen,
            engine_image=engine_image,
            manager_image=manager_image,
            model_path=str(place),
            **more,
        )
        self._log = Path(self._folder.name) / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: Queue[dict[str, Any] | None] = Queue()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._folder.cleanup()

    @property
    def log(self) -> str:
        """The controllers' log."""
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        """Returns once everything is installed and the webhooks respond. Raises ``RuntimeError`` with the log."""
        with self._log.open("ab") as log:
            pipe = subprocess.PIPE
            # in its own session, since a keyboard interrupt is for the parent, which then stops the child
            self._process = subprocess.Popen(
                self._argv(), stdin=pipe, stdout=pipe, stderr=log, env=self._environment(), start_new_session=True
            )
        self._answers = Queue()
        threading.Thread(target=self._listen, args=(self._process, self._answers), daemon=True).start()
        try:
            self._answer()
        except RuntimeError:
            self.__exit__()
            raise

    def stop(self) -> None:
        """Ends the process, which removes everything; another process does so if it was killed. It may be restarted."""
        if self._process is None:
            return
        process = self._process
        self._process = None
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.returncode != 0:
            with self._log.open("ab") as log:
                subprocess.run([*self._argv(), "remove"], stderr=log, env=self._environment(), check=True)

    def kill(self) -> None:
        """Sends SIGKILL: the webhooks stay registered, but do not respond."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def set(self, **faults: Any) -> dict[str, Any]:
        """Sets faults (see :class:`support.ome_standin.faults.Faults`); returns all faults once they are in effect.

        Raises ``ValueError`` for an unknown one.
        """
        if self.settings.real:
            pytest.skip("faults of a real OME cannot be set")
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(faults).encode() + b"\n")
        self._process.stdin.flush()
        current = self._answer()
        if "error" in current:
            raise ValueError(current["error"])
        return current

    @contextmanager
    def fault(self, **faults: Any) -> Iterator[None]:
        """Sets faults for the duration of the block."""
        before = self.set()
        self.set(**faults)
        try:
            yield
        finally:
            self.set(**{name: before[name] for name in faults})

    def _argv(self) -> list[str]:
        return [sys.executable, "-m", "support.ome_standin", json.dumps(asdict(self.settings))]

    @staticmethod
    def _listen(process: subprocess.Popen[bytes], answers: Queue[dict[str, Any] | None]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                answers.put(json.loads(line))
        answers.put(None)

    def _answer(self) -> dict[str, Any]:
        try:
            answer = self._answers.get(timeout=_PATIENCE_S)
        except Empty:
            answer = None
        if answer is None:
            raise RuntimeError(f"the stand-in does not respond: {self.log[-2000:]}")
        return answer

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(_FOLDER), "TMPDIR": self._folder.name}
