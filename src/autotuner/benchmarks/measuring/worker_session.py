"""The runner's side of a worker, whichever load generator that drives: it reads the output and evaluates the records.

A worker runs near the endpoint and writes JSON lines; :mod:`autotuner.benchmarks.loadgen.worker` describes them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from anyio.to_thread import run_sync

from autotuner.benchmarks.measuring.foreign_cpu import CpuSample, foreign_cores, sample
from autotuner.benchmarks.measuring.level_replay import decide
from autotuner.benchmarks.measuring.records import Records, RunInfo, from_rows, write_records
from autotuner.benchmarks.measuring.requirements import Limits, Requirements
from autotuner.benchmarks.measuring.server_figures import server_metrics
from autotuner.benchmarks.measuring.server_samples import ServerSamples, samples_from, samples_name, write_samples
from autotuner.benchmarks.measuring.summary import summarize
from autotuner.plugins.benchmark import Progress, Window
from autotuner.plugins.deployer import CommandRunner
from autotuner.study.capacity.level_test import LevelDecision
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.measurement import Measurement

Pids = Callable[[], frozenset[int]]

_CHECK_WORKLOAD = "check the workload section of the study"


@dataclass
class WorkerOutput:
    """Output of a worker, collected."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """Request records."""
    result: dict[str, Any] = field(default_factory=dict)
    """The last line; empty until it arrives."""
    foreign_cpu_cores: float | None = None
    server: ServerSamples | None = None
    """Samples of the server's metrics."""


async def run_worker(client: CommandRunner, module: str, spec: bytes, window: Window, pids: Pids) -> WorkerOutput:
    """Runs the worker and collects its output.

    Args:
        client: Runs it near the endpoint.
        module: The worker's module.
        spec: Its stdin.
        window: The window, for labels and progress.
        pids: Returns the server's processes, to tell their CPU time from that of foreign ones.

    Raises:
        TrialFailedError: The worker failed (``benchmark_failed``).
    """
    output = WorkerOutput()
    begin: CpuSample | None = None
    async with client.run(module, spec, labels=window.labels) as lines:
        async for text in lines:
            line = orjson.loads(text) if text.strip() else {}
            match line.get("kind"):
                case "window" if line["state"] == "begin":
                    begin = await run_sync(_sample, pids())
                case "window":
                    output.foreign_cpu_cores = foreign_cores(begin, await run_sync(_sample, pids()))
                case "progress":
                    window.on_progress(_progress(line))
                case "server_metrics":
                    output.server = samples_from(line)
                case "records":
                    output.rows.extend(line["records"])
                case "result":
                    output.result = line
                case "error":
                    raise TrialFailedError.benchmark(
                        line["message"],
                        remedy=line.get("remedy") or _CHECK_WORKLOAD,
                        log_tail=line.get("log_tail", ""),
                    )
    if not output.result:
        raise TrialFailedError.benchmark("the load generator exited without a result", remedy=_CHECK_WORKLOAD)
    return output


def keep_and_summarize(output: WorkerOutput, window: Window, limits: Limits, info: RunInfo) -> Measurement:
    """Stores the records as ``window.folder / window.records_name`` and evaluates them.

    Args:
        output: Output of the worker.
        window: The window.
        limits: When the load generator counts as the bottleneck.
        info: Facts about the window besides the records.

    Raises:
        TrialFailedError: The records could not be written (``disk_full``).
    """
    records = from_rows(output.rows, info, {})
    requirements = Requirements(
        scenario=window.scenario.text,
        level=window.level,
        slos=tuple(window.slos),
        objectives=tuple(window.objectives),
        fewest=window.workload.fewest,
        limits=limits,
        test=window.test,
        decision=_decision(output, window, records),
    )
    records = replace(records, where=requirements.model_dump(mode="json"))
    try:
        write_records(window.folder / window.records_name, records)
    except OSError as error:
        failure = Failure(
            cause=FailureCause.DISK_FULL,
            message=f"cannot write the request records: {error}",
            remedy="free disk space, or move the data directory",
        )
        raise TrialFailedError(failure) from error
    return _with_server(summarize(records, name=window.records_name), output.server, window)


def _decision(output: WorkerOutput, window: Window, records: Records) -> LevelDecision | None:
    """The decision about the level, from the records alone, so that anyone who reads them finds the same."""
    said = output.result.get("level")
    return decide(records, window.test, said["requests"]) if said and window.test else None


def _with_server(measured: Measurement, samples: ServerSamples | None, window: Window) -> Measurement:
    """Adds the server's metrics to the measurement. Samples that cannot be stored do not fail it."""
    if samples is None:
        return measured
    seen = server_metrics(samples, window.server_metrics, measured.window_s)
    if not samples.at_ns:
        return measured.replaced(server=seen)
    name = samples_name(window.records_name)
    try:
        write_samples(window.folder / name, samples)
    except OSError as error:
        notes = (*seen.notes, f"the samples could not be written: {error.strerror or error}")
        return measured.replaced(server=seen.replaced(notes=notes))
    return measured.replaced(server=seen.replaced(file=name))


def _sample(pids: frozenset[int]) -> CpuSample | None:
    return sample(pids) if pids else None


def _progress(line: Mapping[str, Any]) -> Progress:
    elapsed = float(line["elapsed_s"])
    return Progress(
        elapsed_s=elapsed,
        total_s=float(line["total_s"]),
        completed=int(line["completed"]),
        failed=int(line["failed"]),
        output_throughput=None if line["chunks"] is None else line["chunks"] / elapsed if elapsed > 0 else 0.0,
    )
