"""The shape of :func:`autotuner.report.trial_data.trial_data`, for the description of the API."""

from autotuner.report.predictions import Prediction
from autotuner.report.trial_data import ArgvChange
from autotuner.report.views.outcome import Outcome
from autotuner.report.views.trial_change import TrialChange
from autotuner.study.base import FrozenModel
from autotuner.study.parameters.reference import ReferenceWord
from autotuner.study.trial import Trial


class SloFigure(FrozenModel):
    """An SLO and what was measured for it."""

    slo: str
    value: float | None
    met: bool | None
    """None: neither, because levels that it applies to were left out."""


class WindowDiagnosis(FrozenModel):
    """What explains the figures of a window."""

    scenario: str
    level: str
    sentences: tuple[str, ...]


class TrialDetails(FrozenModel):
    """Everything known about a trial."""

    study: str
    trial: Trial
    rank: int | None
    label: str
    """Its values as text."""
    outcome: Outcome
    reasons: tuple[str, ...]
    """Why it failed, does not count, or may not win."""
    changes: tuple[TrialChange | None, ...]
    """Change of each objective relative to the default."""
    objectives: tuple[str, ...]
    """``max output_throughput``."""
    simulated: bool
    slos: tuple[SloFigure, ...]
    diagnosis: tuple[WindowDiagnosis, ...]
    predictions: tuple[Prediction, ...]
    command: str
    """Shell line that starts its server, with its environment variables; empty if it had no process."""
    reference: ReferenceWord
    """What others are compared with: the study's baseline, or the default."""
    argv_changes: tuple[ArgvChange, ...]
    """Flags and environment variables (``env.NAME``) that differ from the command line of that trial."""
    repeats: tuple[int, ...]
    """Numbers of the trials that repeat it."""
    log: tuple[str, ...]
    """The end of the server's log."""
