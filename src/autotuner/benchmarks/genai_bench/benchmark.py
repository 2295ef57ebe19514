"""The benchmark kind ``genai_bench``: genai-bench from a separate installation, evaluated by our definitions.

It serves to compare with results that others measured with genai-bench; ``docs/adr/0005-genai-bench.md`` explains the
design.
"""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import anyio
from anyio.to_thread import run_sync
from pydantic import Field

from autotuner.benchmarks.genai_bench.limits import ENDS_ONLY, overhead_notes, refusals, unmeasurable
from autotuner.benchmarks.genai_bench.timeline import Plan
from autotuner.benchmarks.genai_bench.worker import GenaiSpec, kept_environment
from autotuner.benchmarks.measuring.inputs import tokenizer_text
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.measuring.worker_session import WorkerOutput, keep_and_summarize, run_worker
from autotuner.concurrency import run_program
from autotuner.errors import Problem, UsageError
from autotuner.net.target import DIRECT
from autotuner.plugins.benchmark import Benchmark, Window
from autotuner.plugins.deployer import Endpoint
from autotuner.study.base import FrozenModel
from autotuner.study.check import Check
from autotuner.study.measurement import Measurement
from autotuner.study.spec import Model, StudySpec
from autotuner.study.text.forms import Duration
from autotuner.study.workload import Concurrency, LoadLevel, TokenLengths, Workload

WORKER = "autotuner.benchmarks.genai_bench.worker"
COMMAND_VARIABLE = "AUTOTUNER_GENAI_BENCH"
VERSION = "0.0.5"
_INSTALL = (
    "python3.12 -m venv ~/genai-bench && ~/genai-bench/bin/pip install genai-bench==0.0.5 (Python 3.10 to 3.12), then "
    f"set benchmark.command or {COMMAND_VARIABLE} to ~/genai-bench/bin/genai-bench"
)
_VERSION_TIMEOUT_S = 60.0
_UNANSWERED = "requests that never ended: {}; genai-bench has no request timeout, so as many of its users were blocked"


class GenaiBenchSettings(FrozenModel):
    """Settings of ``genai_bench``, under ``benchmark:`` in a study file."""

    command: str | tuple[str, ...] | None = None
    """Executable, or command line as a list. None: AUTOTUNER_GENAI_BENCH, else ``genai-bench`` on PATH."""
    backend: Literal["sglang", "vllm", "openai"] | None = None
    """Its ``--api-backend``. None: ``vllm`` if ``workload.ignore_eos`` is set, else ``openai``."""
    tokenizer: str | None = None
    """Local tokenizer.json or its folder. None: ``workload.tokenizer``, else the model's folder."""
    extra_args: tuple[str, ...] = ()
    """Additional options of ``genai-bench benchmark``."""
    api_key_env: str | None = None
    """Name of an environment variable whose value is sent as a bearer token; the file never contains the key itself."""
    start_timeout: Duration = Field(default=120.0, gt=0)
    """Longest wait for its first request; loading it takes some seconds."""
    limits: Limits = Limits()
    """When genai-bench itself counts as the bottleneck."""


class GenaiBench(Benchmark):
    """Measures with genai-bench."""

    kind: ClassVar[str] = "genai_bench"
    Settings = GenaiBenchSettings

    def __init__(self, settings: GenaiBenchSettings, model_folder: str | None = None) -> None:
        super().__init__(settings)
        self._settings = settings
        self._model_folder = model_folder

    def for_study(self, spec: StudySpec, model: Model) -> "GenaiBench":
        """A benchmark that falls back to the tokenizer in the model's folder. Raises ``UsageError`` for metrics that
        genai-bench cannot measure."""
        problems = unmeasurable(spec)
        if problems:
            raise UsageError(problems)
        has_one = (Path(model.path).expanduser() / "tokenizer.json").is_file()
        return GenaiBench(self._settings, model.path if has_one else None)

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Measures one window through ``endpoint.client``; records go to ``window.folder / window.records_name``."""
        spec = await run_sync(self._spec, endpoint, window)
        output = await run_worker(endpoint.client, WORKER, spec.to_json(), window, endpoint.pids)
        info = RunInfo(
            window_ns=output.result["window_ns"],
            begin_epoch_s=output.result["begin_epoch_s"],
            client_cpu_cores=output.result["client_cpu_cores"],
            foreign_cpu_cores=output.foreign_cpu_cores,
            ends_only=True,
            notes=(*endpoint.client.caveats, *_notes(window.level, output)),
        )
        return await run_sync(keep_and_summarize, output, window, self._settings.limits, info)

    async def preflight(self, workload: Workload) -> list[Check]:
        """Checks that genai-bench is installed and can measure this workload."""
        problems = await run_sync(self._problems, workload)
        refused = [Check.fail(p.where, p.message, remedy=p.remedy) for p in problems]
        return [await self._installed(), *refused]

    def _problems(self, workload: Workload) -> list[Problem]:
        problems = refusals(workload, self._backend(workload), self._settings.extra_args)
        try:
            self._tokenizer(workload)
        except UsageError as error:
            problems += error.problems
        try:
            self._api_key({})
        except UsageError as error:
            problems += error.problems
        return problems

    async def _installed(self) -> Check:
        command = self._command()
        name = "genai-bench"
        found = shutil.which(command[0])
        if found is None:
            detail = f"{command[0]} is not installed or not executable"
            return Check.fail(name, detail, remedy=_INSTALL)
        output = ""
        with anyio.move_on_after(_VERSION_TIMEOUT_S):
            _, output = await run_program([found, *command[1:], "--version"], env=kept_environment())
        output = output.strip()
        version = re.search(r"genai-bench version (\S+)", output)
        if version is None:
            last = output.rpartition("\n")[2] or "no output"
            detail = f"{found} --version: {last[:200]}"
            return Check.fail(name, detail, remedy=_INSTALL)
        if version[1] != VERSION:
            detail = f"{found} is version {version[1]}; only {VERSION} is tested"
            remedy = f"install genai-bench=={VERSION}"
            return Check.warn(name, detail, remedy=remedy)
        return Check.ok(name, f"{found} {version[1]}")

    def _command(self) -> tuple[str, ...]:
        given = self._settings.command or os.environ.get(COMMAND_VARIABLE) or "genai-bench"
        first, *rest = (given,) if isinstance(given, str) else given
        return (str(Path(first).expanduser()), *rest)

    def _backend(self, workload: Workload) -> str:
        return self._settings.backend or ("vllm" if workload.ignore_eos else "openai")

    def _tokenizer(self, workload: Workload) -> str:
        for path, where in (
            (self._settings.tokenizer, "benchmark.tokenizer"),
            (workload.tokenizer, "workload.tokenizer"),
            (self._model_folder, "model"),
        ):
            if path:
                return tokenizer_text(path, where, counted=False)
        why = "genai-bench needs a tokenizer for its prompts; neither the study nor the model's folder has one"
        raise UsageError(
            Problem(where="benchmark.tokenizer", why=why, remedy="give the path of a local tokenizer.json")
        )

    def _api_key(self, headers: Mapping[str, str]) -> str | None:
        """The bearer token. Raises :class:`UsageError` for headers that genai-bench cannot send."""
        name = self._settings.api_key_env
        key = None
        if name:
            key = os.environ.get(name)
            if not key:
                why = f"the environment variable {name} is not set"
                remedy = f"export {name}=... or remove it here"
                raise UsageError(Problem(where="benchmark.api_key_env", value=name, why=why, remedy=remedy))
        for header, value in headers.items():
            scheme, _, token = value.partition(" ")
            if header.lower() != "authorization" or scheme.lower() != "bearer":
                why = f"genai-bench sends no header except a bearer token ({header})"
                raise UsageError(Problem(where="benchmark.kind", value=self.kind, why=why, remedy="use native"))
            key = token.strip()
        return key

    def _spec(self, endpoint: Endpoint, window: Window) -> GenaiSpec:
        workload = window.workload
        scenario = window.scenario
        level = window.level
        only = workload.model_copy(update={"scenarios": (scenario,), "levels": (level,)})
        problems = refusals(only, self._backend(workload), self._settings.extra_args)
        if endpoint.access != DIRECT:
            why = "genai-bench supports neither query parameters, nor custom certificates, nor proxies"
            problems.append(Problem(where="benchmark.kind", value=self.kind, why=why, remedy="use native"))
        if problems or not isinstance(level, Concurrency):
            raise UsageError(problems)
        plan = Plan(
            concurrency=level.in_flight,
            warmup_s=workload.warmup_s,
            duration_s=workload.duration_s,
            requests=workload.requests,
            request_timeout_s=workload.request_timeout_s,
            asked_input=_fixed(scenario.input),
            asked_output=_fixed(scenario.output),
        )
        return GenaiSpec(
            command=self._command(),
            url=endpoint.url,
            model=endpoint.model,
            backend=self._backend(workload),
            scenario=scenario.text,
            plan=plan,
            tokenizer_json=self._tokenizer(workload),
            extra_body=workload.extra_body,
            extra_args=self._settings.extra_args,
            api_key=self._api_key(window.headers or {}),
            start_timeout_s=self._settings.start_timeout,
        )


def _fixed(lengths: TokenLengths | None) -> int | None:
    return lengths.a if lengths and lengths.kind == "fixed" else None


def _notes(level: LoadLevel, output: WorkerOutput) -> tuple[str, ...]:
    notes = [ENDS_ONLY, *(overhead_notes(level.in_flight) if isinstance(level, Concurrency) else ())]
    if output.result["unanswered"]:
        notes.append(_UNANSWERED.format(output.result["unanswered"]))
    return tuple(notes)
