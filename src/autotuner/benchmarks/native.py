"""The benchmark kind ``native``: runs our load generator near the endpoint, and stores and evaluates its records."""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

from anyio.to_thread import run_sync
from pydantic import BeforeValidator, Field

from autotuner.benchmarks.loadgen.processes.lags import ClientLimits
from autotuner.benchmarks.loadgen.spec import AUTO, Calibration, LevelSpec, MetricsAsk, WorkerSpec, calibration_from
from autotuner.benchmarks.measuring.datasets.row_supply import RowSupply, Supply, settle
from autotuner.benchmarks.measuring.inputs import input_checks, tokenizer_text
from autotuner.benchmarks.measuring.level_replay import controls_of
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Limits, required_requests
from autotuner.benchmarks.measuring.scenario_spec import priming_notes, scenario_fields
from autotuner.benchmarks.measuring.traces.trace_replay import WORDS, ReplayWindow, replay_window
from autotuner.benchmarks.measuring.worker_session import keep_and_summarize, run_worker
from autotuner.errors import Problem, UsageError
from autotuner.invalid_value import InvalidValueError
from autotuner.net.target import Access
from autotuner.plugins.benchmark import Benchmark, Window
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.server_metrics import wanted_names
from autotuner.study.base import FrozenModel
from autotuner.study.capacity.level_test import LevelPlan
from autotuner.study.check import Check
from autotuner.study.measurement import Measurement
from autotuner.study.text.forms import Duration
from autotuner.study.workload import Concurrency, RequestRate, Scenario, Stages, TraceSpeed, Users, Workload

WORKER = "autotuner.benchmarks.loadgen.worker"


_MOST_WORKERS = 256
_SWEPT_S = 1.0
"""After which a request that has exceeded its time limit has certainly been ended."""


def _checked_workers(value: object) -> object:
    """One problem instead of one per member of the union."""
    if value == "auto" or (type(value) is int and 1 <= value <= _MOST_WORKERS):
        return value
    raise InvalidValueError(f"must be auto or a number from 1 to {_MOST_WORKERS}")


Workers = Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=_MOST_WORKERS)], BeforeValidator(_checked_workers)]


class NativeSettings(FrozenModel):
    """Settings of the native load generator, under ``benchmark:`` in a study file."""

    api_key_env: str | None = None
    """Name of an environment variable whose value is sent as a bearer token; the file never contains the key itself."""
    max_tokens_field: str = Field(default="max_tokens", pattern=r"^[a-z_]+$")
    """Request field that limits the output length: ``max_tokens`` or ``max_completion_tokens``."""
    drain: Duration = Field(default=30.0, ge=0)
    """Longest wait after a window for its requests: until all have ended (open loop) or received a token (closed loop).
    Requests without a token by then have timed out; those that are still running have an unknown latency."""
    server_metrics: bool = True
    """Sample the server's Prometheus metrics about twice a second during each window."""
    workers: Workers = "auto"
    """Processes that send the load: a number, or ``auto`` for as many as it needs and the machine has cores for."""
    limits: Limits = Limits()
    """When the load generator itself counts as the bottleneck."""


@dataclass
class _ServerInstance:
    """Identity of one server instance, drawn when it is first measured."""

    run_id: str = field(default_factory=lambda: secrets.token_hex(8))


class NativeBenchmark(Benchmark):
    """Measures with our own load generator."""

    kind: ClassVar[str] = "native"
    Settings = NativeSettings
    tests_levels: ClassVar[bool] = True
    short_windows: ClassVar[bool] = True

    def __init__(self, settings: NativeSettings) -> None:
        super().__init__(settings)
        self._settings = settings
        self._calibrations: dict[tuple[str, ...], Calibration] = {}
        self._instances: WeakKeyDictionary[Endpoint, _ServerInstance] = WeakKeyDictionary()
        self._rows = RowSupply()

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Measures one window through ``endpoint.client``; records go to ``window.folder / window.records_name``."""
        instance = self._instances.setdefault(endpoint, _ServerInstance())
        headers = self._headers(window)
        supplies = await run_sync(self._supplies, endpoint, window)
        try:
            replayed = await run_sync(self._replayed, window)
            spec = await run_sync(self._spec, endpoint, window, headers, instance, supplies, replayed)
            output = await run_worker(endpoint.client, WORKER, spec.to_json(), window, endpoint.pids)
        except BaseException:
            settle(supplies)
            raise
        settle(supplies, output.result["rows_used"])
        result = output.result
        for scenario, found in zip(window.scenario.parts, result["calibrations"], strict=True):
            if found["points"]:
                self._calibrations[self._calibration_key(endpoint.model, window, scenario)] = calibration_from(found)
        info = RunInfo(
            window_ns=result["window_ns"],
            begin_epoch_s=result["begin_epoch_s"],
            loop_lag_p99_s=result["loop_lag_p99_s"],
            client_cpu_cores=result["client_cpu_cores"],
            asked_rate=result["asked_rate"],
            scheduled_in_window=result["scheduled_in_window"],
            foreign_cpu_cores=output.foreign_cpu_cores,
            run_id=instance.run_id,
            workers=result["workers"],
            file_limit=result["file_limit"],
            left_out_s=result["left_out_s"],
            left_out_lagged=result["left_out_lagged"],
            answers=_answers(window.workload),
            exact_prompts=_exact(window, result),
            notes=(
                *endpoint.client.caveats,
                *_proxy_notes(endpoint.access),
                *(note for supply in supplies if supply for note in supply.notes),
                *_replay_notes(replayed, result),
                *_length_notes(window, result),
                *priming_notes(window.scenario, result),
            ),
        )
        return await run_sync(keep_and_summarize, output, window, self._settings.limits, info)

    async def preflight(self, workload: Workload) -> list[Check]:
        """Checks that tokenizer and dataset files are valid, and that the API key's variable is set."""
        checks = await run_sync(input_checks, workload, self._rows)
        name = self._settings.api_key_env
        if name and not os.environ.get(name):
            remedy = f"export {name}=... or remove benchmark.api_key_env"
            detail = f"the environment variable {name} is not set"
            checks.append(Check.fail("API key", detail, remedy=remedy))
        return checks

    def _headers(self, window: Window) -> dict[str, str]:
        headers = dict(window.headers or {})
        name = self._settings.api_key_env
        if name:
            key = os.environ.get(name)
            if not key:
                why = f"the environment variable {name} is not set"
                raise UsageError(Problem(where="benchmark.api_key_env", value=name, why=why))
            if not any(header.lower() == "authorization" for header in headers):
                headers["Authorization"] = f"Bearer {key}"
        return headers

    def _replayed(self, window: Window) -> ReplayWindow | None:
        part = window.scenario.trace
        if part is None:
            return None
        if not isinstance(window.level, TraceSpeed):
            raise UsageError.at("workload.scenarios", "a trace is replayed at a speed", value=window.level.text)
        return replay_window(part, window.level.speed, window.workload, drain_s=self._drain_s(window))

    def _drain_s(self, window: Window) -> float:
        """The longest wait after the window. A replay is only certified once every outcome is known."""
        drain = self._settings.drain
        replayed = window.test is not None and window.test.replayed is not None
        return max(drain, window.workload.request_timeout_s + _SWEPT_S) if replayed else drain

    def _supplies(self, endpoint: Endpoint, window: Window) -> list[Supply | None]:
        tokenizer = window.workload.tokenizer
        return self._rows.supplies(
            endpoint,
            window,
            drain_s=self._settings.drain,
            tokenizer_json=tokenizer_text(tokenizer) if tokenizer else None,
        )

    def _spec(
        self,
        endpoint: Endpoint,
        window: Window,
        headers: Mapping[str, str],
        instance: _ServerInstance,
        supplies: Sequence[Supply | None],
        replayed: ReplayWindow | None,
    ) -> WorkerSpec:
        workload = window.workload
        scenario = window.scenario
        level = window.level
        # The salt keeps a prefix cache from answering what another window, or another run, has sent.
        salt = (
            scenario.text
            if workload.reuse_prompts
            else f"{instance.run_id} {scenario.text} {level.text} {window.records_name}"
        )
        return WorkerSpec(
            url=endpoint.url,
            **scenario_fields(
                scenario,
                workload,
                endpoint.model,
                lambda part: self._calibrations.get(self._calibration_key(endpoint.model, window, part)),
                [supply.rows if supply else None for supply in supplies],
            ),
            api=workload.api.value,
            stream=workload.streams,
            headers=headers,
            access=endpoint.access,
            **_load(window, replayed),
            warmup_s=workload.warmup_s,
            fewest_requests=workload.fewest,
            wanted_requests=required_requests(tuple(window.objectives), tuple(window.slos), scenario.text, level.text),
            requests=workload.requests,
            request_timeout_s=workload.request_timeout_s,
            drain_s=self._drain_s(window),
            seed=workload.seed,
            salt=salt,
            prefix_salt="" if workload.reuse_prompts else instance.run_id,
            row_order=f"{workload.seed}:rows again",
            replay=replayed.replay if replayed else None,
            token_ids=workload.token_ids and replayed is None,
            ignore_eos=workload.ignore_eos,
            max_tokens_field=self._settings.max_tokens_field,
            extra_body=workload.extra_body,
            tokenizer_json=tokenizer_text(workload.tokenizer) if workload.tokenizer else None,
            server_metrics=self._metrics_ask(window),
            level=_level_spec(window.test) if window.test else None,
            client_limits=_client_limits(self._settings.limits),
            workers=AUTO if self._settings.workers == "auto" else self._settings.workers,
        )

    def _metrics_ask(self, window: Window) -> MetricsAsk | None:
        sources = window.server_metrics if self._settings.server_metrics else ()
        paths = tuple(dict.fromkeys(source.path for source in sources))
        return MetricsAsk(paths=paths, names=wanted_names(sources)) if sources else None

    def _calibration_key(self, model: str, window: Window, scenario: Scenario) -> tuple[str, ...]:
        workload = window.workload
        return (model, workload.api.value, str(workload.prefix_tokens), scenario.text, str(workload.tokenizer))


def _client_limits(limits: Limits) -> ClientLimits:
    return ClientLimits(lag_s=limits.lag_s, lag_share=limits.lag_share, cpu_cores=limits.cpu_cores)


def _answers(workload: Workload) -> str:
    """How answers arrive; see :attr:`RunInfo.answers`."""
    if not workload.api.generates:
        return "documents"
    return "streamed" if workload.stream else "whole"


def _replay_notes(replayed: ReplayWindow | None, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks about a replayed trace, and about how exactly its prefixes are reproduced."""
    if replayed is None:
        return ()
    return (*replayed.notes, *([WORDS] if replayed.shares and result["prompts"] == "words" else ()))


def _exact(window: Window, result: Mapping[str, Any]) -> bool:
    # The length of a later turn depends on answers, and on what a chat template adds to each message.
    return _generated(window) and window.scenario.conversations is None and result["prompts"] != "words"


def _generated(window: Window) -> bool:
    """Whether prompts are made here, those of some part of a mix at least."""
    return any(part.trace is None and part.dataset is None for part in window.scenario.parts)


def _length_notes(window: Window, result: Mapping[str, Any]) -> tuple[str, ...]:
    """Remarks about prompts whose lengths are approximate although there is a tokenizer."""
    if not _generated(window) or not window.workload.tokenizer or result["prompts"] != "words":
        return ()
    return ("prompt lengths are approximate: too few words are single tokens in this tokenizer",)


def _proxy_notes(access: Access) -> tuple[str, ...]:
    """Remarks about a proxy between us and the server."""
    if access.proxy is None:
        return ()
    return (f"measured through {access.proxy.shown}, which adds to every latency",)


def _load(window: Window, replayed: ReplayWindow | None) -> dict[str, Any]:
    """The fields of a spec that a load level decides, and how long the window is."""
    workload = window.workload
    level = window.level
    if replayed is not None:
        length = replayed.duration_s
        return {"rate": replayed.rate, "arrivals": "trace", "duration_s": length, "max_duration_s": length}
    spans = {"duration_s": workload.duration_s, "max_duration_s": workload.longest_s}
    if isinstance(level, Concurrency):
        return {"concurrency": level.in_flight, "arrivals": "constant", **spans}
    if isinstance(level, RequestRate):
        return {"rate": level.rate, "arrivals": level.arrivals.value, "burstiness": level.burstiness, **spans}
    if isinstance(level, Users):
        return {"users": level.count, "arrivals": "constant", **spans}
    if isinstance(level, Stages):
        length = level.duration_s
        return {
            "rate": level.requests / length,
            "stages": tuple((stage.begin, stage.end, stage.span_s) for stage in level.stages),
            "arrivals": level.arrivals.value,
            "burstiness": level.burstiness,
            "duration_s": length,
            "max_duration_s": length,
        }
    raise UsageError.at("workload.speeds", "only a trace is replayed at a speed", value=level.text)


def _level_spec(plan: LevelPlan) -> LevelSpec:
    bounds = plan.bounds
    return LevelSpec(
        metrics=tuple(bound.metric for bound in bounds),
        limits=tuple(bound.limit for bound in bounds),
        allowed=tuple(bound.allowed for bound in bounds),
        certify=plan.certify,
        refute=plan.refute,
        dispersions=plan.dispersions,
        controls=controls_of(plan),
        requests=plan.requests,
        likely=plan.likely,
        near=plan.near,
        checkpoint=plan.checkpoint,
        replayed=plan.replayed,
    )
