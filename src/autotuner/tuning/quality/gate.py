"""Quality check of one trial on its running server."""

from collections.abc import Callable, Sequence
from pathlib import Path

from anyio.to_thread import run_sync
from pydantic import BaseModel

from autotuner.benchmarks.quality import records
from autotuner.benchmarks.quality.probe import METHODS, Probe
from autotuner.benchmarks.quality.prompts import prompts
from autotuner.net.target import Target
from autotuner.plugins.deployer import Endpoint
from autotuner.scoring.agreement import judge, undecidable
from autotuner.store.paths import trial_folder
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.quality.result import QualityResult, QualityState
from autotuner.study.quality.spec import QualitySpec
from autotuner.study.trial import Trial, TrialRole
from autotuner.study.workload import Concurrency
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.quality.coverage import is_checked
from autotuner.tuning.trials.server_checks import or_died

_IN_FLIGHT = 8
"""Requests in flight if the load does not fix them."""


class QualityGate:
    """Asks a trial's server and compares its answers with the default's.

    Args:
        prepared: The study; of several engines, the trial's.
        trial: The trial, by the engine's own names of parameters.
        folder: Its folder, which keeps the answers.
        default: The trial of the engine's default, once it has been measured.
    """

    def __init__(self, prepared: Prepared, trial: Trial, folder: Path, default: Callable[[], Trial | None]) -> None:
        self._prepared = prepared
        self._spec = prepared.spec.quality
        self._trial = trial
        self._folder = folder
        self._default = default

    @property
    def due(self) -> bool:
        """Whether the server is asked: the default's always, others if they change arithmetic; no repeats, whose
        configurations were checked before."""
        if self._spec is None or self._trial.role is TrialRole.CONFIRM:
            return False
        return self._is_reference or self._checked()

    @property
    def _is_reference(self) -> bool:
        """Whether it is a default: each engine's configurations are compared with that engine's own."""
        return self._trial.role is TrialRole.DEFAULT or self._trial.engine_default

    async def result(self, endpoint: Endpoint) -> QualityResult:
        """Asks the server. Raises ``TrialFailedError`` if it dies, or the answers cannot be stored."""
        if self._is_reference:
            return await self._reference(endpoint)
        return await self._compared(endpoint)

    def _probe(self, endpoint: Endpoint, asked: Sequence[str] = ()) -> Probe:
        """Asks these prompts, or the built-in ones."""
        spec = self._spec or QualitySpec()
        return Probe(
            Target(endpoint.info_url or endpoint.url, endpoint.access, endpoint.headers),
            endpoint.model,
            asked or prompts(spec.prompts),
            tokens=spec.tokens,
            in_flight=self._in_flight(),
            limit_s=spec.time_limit_s,
        )

    async def _reference(self, endpoint: Endpoint) -> QualityResult:
        found = await or_died(self._probe(endpoint).reference, endpoint)
        await run_sync(self._store, records.REFERENCE_FILE, found)
        seconds = sum(a.seconds for a in (found.full, *found.controls))
        why = undecidable(found)
        state = QualityState.REFERENCE
        return QualityResult(
            state=state,
            method=found.full.method,
            prompts=found.full.prompts,
            reference=self._trial.number,
            seconds=seconds,
            why=why,
        )

    async def _compared(self, endpoint: Endpoint) -> QualityResult:
        default = self._default()
        if default is None or default.quality is None:
            return _undecided("the default has not been asked")
        folder = trial_folder(default.study, default.number)
        reference = await run_sync(records.read_reference, folder)
        if reference is None:
            return _undecided(f"the default's answers are missing: {folder / records.REFERENCE_FILE}")
        method = next((m for m in METHODS if m.text == reference.full.method), None)
        if method is None:
            return _undecided(f"the default's server did not answer: {reference.full.problem or 'no reason'}")
        probe = self._probe(endpoint, reference.prompts)
        answers = await or_died(lambda: probe.answers(method), endpoint)
        if not answers.answered and answers.refused and method.probabilities:
            # Some engines cannot return log-probabilities with speculative decoding.
            answers = await or_died(lambda: probe.answers(method.of_texts), endpoint)
        await run_sync(self._store, records.ANSWERS_FILE, answers)
        return judge(reference, answers).replaced(reference=default.number)

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
        return min(max(loads, default=_IN_FLIGHT), (self._spec or QualitySpec()).prompts)


def _undecided(why: str) -> QualityResult:
    return QualityResult(state=QualityState.UNDECIDED, why=why)
