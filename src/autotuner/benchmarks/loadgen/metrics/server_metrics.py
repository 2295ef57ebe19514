"""The load generator's side of sampling the server's metrics: a process of its own beside it.

Reading a server's metrics takes milliseconds of parsing, which the load generator's loop must not spend. Its child does
it, at a lower priority, from the same place and by the same way as the load.
"""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.spec import MetricsAsk, WorkerSpec, access_from
from autotuner.net.target import DIRECT, Access

SAMPLER = "autotuner.benchmarks.loadgen.metrics.metrics_sampler"
_STOP_S = 2.0
"""How long the sampler may take to end beside its last sample."""
_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True)
class SamplerSpec:
    """One line of JSON on the sampler's stdin; it samples until its stdin ends."""

    url: str
    ask: MetricsAsk
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    access: Access = DIRECT

    @classmethod
    def from_json(cls, text: bytes) -> "SamplerSpec":
        """From a line of JSON."""
        raw = orjson.loads(text)
        return cls(raw["url"], MetricsAsk(**raw["ask"]), raw["headers"], access_from(raw["access"]))


class Sampler:
    """A running sampler."""

    def __init__(self, spec: WorkerSpec, ask: MetricsAsk) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._why = ""
        self._stop_s = ask.timeout_s + _STOP_S
        told = SamplerSpec(spec.url, ask, spec.headers, spec.access)
        argv = [sys.executable, "-m", SAMPLER]
        try:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
            )
            assert self._child.stdin is not None  # noqa: S101 - it was asked for
            # The spec fits in a pipe's buffer: this does not wait for the child to start.
            self._child.stdin.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            self._why = f"the sampler of the server's metrics did not start: {error}"
            self.end()

    def stop(self) -> dict[str, Any]:
        """Stops the sampler and returns its report. Waits for the last sample: call it when the load is over."""
        if self._child is None:
            return {"notes": [self._why]}
        try:
            said, _ = self._child.communicate(timeout=self._stop_s)
            found = orjson.loads(said) if 0 < len(said) <= _LARGEST else None
        except (subprocess.TimeoutExpired, orjson.JSONDecodeError, OSError):
            found = None
        self.end()
        if not isinstance(found, dict):
            return {"notes": ["the sampler of the server's metrics ended without a result"]}
        return found

    def end(self) -> None:
        """Ends the process, on every path."""
        child = self._child
        self._child = None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        child.wait()


def line_of(said: Mapping[str, Any], zero_ns: int) -> dict[str, Any]:
    """The worker's line: times in nanoseconds from the window's start."""
    return {"kind": "server_metrics", **said, "at_ns": [at - zero_ns for at in said.get("at_ns", ())]}
