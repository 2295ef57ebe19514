"""Trials of a study, and their logs."""

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel

from autotuner import Page, Trial, TrialRole, TrialState, Verification
from autotuner.report.trial_data import trial_data
from autotuner.report.views.latencies import WindowLatencies
from autotuner.report.views.trial_details import TrialDetails
from autotuner.report.views.trial_history import TrialHistory
from autotuner.server.callers import Reader, Studies, Tuner
from autotuner.server.documents import document, entries_of
from autotuner.server.routes.studies import Limit, Name, Offset

router = APIRouter(prefix="/api/v1/studies/{name}/trials", tags=["trials"])

MOST_LINES = 10_000
WINDOW = r"^(looks|measurements|capacities\.\d{1,6}\.levels)\.\d{1,6}$"
"""Place of a window in the JSON of a trial."""
Number = Annotated[int, Path(ge=0, description="Number of the trial; the default is trial 0.")]


class TrialSort(StrEnum):
    """Orders of the list of trials."""

    NUMBER = "number"
    VALUE = "value"
    STARTED = "started"
    DURATION = "duration"


@router.get("", summary="List the trials of a study", response_model=Page[Trial])
def list_trials(
    request: Request,
    studies: Studies,
    _: Reader,
    name: Name,
    state: Annotated[TrialState | None, Query(description="Only trials in this state.")] = None,
    role: Annotated[TrialRole | None, Query(description="Only trials with this purpose.")] = None,
    feasible: Annotated[
        bool | None,
        Query(description="Only trials that met the SLOs, or that missed them; failed and open ones are neither."),
    ] = None,
    cause: Annotated[str | None, Query(description="Only trials that failed for this cause.")] = None,
    sort: Annotated[TrialSort, Query(description="`value` is that of the first objective.")] = TrialSort.NUMBER,
    descending: Annotated[bool, Query(description="Largest first; trials without a value come last.")] = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """By number, unless sorted otherwise. Entries are those of `trials` in the result of the study."""
    found = studies.trials(
        name,
        sort=sort,
        descending=descending,
        state=state,
        role=role,
        feasible=feasible,
        cause=cause,
        limit=limit,
        offset=offset,
    )
    return entries_of(request).page(found)


@router.get("/{number}", summary="One trial", response_model=TrialDetails)
def show_trial(
    tuner: Tuner,
    studies: Studies,
    _: Reader,
    name: Name,
    number: Number,
    lines: Annotated[int, Query(ge=0, le=MOST_LINES, description="Log lines to include.")] = 15,
) -> Response:
    """The same as `autotuner show NAME NUMBER --json`: its rank, SLOs, diagnosis, predictions, and how its command line
    differs from the default's."""
    result = studies.result(name)
    trial = result.trial(number)
    return document(trial_data(result, trial, tuner.log_tail(trial, lines=lines)))


@router.get("/{number}/latencies", summary="Distributions of a window's latencies", response_model=WindowLatencies)
def latencies(
    tuner: Tuner,
    _: Reader,
    name: Name,
    number: Number,
    window: Annotated[
        str,
        Query(
            pattern=WINDOW,
            description="Place of the window in the trial: `measurements.0`, `looks.0` or `capacities.0.levels.3`.",
        ),
    ] = "measurements.0",
) -> Response:
    """Histograms and points of the distribution of each latency, from the request records; with the stored statistics.
    `missing` says why there are none, such as that the records are on another machine."""
    return document(tuner.latencies(name, number, window))


@router.get("/{number}/history", summary="A trial over time", response_model=TrialHistory)
def history(tuner: Tuner, _: Reader, name: Name, number: Number) -> Response:
    """Its phases, and what its server and its GPUs reported meanwhile."""
    return document(tuner.trial_history(name, number))


@router.get("/{number}/verification", summary="Check a trial's capacities", response_model=Verification)
def verify(tuner: Tuner, _: Reader, name: Name, number: Number) -> Response:
    """What `autotuner verify STUDY --json` says of this trial: its certified capacities, recomputed from the records on
    the server's machine. Status 422 if it searched for no capacity."""
    return document(tuner.verify_trial(name, number))


class LogTail(BaseModel):
    """The end of a log."""

    trial: int
    lines: list[str]


@router.get("/{number}/log", summary="The end of a trial's server log", response_model=LogTail)
def log(
    tuner: Tuner,
    studies: Studies,
    _: Reader,
    name: Name,
    number: Number,
    lines: Annotated[int, Query(ge=1, le=MOST_LINES, description="Most lines to return.")] = 200,
) -> Response:
    """Without secrets. If the file is gone, the lines that were stored with the trial's failure."""
    trial = studies.result(name).trial(number)
    return document({"trial": number, "lines": tuner.log_tail(trial, lines=lines)})
