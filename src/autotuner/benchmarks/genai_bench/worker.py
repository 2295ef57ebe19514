"""Worker process that runs genai-bench near the endpoint: ``python -m autotuner.benchmarks.genai_bench.worker``.

It reads its spec from stdin and writes the JSON lines of :mod:`autotuner.benchmarks.loadgen.worker`. genai-bench writes
its options, including the API key, into its metadata and its log. Both files are therefore links to ``/dev/null``, the
log is read from a pipe, and the key is passed in the environment, so that it never reaches a disk. The environment is
an allowlist. genai-bench is killed as soon as the window's requests have ended, because it only supports whole minutes
and draws plots after a run.
"""

import contextlib
import ctypes
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from autotuner.benchmarks.genai_bench.log import Answer, Event, LogReader
from autotuner.benchmarks.genai_bench.timeline import Plan, Timeline
from autotuner.benchmarks.loadgen.output_lines import emit
from autotuner.benchmarks.loadgen.tokens import counter

_KEPT = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "AUTOTUNER_STUDY", "AUTOTUNER_TRIAL", "AUTOTUNER_OWNER", "AUTOTUNER_PROCESS",
)  # fmt: skip
_NO_KEY = "none"
"""genai-bench requires a key; a server that needs none ignores it."""
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.05
_CHUNK = 1 << 16
_BATCH = 2_000
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class GenaiSpec:
    """Specification of a window. Times in seconds; ``api_key`` is passed on stdin only, and ``repr`` omits it."""

    command: tuple[str, ...]
    url: str
    model: str
    backend: str
    scenario: str
    plan: Plan
    tokenizer_json: str = field(repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    extra_args: tuple[str, ...] = ()
    api_key: str | None = field(default=None, repr=False)
    start_timeout_s: float = 120.0

    def to_json(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "GenaiSpec":
        """Parses the output of :meth:`to_json`. Raises ``ValueError``, which never quotes the input."""
        try:
            raw = json.loads(text)
            lists = {name: tuple(raw[name]) for name in ("command", "extra_args")}
            return cls(**{**raw, **lists, "plan": Plan(**raw["plan"])})
        except (ValueError, TypeError, KeyError):
            raise ValueError("the spec on stdin is not valid for genai-bench") from None


class GenaiBenchError(Exception):
    """genai-bench did not measure the window. The message has one line."""


def main() -> int:
    """Runs the window specified on stdin and returns the exit code."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        spec = GenaiSpec.from_json(sys.stdin.buffer.read())
    except ValueError as error:
        emit({"kind": "error", "message": str(error)})
        return 2
    reader = LogReader(spec.api_key)
    try:
        folder = Path(tempfile.mkdtemp(prefix="autotuner-genai-"))
        try:
            _measure(spec, folder, reader)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except GenaiBenchError as error:
        remedy = "read genai-bench's log below, or run its command manually"
        emit({"kind": "error", "message": str(error), "remedy": remedy, "log_tail": reader.tail})
        return 2
    except BrokenPipeError:
        return 1
    return 0


def _leave(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


def _measure(spec: GenaiSpec, folder: Path, reader: LogReader) -> None:
    try:
        process = subprocess.Popen(
            _argv(spec, folder),
            env=_env(spec, folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - no threads
        )
    except OSError as error:
        raise GenaiBenchError(f"cannot start {spec.command[0]}: {error.strerror or error}") from None
    try:
        result = _watch(spec, process, reader)
    finally:
        _end(process)
    timeline, cpu_cores, epoch_s = result
    rows = timeline.rows()
    for at in range(0, len(rows), _BATCH):
        emit({"kind": "records", "records": rows[at : at + _BATCH]})
    emit(
        {
            "kind": "result",
            "begin_epoch_s": epoch_s,
            "window_ns": (timeline.end_ns or 0) - (timeline.begin_ns or 0),
            "client_cpu_cores": cpu_cores,
            "unanswered": timeline.unanswered,
        }
    )


def _argv(spec: GenaiSpec, folder: Path) -> list[str]:
    """The command line; creates the files it names: a tokenizer without code, and two links to ``/dev/null``."""
    tokenizer = folder / "tokenizer"
    results = folder / "results"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text(spec.tokenizer_json, encoding="utf-8")
    (tokenizer / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    results.mkdir()
    for keeps_secrets in ("experiment_metadata.json", "genai_bench.log"):
        (results / keeps_secrets).symlink_to(os.devnull)
    plan = spec.plan
    longest_s = spec.start_timeout_s + plan.warmup_s + 2 * plan.duration_s + plan.request_timeout_s
    options = {
        "api-backend": spec.backend,
        "api-base": spec.url,
        "api-key": _NO_KEY,
        "api-model-name": spec.model,
        "model": "model",
        "model-tokenizer": str(tokenizer),
        "task": "text-to-text",
        "traffic-scenario": spec.scenario,
        "num-concurrency": str(plan.concurrency),
        "max-time-per-run": str(math.ceil(longest_s / 60) + 1),
        "max-requests-per-run": "1000000000",
        "experiment-base-dir": str(folder),
        "experiment-folder-name": results.name,
        "log-dir": str(results),
    }
    if spec.extra_body:
        options["additional-request-params"] = json.dumps(dict(spec.extra_body))
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    return [*spec.command, "benchmark", *given, *spec.extra_args]


def kept_environment() -> dict[str, str]:
    """The part of this process's environment that genai-bench inherits."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def _env(spec: GenaiSpec, folder: Path) -> dict[str, str]:
    own = {
        "ENABLE_UI": "false",
        "GENAI_BENCH_LOGGING_LEVEL": "DEBUG",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(folder / "hf"),
        "MPLCONFIGDIR": str(folder),
        "TMPDIR": str(folder),
        "NETRC": os.devnull,
        "NO_PROXY": "*",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONIOENCODING": "utf-8",
    }
    return {**kept_environment(), **own, **({"MODEL_API_KEY": spec.api_key} if spec.api_key else {})}


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(spec: GenaiSpec, process: subprocess.Popen[bytes], reader: LogReader) -> tuple[Timeline, float, float]:
    """Follows the log until the window's requests have ended.

    Returns:
        The timeline, the CPU cores used inside the window, and the epoch time of its start in seconds.

    Raises:
        GenaiBenchError: genai-bench exited, or sent no request in time.
    """
    if process.stdout is None:
        raise GenaiBenchError("no pipe")
    tokens = _Tokens(spec.tokenizer_json)
    log = process.stdout.fileno()
    timeline = Timeline(spec.plan)
    since = time.monotonic()
    begun_cpu_s = cpu_cores = epoch_s = 0.0
    while not timeline.over:
        if select.select([log], [], [], _POLL_S)[0]:
            data = os.read(log, _CHUNK)
            if not data:
                raise GenaiBenchError(_exit_reason(process, reader, timeline))
            for event in reader.feed(data, time.monotonic_ns()):
                timeline.take(tokens.counted(event))
        if not timeline.begun and time.monotonic() - since > spec.start_timeout_s:
            raise GenaiBenchError(f"genai-bench sent no request within {spec.start_timeout_s:g} s")
        for line in timeline.tick(time.monotonic_ns()):
            match line.get("state"):
                case "begin":
                    begun_cpu_s = _cpu_s(process.pid)
                    epoch_s = time.time()
                case "end":
                    seconds = ((timeline.end_ns or 0) - (timeline.begin_ns or 0)) / 1e9
                    cpu_cores = (_cpu_s(process.pid) - begun_cpu_s) / seconds if seconds > 0 else 0.0
            emit(line)
    return timeline, cpu_cores, epoch_s


class _Tokens:
    """Counts answers for which the server reported no usage."""

    def __init__(self, tokenizer_json: str) -> None:
        self._tokenizer_json = tokenizer_json
        self._count: Callable[[str], int] | None = None

    def counted(self, event: Event) -> Event:
        """The event with its number of output tokens. Raises :class:`GenaiBenchError` if they cannot be counted."""
        if not isinstance(event, Answer) or event.output_tokens or not event.text:
            return event
        if self._count is None:
            try:
                self._count = counter(self._tokenizer_json)
            except ValueError as error:
                raise GenaiBenchError(
                    f"the server reports no usage, and its answers cannot be counted: {error}"
                ) from None
        return replace(event, output_tokens=self._count(event.text), text="")


def _exit_reason(process: subprocess.Popen[bytes], reader: LogReader, timeline: Timeline) -> str:
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "genai-bench closed its log"
    when = "before its first request" if not timeline.begun else f"too early, after {len(timeline.rows())} requests"
    last = reader.tail.rpartition("\n")[2]
    return f"genai-bench exited with code {code} {when}" + (f": {last[:300]}" if last else "")


def _cpu_s(group: int) -> float:
    """CPU seconds of the processes of a group, including those of children that they have waited for."""
    used = 0
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            fields = (Path(entry.path) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process has just ended
        if int(fields[2]) == group:
            used += sum(map(int, fields[11:15]))
    return used / _TICKS


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kills genai-bench and its children; nothing that they could still write is needed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
