"""The native benchmark: our load generator as a process near the endpoint, its records kept and summed up here."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson
from anyio.to_thread import run_sync
from pydantic import Field

from autotuner.benchmarks.foreign_cpu import CpuSample, foreign_cores, sample
from autotuner.benchmarks.inputs import dataset_rows, input_checks, tokenizer_text
from autotuner.benchmarks.loadgen.spec import Calibration, Lengths, WorkerSpec
from autotuner.benchmarks.records import RunInfo, from_rows, write_records
from autotuner.benchmarks.summary import Asked, Limits, summarise
from autotuner.seams.benchmark import Benchmark, Progress, Window
from autotuner.seams.deployer import CommandRunner, Endpoint
from autotuner.study.errors import Check, CheckStatus, Problem, UsageError
from autotuner.study.failure import Failure, FailureCause, TrialFailedError
from autotuner.study.measurement import Measurement
from autotuner.study.noun import Noun
from autotuner.study.workload import Concurrency, TokenLengths, Workload

WORKER = "autotuner.benchmarks.loadgen.worker"

Pids = Callable[[], frozenset[int]]


class NativeSettings(Noun):
    """Settings of the native load generator, under ``benchmark:`` in a study file."""

    api_key_env: str | None = None
    """Name of an environment variable whose value is sent as a bearer token. The key itself is never in the file."""
    max_tokens_field: str = Field(default="max_tokens", pattern=r"^[a-z_]+$")
    """Field of the request that bounds the answer: ``max_tokens`` or ``max_completion_tokens``."""
    drain_s: float = Field(default=15.0, ge=0)
    """How long a request without any sign of life may outlive its window before it counts as timed out."""
    limits: Limits = Limits()
    """When the load generator itself is called the bottleneck."""


class NativeBenchmark(Benchmark):
    """Measures with our own load generator."""

    kind: ClassVar[str] = "native"
    Settings = NativeSettings

    def __init__(self, settings: NativeSettings) -> None:
        super().__init__(settings)
        self._settings = settings
        self._calibrations: dict[tuple[str, ...], Calibration] = {}

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """One window through ``endpoint.client``; the records go to ``window.folder / window.records_name``."""
        spec = await run_sync(self._spec, endpoint.url, endpoint.model, window, self._headers(window))
        known = self._calibration_key(endpoint.model, window)
        heard = await _listen(endpoint.client, spec, window, endpoint.pids)
        found = heard.result["calibration"]
        if found["points"]:
            self._calibrations[known] = Calibration(tuple(map(tuple, found["points"])), found["prefix_words"])
        return await run_sync(self._summed, heard, window)

    async def preflight(self, workload: Workload) -> list[Check]:
        """Tokenizer and dataset files readable and valid; the API key's variable set."""
        checks = await run_sync(input_checks, workload)
        name = self._settings.api_key_env
        if name and not os.environ.get(name):
            remedy = f"export {name}=... or remove benchmark.api_key_env"
            detail = f"the environment variable {name} is not set"
            checks.append(Check(name="API key", status=CheckStatus.FAIL, detail=detail, remedy=remedy))
        return checks

    def _headers(self, window: Window) -> dict[str, str]:
        headers, name = dict(window.headers or {}), self._settings.api_key_env
        if name:
            key = os.environ.get(name)
            if not key:
                why = f"the environment variable {name} is not set"
                raise UsageError(Problem(where="benchmark.api_key_env", value=name, why=why))
            headers.setdefault("Authorization", f"Bearer {key}")
        return headers

    def _spec(self, url: str, model: str, window: Window, headers: Mapping[str, str]) -> WorkerSpec:
        workload, scenario, level = window.workload, window.scenario, window.level
        return WorkerSpec(
            url=url,
            model=model,
            api=workload.api.value,
            headers=headers,
            concurrency=level.in_flight if isinstance(level, Concurrency) else None,
            rate=None if isinstance(level, Concurrency) else level.rate,
            arrivals="constant" if isinstance(level, Concurrency) else level.arrivals.value,
            burstiness=1.0 if isinstance(level, Concurrency) else level.burstiness,
            warmup_s=workload.warmup_s,
            duration_s=workload.duration_s,
            requests=workload.requests,
            request_timeout_s=workload.request_timeout_s,
            drain_s=self._settings.drain_s,
            seed=workload.seed,
            salt=f"{scenario.text} {level.text} {window.records_name}",
            prefix_tokens=workload.prefix_tokens,
            input=_lengths(scenario.input),
            output=_lengths(scenario.output),
            rows=dataset_rows(scenario.dataset) if scenario.dataset else None,
            ignore_eos=workload.ignore_eos,
            max_tokens_field=self._settings.max_tokens_field,
            extra_body=workload.extra_body,
            tokenizer_json=tokenizer_text(workload.tokenizer) if workload.tokenizer else None,
            calibration=self._calibrations.get(self._calibration_key(model, window)),
        )

    def _calibration_key(self, model: str, window: Window) -> tuple[str, ...]:
        workload = window.workload
        return (model, workload.api.value, str(workload.prefix_tokens), window.scenario.text, str(workload.tokenizer))

    def _summed(self, heard: "_Heard", window: Window) -> Measurement:
        result = heard.result
        info = RunInfo(
            window_ns=result["window_ns"],
            begin_epoch_s=result["begin_epoch_s"],
            loop_lag_p99_s=result["loop_lag_p99_s"],
            client_cpu_cores=result["client_cpu_cores"],
            asked_rate=result["asked_rate"],
            scheduled_in_window=result["scheduled_in_window"],
            foreign_cpu_cores=heard.foreign_cpu_cores,
            reused_rows=result["reused_rows"],
        )
        asked = Asked(
            scenario=window.scenario.text,
            level=window.level,
            slos=tuple(window.slos),
            limits=self._settings.limits,
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
        return summarise(records, name=window.records_name)


@dataclass
class _Heard:
    """What a worker has said."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)
    foreign_cpu_cores: float | None = None


async def _listen(client: CommandRunner, spec: WorkerSpec, window: Window, pids: Pids) -> _Heard:
    """Runs the worker to its end."""
    heard, begin = _Heard(), _NOTHING
    async with client.run(WORKER, spec.to_json(), labels=window.labels) as lines:
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
                    raise _failed(said["message"])
    if not heard.result:
        raise _failed("the load generator ended without a result")
    return heard


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


def _failed(message: str) -> TrialFailedError:
    return TrialFailedError(
        Failure(cause=FailureCause.BENCHMARK_FAILED, message=message, remedy="check the workload section of the study")
    )


def _lengths(lengths: TokenLengths | None) -> Lengths | None:
    return Lengths(lengths.kind, lengths.a, lengths.b) if lengths else None
