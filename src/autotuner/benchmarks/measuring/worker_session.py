"""The runner's side of a worker, whichever load generator it drives: hear it to its end, keep its records, sum them up.

A worker runs near the endpoint and says JSON lines; :mod:`autotuner.benchmarks.loadgen.worker` lists them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from anyio.to_thread import run_sync

from autotuner.benchmarks.measuring.foreign_cpu import CpuSample, foreign_cores, sample
from autotuner.benchmarks.measuring.records import RunInfo, from_rows, write_records
from autotuner.benchmarks.measuring.requirements import Asked, Limits
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.plugins.benchmark import Progress, Window
from autotuner.plugins.deployer import CommandRunner
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.measurement import Measurement

Pids = Callable[[], frozenset[int]]


@dataclass
class WorkerOutput:
    """What a worker has said."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    foreign_cpu_cores: float | None = None


async def listen(client: CommandRunner, module: str, spec: bytes, window: Window, pids: Pids) -> WorkerOutput:
    """Runs the worker to its end. ``pids`` are the server's. Raises ``TrialFailedError`` (``benchmark_failed``)."""
    heard = WorkerOutput()
    begin = _NOTHING
    async with client.run(module, spec, labels=window.labels) as lines:
        async for line in lines:
            said = orjson.loads(line) if line.strip() else {}
            match said.get("kind"):
                case "window" if said["state"] == "begin":
                    begin = await run_sync(_sampled, pids())
                case "window":
                    heard.foreign_cpu_cores = foreign_cores(begin, await run_sync(_sampled, pids()))
                case "progress":
                    window.on_progress(_progress(said))
                case "records":
                    heard.rows.extend(said["records"])
                case "result":
                    heard.result = said
                case "error":
                    raise TrialFailedError.benchmark(
                        said["message"],
                        remedy=said.get("remedy") or _CHECK_WORKLOAD,
                        log_tail=said.get("log_tail", ""),
                    )
    if not heard.result:
        raise TrialFailedError.benchmark("the load generator ended without a result", remedy=_CHECK_WORKLOAD)
    return heard


def measurement(heard: WorkerOutput, window: Window, limits: Limits, info: RunInfo) -> Measurement:
    """Keeps the records as ``window.folder / window.records_name`` and sums them up. Raises ``TrialFailedError``
    (``disk_full``) when they cannot be written."""
    asked = Asked(
        scenario=window.scenario.text,
        level=window.level,
        slos=tuple(window.slos),
        objectives=tuple(window.objectives),
        fewest=window.workload.fewest,
        limits=limits,
    )
    records = from_rows(heard.rows, info, asked.model_dump(mode="json"))
    try:
        write_records(window.folder / window.records_name, records)
    except OSError as error:
        failure = Failure(
            cause=FailureCause.DISK_FULL,
            message=f"the request records could not be written: {error}",
            remedy="free some space, or put the data directory elsewhere",
        )
        raise TrialFailedError(failure) from error
    return summarize(records, name=window.records_name)


_CHECK_WORKLOAD = "check the workload section of the study"
_NOTHING: CpuSample | None = None


def _sampled(pids: frozenset[int]) -> CpuSample | None:
    return sample(pids) if pids else None


def _progress(said: Mapping[str, Any]) -> Progress:
    elapsed = float(said["elapsed_s"])
    return Progress(
        elapsed_s=elapsed,
        total_s=float(said["total_s"]),
        completed=int(said["completed"]),
        failed=int(said["failed"]),
        output_throughput=said["chunks"] / elapsed if elapsed > 0 else 0.0,
    )
