"""What a study's answer rests on, beside its trials: comparison, doubts, failures, conditions, the study file."""

from autotuner.report.analysis import FailureGroup, caveats, failure_groups, trials_text
from autotuner.report.engine_defaults import engine_lines
from autotuner.report.overview import StudyOverview
from autotuner.report.result import StudyResult, trial_label
from autotuner.report.views.compared_figures import ComparedFigures, compared_figures
from autotuner.report.views.parameter_table import parameter_table
from autotuner.report.views.text_table import TextTable
from autotuner.report.views.window_tables import gpu_table, parts_table, server_table
from autotuner.study.base import FrozenModel
from autotuner.study.launch import Hardware
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.study_file.writer import render_study

LOGS_SHOWN = 3
"""Number of logs per group of failures; the other trials of the group failed the same way."""
_ON_THE_MACHINE = "machine"
"""The fact that says what the target's hardware is."""


class FailureLog(FrozenModel):
    """The end of the log of a failed trial."""

    trial: int
    label: str
    exit_code: int | None
    tail: str


class FailureNote(FrozenModel):
    """Trials that failed for the same reason."""

    cause: str
    message: str
    remedy: str
    fault: str
    """Whose fault it is: the configuration's, or the environment's."""
    trials: str
    """``trials 3, 4 and 7``."""
    logs: tuple[FailureLog, ...]
    more_logs: int


class Condition(FrozenModel):
    """Something that the numbers depend on."""

    name: str
    text: str


class StudyEvidence(FrozenModel):
    """What the answer rests on. Times are seconds since the epoch."""

    study: str
    engines: tuple[str, ...]
    """How the defaults of other engines compare, if the study has several; one line each."""
    caveats: tuple[str, ...]
    """Reasons to doubt the answer, the most serious one first."""
    compared: ComparedFigures
    parameters: TextTable | None
    parts: TextTable | None
    """Kinds of requests and stages of a load."""
    server: TextTable | None
    """The servers' own metrics."""
    gpus: TextTable | None
    failures: tuple[FailureNote, ...]
    """The most frequent one first."""
    started_at: float | None
    finished_at: float | None
    counts: str
    """``14 configurations (2 failed), 6 repeats``."""
    conditions: tuple[Condition, ...]
    """Hardware, programs, images, files."""
    learned: tuple[str, ...]
    """Earlier studies that the search learned from."""
    file: str
    """The study as a study file, without secrets."""


def study_evidence(result: StudyResult, overview: StudyOverview) -> StudyEvidence:
    """Collects what the answer rests on.

    Args:
        result: The study.
        overview: Its record, for the facts that its trials depend on.
    """
    started = [t.started_at for t in result.trials if t.started_at is not None]
    finished = [t.finished_at for t in result.trials if t.finished_at is not None]
    beginning = result.beginning
    return StudyEvidence(
        study=result.spec.name,
        engines=tuple(engine_lines(result)),
        caveats=caveats(result),
        compared=compared_figures(result),
        parameters=parameter_table(result),
        parts=parts_table(result),
        server=server_table(result),
        gpus=gpu_table(result),
        failures=tuple(_failure(group) for group in failure_groups(result.trials)),
        started_at=min(started, default=None),
        finished_at=max(finished, default=None),
        counts=_counts(result),
        conditions=tuple(_conditions(result, overview)),
        learned=() if beginning is None else tuple(found.text for found in beginning.learned),
        file=render_study(result.spec),
    )


def _failure(group: FailureGroup) -> FailureNote:
    logged = [t for t in group.trials if t.failure is not None and t.failure.log_tail]
    return FailureNote(
        cause=group.cause.replace("_", " "),
        message=group.message,
        remedy=group.remedy,
        fault=group.blame.value,
        trials=trials_text([t.number for t in group.trials]),
        logs=tuple(_log(trial) for trial in logged[:LOGS_SHOWN]),
        more_logs=max(0, len(logged) - LOGS_SHOWN),
    )


def _log(trial: Trial) -> FailureLog:
    failure = trial.failure
    return FailureLog(
        trial=trial.number,
        label=trial_label(trial),
        exit_code=None if failure is None else failure.exit_code,
        tail="" if failure is None else failure.log_tail,
    )


def _counts(result: StudyResult) -> str:
    own = [t for t in result.trials if t.role is not TrialRole.CONFIRM and t.state.finished]
    failed = sum(t.state is TrialState.FAILED for t in result.trials)
    repeats = sum(t.role is TrialRole.CONFIRM and t.state.finished for t in result.trials)
    return f"{len(own)} configurations ({failed} failed), {repeats} repeats"


def _conditions(result: StudyResult, overview: StudyOverview) -> list[Condition]:
    facts = overview.world
    found = []
    hardware = result.beginning.hardware if result.beginning is not None else None
    if hardware is not None and _ON_THE_MACHINE not in facts:
        found.append(Condition(name="hardware", text=_hardware_text(hardware)))
    elif hardware is not None:
        found.append(Condition(name="memory", text=_memory_text(hardware)))
    return [*found, *(Condition(name=name, text=fact.state) for name, fact in facts.items())]


def _hardware_text(hardware: Hardware) -> str:
    gpus = f", {hardware.gpus} GPUs {hardware.gpu_name}".rstrip() if hardware.gpus else ", no GPU"
    return f"{hardware.cpus} CPUs, {_memory_text(hardware)}{gpus}"


def _memory_text(hardware: Hardware) -> str:
    each = f", {hardware.gpu_memory_gb:.0f} GiB per GPU" if hardware.gpus and hardware.gpu_memory_gb else ""
    return f"{hardware.memory_gb:.0f} GiB{each}"
