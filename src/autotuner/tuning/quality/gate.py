"""Quality check of one trial on its running server."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from anyio.to_thread import run_sync
from pydantic import BaseModel

from autotuner.benchmarks.quality import records
from autotuner.benchmarks.quality.probe import METHODS, Probe
from autotuner.benchmarks.quality.prompts import prompts
from autotuner.net.target import Target
from autotuner.plugins.deployer import Endpoint
from autotuner.scoring.accuracy import compare_tasks, own_accuracy
from autotuner.scoring.agreement import compare_engines, judge, quality_violation, undecidable
from autotuner.store.paths import trial_folder
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Labels
from autotuner.study.quality.answers import Reference
from autotuner.study.quality.result import EngineComparison, QualityResult, QualityState
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.quality.tasks import TaskRun
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study.workload import Concurrency
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.quality.coverage import is_checked
from autotuner.tuning.quality.harness import evaluate
from autotuner.tuning.trials.server_checks import or_died

_IN_FLIGHT = 8
"""Requests in flight if the load does not fix them."""


@dataclass(frozen=True)
class References:
    """The trials that others are compared with."""

    default: Callable[[], Trial | None]
    """Of the engine's default, once it has been measured."""
    baseline: Callable[[], Trial | None]
    """Of the study's default; with several engines, of the first one's."""
    several: bool = False
    """Whether the study has several engines."""


class QualityGate:
    """Asks a trial's server and compares its answers with the default's.

    Args:
        prepared: The study; of several engines, the trial's.
        trial: The trial, by the engine's own names of parameters.
        folder: Its folder, which keeps the answers.
        references: What it is compared with.
        labels: The trial's.
    """

    def __init__(self, prepared: Prepared, trial: Trial, folder: Path, references: References, labels: Labels) -> None:
        self._prepared = prepared
        self._spec = prepared.spec.quality or QualitySpec()
        self._trial = trial
        self._folder = folder
        self._references = references
        self._labels = labels
        self._level = self._spec.level(engines=references.several)
        self._word = prepared.spec.reference_word

    @property
    def due(self) -> bool:
        """Whether the server is asked: the default's always, others if they change arithmetic; no repeats, whose
        configurations were checked before."""
        if self._prepared.spec.quality is None or self._trial.role is TrialRole.CONFIRM:
            return False
        return self._is_reference or self._checked() or self._of_another_engine

    @property
    def _is_reference(self) -> bool:
        """Whether it is a default: each engine's configurations are compared with that engine's own."""
        return self._trial.role is TrialRole.DEFAULT or self._trial.engine_default

    @property
    def _of_another_engine(self) -> bool:
        """Whether it is a configuration of an engine whose default was compared with the baseline."""
        default = self._references.default()
        return default is not None and default.quality is not None and default.quality.engine is not None

    async def result(self, endpoint: Endpoint) -> QualityResult:
        """Asks the server. Raises ``TrialFailedError`` if it dies, or the answers cannot be stored."""
        if self._is_reference:
            return await self._reference(endpoint)
        default = self._references.default()
        theirs = default.quality if default is not None else None
        engine = theirs.engine if theirs is not None else None
        if theirs is not None and not self._checked():
            inherited = theirs.replaced(state=QualityState.INHERITED, seconds=0.0, tasks_s=0.0)
            return inherited.replaced(reference=_number(default))
        found = (await self._compared(endpoint, default)).replaced(engine=engine)
        tasks = self._spec.tasks
        if tasks is None or quality_violation(found, self._spec.replaced(tasks=None)) is not None:
            return found  # what is rejected already need not be evaluated
        return await self._with_tasks(tasks, found, endpoint, self._references.baseline())

    def _probe(self, endpoint: Endpoint, asked: Sequence[str] = ()) -> Probe:
        """Asks these prompts, or the built-in ones."""
        spec = self._spec
        return Probe(
            _target(endpoint),
            endpoint.model,
            asked or prompts(spec.prompts),
            tokens=spec.tokens,
            in_flight=min(self._in_flight(), spec.prompts),
            limit_s=spec.time_limit_s,
        )

    async def _reference(self, endpoint: Endpoint) -> QualityResult:
        other = self._references.baseline() if self._trial.engine_default else None
        baseline = await self._read_reference(other)
        asked = baseline.prompts if baseline is not None else ()
        own = await or_died(self._probe(endpoint, asked).reference, endpoint)
        await run_sync(self._store, records.REFERENCE_FILE, own)
        found = QualityResult(
            state=QualityState.REFERENCE,
            method=own.full.method,
            prompts=own.full.prompts,
            reference=self._trial.number,
            confidence=1 - self._level,
            seconds=sum(a.seconds for a in (own.full, *own.controls)),
            once_s=own.full.seconds,
            why=undecidable(own),
        )
        if self._trial.engine_default:
            found = found.replaced(engine=self._across(baseline, own, other))
        tasks = self._spec.tasks
        return await self._with_tasks(tasks, found, endpoint, other) if tasks is not None else found

    def _across(self, baseline: Reference | None, own: Reference, other: Trial | None) -> EngineComparison:
        if baseline is None:
            return EngineComparison(reference=_number(other), why=_no_answers(other))
        return compare_engines(baseline, own, self._level).replaced(reference=_number(other))

    async def _compared(self, endpoint: Endpoint, default: Trial | None) -> QualityResult:
        if default is None or default.quality is None:
            return _undecided(f"the {self._word} has not been asked")
        reference = await self._read_reference(default)
        if reference is None:
            folder = trial_folder(default.study, default.number)
            return _undecided(f"the {self._word}'s answers are missing: {folder / records.REFERENCE_FILE}")
        method = next((m for m in METHODS if m.text == reference.full.method), None)
        if method is None:
            return _undecided(f"the {self._word}'s server did not answer: {reference.full.problem or 'no reason'}")
        probe = self._probe(endpoint, reference.prompts)
        answers = await or_died(lambda: probe.answers(method), endpoint)
        if not answers.answered and answers.refused and method.probabilities:
            # Some engines cannot return log-probabilities with speculative decoding.
            answers = await or_died(lambda: probe.answers(method.of_texts), endpoint)
        await run_sync(self._store, records.ANSWERS_FILE, answers)
        return judge(reference, answers, self._level).replaced(reference=default.number)

    async def _with_tasks(
        self, tasks: TasksSpec, found: QualityResult, endpoint: Endpoint, other: Trial | None
    ) -> QualityResult:
        """The result with the accuracy in the tasks, compared with that of another trial if there is one."""

        async def work() -> TaskRun:
            return await evaluate(
                tasks,
                _target(endpoint),
                endpoint.model,
                in_flight=self._in_flight(),
                labels=self._labels,
                folder=self._folder,
            )

        own = await or_died(work, endpoint)
        await run_sync(self._store, records.SCORES_FILE, own)
        if other is None:
            return found.replaced(tasks=own_accuracy(tasks.names, own), tasks_s=own.seconds)
        folder = trial_folder(other.study, other.number)
        default = await run_sync(records.read_scores, folder) or TaskRun(problem="its file is missing")
        return found.replaced(tasks=compare_tasks(tasks.names, default, own, self._level), tasks_s=own.seconds)

    async def _read_reference(self, trial: Trial | None) -> Reference | None:
        if trial is None:
            return None
        return await run_sync(records.read_reference, trial_folder(trial.study, trial.number))

    def _checked(self) -> bool:
        study = self._prepared
        return is_checked(study.spec, study.engine, study.fixed, self._trial.configuration)

    def _store(self, name: str, answers: BaseModel) -> None:
        try:
            records.write(self._folder, name, answers)
        except OSError as error:
            message = f"cannot write {self._folder / name}: {error.strerror or error}"
            remedy = "make room in AUTOTUNER_HOME"
            raise TrialFailedError.because(FailureCause.DISK_FULL, message, remedy=remedy) from error

    def _in_flight(self) -> int:
        loads = [level.in_flight for level in self._prepared.spec.workload.levels if isinstance(level, Concurrency)]
        return max(loads, default=_IN_FLIGHT)


def _target(endpoint: Endpoint) -> Target:
    return Target(endpoint.info_url or endpoint.url, endpoint.access, endpoint.headers)


def _number(trial: Trial | None) -> int | None:
    return trial.number if trial is not None else None


def _no_answers(baseline: Trial | None) -> str:
    if baseline is not None and baseline.state is TrialState.FAILED:
        return f"trial {baseline.number} failed"
    asked = baseline is not None and baseline.quality is not None
    return "the baseline's answers are missing" if asked else "the baseline was not asked"


def _undecided(why: str) -> QualityResult:
    return QualityResult(state=QualityState.UNDECIDED, why=why)
