"""The benchmark kind ``ome_job``: OME's BenchmarkJob, evaluated by our definitions.

It serves to compare with results that others measured with OME. The deployer's platform runs genai-bench near the
server and returns its files; :mod:`autotuner.benchmarks.genai_bench.results` describes what they contain.
"""

import math
import time
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from anyio.to_thread import run_sync
from pydantic import BeforeValidator, Field

from autotuner.benchmarks.genai_bench import results
from autotuner.benchmarks.genai_bench.limits import ENDS_ONLY, benchmark_job_refusals, overhead_notes, unmeasurable
from autotuner.benchmarks.genai_bench.results import Run
from autotuner.benchmarks.measuring.records import RunInfo
from autotuner.benchmarks.measuring.requirements import Limits
from autotuner.benchmarks.measuring.worker_session import WorkerOutput, keep_and_summarize
from autotuner.errors import Problem, UsageError
from autotuner.plugins.benchmark import Benchmark, Progress, Window
from autotuner.plugins.deployer import Deployer, Endpoint, HasPlatformBenchmark, PlatformBenchmark, PlatformRun
from autotuner.study.base import FrozenModel, number_text
from autotuner.study.check import Check
from autotuner.study.measurement import Measurement
from autotuner.study.spec import Model, StudySpec
from autotuner.study.text.forms import Duration
from autotuner.study.workload import Concurrency, Workload

MODEL = "vllm-model"
"""Model name that OME makes genai-bench request, whatever name the server uses."""
UNBOUNDED = 1_000_000
"""Requests of a run that is limited only by time; a BenchmarkJob requires a number."""
_NOT_CHECKED = frozenset({"sglang"})
"""Engines whose servers accept any model name."""
_WHOLE_RUN = (
    "the window is genai-bench's whole run: it includes the warm-up, the start of its users and its last requests, and "
    "requests that were cut off at its end are not reported"
)
_NO_SELF_CHECK = "genai-bench reports nothing about itself: it is unknown whether it kept up with the server"

_NO_FINISH = "genai-bench's results do not say how answers ended: those that the server aborted count as successes"


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


_Quantity = Annotated[
    str,
    BeforeValidator(_text, json_schema_input_type=str | int | float),
    Field(pattern=r"^[0-9]*\.?[0-9]+(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"),
]


class OmeJobSettings(FrozenModel):
    """Settings of ``ome_job``, under ``benchmark:`` in a study file."""

    claim: str = Field(min_length=1)
    """PersistentVolumeClaim in the namespace, which stores the results until they are read."""
    sub_path: str = Field(default="autotuner", min_length=1)
    """Folder in the volume. OME mounts it as ``/SUB_PATH``, so its name must not start like a system folder's."""
    image: str | None = Field(default=None, min_length=1)
    """Image with genai-bench. None: OME's default (ConfigMap ``benchmarkjob-config``)."""
    cpu: _Quantity | None = None
    """CPU request and limit of genai-bench. None: OME's default, 2."""
    memory: _Quantity | None = None
    """Memory request and limit of genai-bench. None: OME's default, 2Gi."""
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    """Node labels, in addition to the one for nodes that have the model."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """As in a pod specification, in addition to OME's toleration of ``nvidia.com/gpu``."""
    start_timeout: Duration = Field(default=600.0, gt=0)
    """Longest wait for each of: creation of the Job, scheduling, image pull."""
    extra_time: Duration = Field(default=300.0, gt=0)
    """How much longer than its window a run may take: genai-bench loads, and draws tables and plots."""


class OmeJob(Benchmark):
    """Measures with OME's BenchmarkJob."""

    kind: ClassVar[str] = "ome_job"
    Settings = OmeJobSettings

    def __init__(self, settings: OmeJobSettings, platform: PlatformBenchmark | None = None) -> None:
        super().__init__(settings)
        self._settings = settings
        self._platform = platform

    def for_deployer(self, deployer: Deployer) -> "OmeJob":
        """A benchmark bound to the deployer's platform. Raises ``UsageError`` if that has no BenchmarkJob."""
        if not isinstance(deployer, HasPlatformBenchmark):
            why = f"the deployer {deployer.kind} has no BenchmarkJob"
            remedy = "use deploy: ome, or benchmark: native or genai_bench"
            raise UsageError(Problem(where="benchmark.kind", value=self.kind, why=why, remedy=remedy))
        return OmeJob(self._settings, deployer.platform_benchmark)

    def for_study(self, spec: StudySpec, model: Model) -> "OmeJob":
        """Returns itself. Raises ``UsageError`` with everything that a BenchmarkJob does not support."""
        problems = [*benchmark_job_refusals(spec.workload), *unmeasurable(spec)]
        if spec.engine.kind not in _NOT_CHECKED and model.name != MODEL:
            why = f"a BenchmarkJob requests the model {MODEL}, and {spec.engine.kind} rejects any name but its own"
            problems.append(Problem(where="model.name", value=model.name or "", why=why, remedy=f"set it to {MODEL}"))
        if problems:
            raise UsageError(problems)
        return self

    async def preflight(self, workload: Workload) -> list[Check]:
        """Checks that a BenchmarkJob supports the workload, and the platform's own preconditions."""
        refused = [Check.fail(p.where, p.message, remedy=p.remedy) for p in benchmark_job_refusals(workload)]
        return [*refused, *await self._bound_platform().preflight(self._settings.model_dump())]

    async def measure(self, endpoint: Endpoint, window: Window) -> Measurement:
        """Runs one BenchmarkJob; records go to ``window.folder / window.records_name``."""
        workload = window.workload
        level = window.level
        began = [time.time()]
        only = workload.model_copy(update={"scenarios": (window.scenario,), "levels": (level,)})
        problems = benchmark_job_refusals(only)
        if window.headers:
            why = f"a BenchmarkJob cannot send request headers ({', '.join(window.headers)})"
            problems.append(Problem(where="benchmark.kind", value=self.kind, why=why, remedy="use native"))
        if problems or not isinstance(level, Concurrency):
            raise UsageError(problems)
        minutes = math.ceil(workload.duration_s / 60)

        def on_running() -> None:
            began[0] = time.time()
            window.on_progress(Progress(elapsed_s=0, total_s=60 * minutes, completed=0, failed=0, output_throughput=0))

        run = PlatformRun(
            scenario=window.scenario.text,
            in_flight=level.in_flight,
            minutes=minutes,
            requests=workload.requests or UNBOUNDED,
            labels=window.labels,
            settings=self._settings.model_dump(),
            on_running=on_running,
        )
        files = await self._bound_platform().run(endpoint, run)
        found = await run_sync(results.read, files, window.scenario, level.in_flight)
        info = RunInfo(
            window_ns=found.window_ns,
            begin_epoch_s=began[0],
            ends_only=True,
            untimed=True,
            notes=(*_notes(found, workload, minutes, endpoint.model), *overhead_notes(level.in_flight)),
        )
        return await run_sync(keep_and_summarize, WorkerOutput(rows=list(found.rows)), window, Limits(), info)

    def _bound_platform(self) -> PlatformBenchmark:
        if self._platform is None:
            why = "no deployer runs BenchmarkJobs"
            remedy = "use deploy: ome"
            raise UsageError(Problem(where="benchmark.kind", value=self.kind, why=why, remedy=remedy))
        return self._platform


def _notes(run: Run, workload: Workload, minutes: int, model: str) -> list[str]:
    """Remarks on any measurement with a BenchmarkJob, and on this one."""
    notes = [f"measured by genai-bench {run.version or 'of an unknown version'} in a BenchmarkJob of OME"]
    notes += [_WHOLE_RUN, _NO_SELF_CHECK, _NO_FINISH, ENDS_ONLY]
    if minutes * 60 != workload.duration_s:
        unit = "minute" if minutes == 1 else "minutes"
        asked = number_text(workload.duration_s)
        notes.append(
            f"workload.duration of {asked} s became {minutes} {unit}: BenchmarkJobs only support whole minutes"
        )
    if model != MODEL:
        notes.append(f"requests named the model {MODEL}, and the server calls it {model}")
    return notes
