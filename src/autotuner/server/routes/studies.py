"""Stored studies: lists, results, exports, and what may be changed."""

import logging
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import PlainTextResponse

from autotuner import Page, StudyOverview, StudyResult
from autotuner.api.remote.records import StudyRecords, records_of
from autotuner.errors import NotFoundError
from autotuner.report.exported.options import Form
from autotuner.report.exports import best_json, command_line
from autotuner.report.study_list import SortBy, StudyRows
from autotuner.report.views.study_details import StudyDetails, study_details
from autotuner.report.views.study_evidence import StudyEvidence, study_evidence
from autotuner.report.views.study_predictions import StudyPredictions, study_predictions
from autotuner.server.callers import Reader, Studies, Tuner, Writer
from autotuner.server.documents import Bodies, document, entries_of
from autotuner.study.spec import NAME_PATTERN

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/api/v1/studies", tags=["studies"])
rows_router = APIRouter(prefix="/api/v1", tags=["studies"])
"""Beside the other one, below which every name is that of a study."""

MOST = 1_000
"""Most entries of one page."""
Limit = Annotated[int, Query(ge=1, le=MOST, description="Most entries to return.")]
_LAST = 2**31 - 1
"""Largest position; databases have no larger integers than 2**63 - 1."""
Offset = Annotated[int, Query(ge=0, le=_LAST, description="Position of the first entry to return.")]

_TEXT = {"schema": {"type": "string"}}


@dataclass(frozen=True)
class _Same:
    """What a body was made from; equal to another one if both are the same objects."""

    result: StudyResult
    progress: StudyOverview

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.result is other.result and self.progress is other.progress

    __hash__ = None  # type: ignore[assignment]


class ReportForm(StrEnum):
    """Forms of a report that browsers can save."""

    HTML = "html"
    MD = "md"


class ExportForm(StrEnum):
    """Forms of an export."""

    JSON = "json"
    CSV = "csv"
    OLDER = "older"


def stored(tuner: Tuner, name: Annotated[str, Path(pattern=f"^{NAME_PATTERN}$", examples=["chat-8b"])]) -> str:
    """The name of a stored study. Other methods of the API also take the path of a file, which no client may name."""
    if not tuner.is_stored(name):
        raise NotFoundError.at("study", "not in the store", value=name)
    return name


Name = Annotated[str, Depends(stored)]


@router.get("", summary="List studies", response_model=Page[StudyOverview])
def list_studies(
    request: Request,
    studies: Studies,
    _: Reader,
    state: Annotated[str | None, Query(description="Only studies in this state, such as running.")] = None,
    engine: Annotated[str | None, Query(description="Only studies of this engine.")] = None,
    match: Annotated[str | None, Query(description="Only matching names, with `*` and `?`.")] = None,
    sort: SortBy = SortBy.AGE,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Each with its progress and its answer so far; the most recently changed one first, unless sorted otherwise."""
    found = studies.studies(
        sort=sort,
        state=state,
        engine=engine,
        match=match,
        limit=limit,
        offset=offset,
        on_unreadable=logger.warning,
    )
    return entries_of(request).page(found)


@rows_router.get("/study-rows", summary="List studies for a page")
def list_rows(
    studies: Studies,
    _: Reader,
    standing: Annotated[str | None, Query(description="Only studies with this standing, such as queued.")] = None,
    engine: Annotated[str | None, Query(description="Only studies of this engine.")] = None,
    contains: Annotated[str | None, Query(description="Only names that contain this, in any case.")] = None,
    sort: SortBy = SortBy.AGE,
    backward: Annotated[bool, Query(description="The other way round.")] = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> StudyRows:
    """What the web UI shows of each study: its progress and its answer so far, without its file."""
    return studies.rows(
        sort=sort,
        backward=backward,
        standing=standing,
        engine=engine,
        contains=contains,
        limit=limit,
        offset=offset,
        on_unreadable=logger.warning,
    )


@router.get("/{name}", summary="The result of a study")
def show_study(studies: Studies, _: Reader, name: Name) -> Response:
    """The same as `autotuner show NAME --json`: spec, trials, answer, gain, cost."""
    return document(studies.result(name))


@router.get("/{name}/records", summary="What is stored of a study", response_model=StudyRecords)
def records(studies: Studies, _: Reader, name: Name) -> Response:
    """For the command line's `--server`, which derives everything else from it. Each part is JSON text in which numbers
    may be `Infinity`, as in the store."""
    return document(records_of(studies.overview(name), studies.result(name).trials))


@router.get("/{name}/overview", summary="Progress and answer of a study", response_model=StudyOverview)
def overview(studies: Studies, _: Reader, name: Name) -> Response:
    """Without its trials."""
    return document(studies.overview(name))


@router.get("/{name}/details", summary="A study for a page", response_model=StudyDetails)
def details(request: Request, studies: Studies, _: Reader, name: Name) -> Response:
    """Its answer, and one light row per trial, best first; what the web UI shows."""
    now = time.time()  # before it is read: a page reads again what changes later
    progress = studies.overview(name)
    result = studies.result(name)
    bodies: Bodies = request.app.state.bodies

    def made() -> dict[str, Any]:
        found = study_details(result, progress, now=now)
        return {field: value for field, value in found if field != "read_at"}

    return bodies.response(request, name, _Same(result, progress), made, {"read_at": now})


@router.get("/{name}/evidence", summary="What the answer rests on", response_model=StudyEvidence)
def evidence(studies: Studies, _: Reader, name: Name) -> Response:
    """Comparison with the default, caveats, failures, hardware and versions, the study file; what a report shows beside
    `details`."""
    return document(study_evidence(studies.result(name), studies.overview(name)))


@router.get("/{name}/predictions", summary="Predictions of the search", response_model=StudyPredictions)
def predictions(studies: Studies, _: Reader, name: Name) -> Response:
    """What the search predicted for each trial before its launch, and what was measured."""
    return document(study_predictions(studies.result(name)))


@router.get("/{name}/best", summary="The best configuration")
def best(studies: Studies, _: Reader, name: Name) -> Response:
    """The same as `autotuner best NAME --as json`."""
    return document(best_json(studies.result(name)))


@router.get("/{name}/command", summary="The command that starts the winner", response_class=PlainTextResponse)
def command(studies: Studies, _: Reader, name: Name) -> str:
    """One shell line; secrets are references to variables."""
    result = studies.result(name)
    if result.winner is None:
        raise NotFoundError.at(f"winner of {name}", "no trial is feasible")
    return command_line(result) + "\n"


@router.get("/{name}/manifest", summary="The winner as a file for another system", response_class=PlainTextResponse)
def manifest(
    tuner: Tuner,
    _: Reader,
    name: Name,
    form: Annotated[Form, Query(description="The system.")],
    image: Annotated[str | None, Query(description="Container image of the server.")] = None,
    namespace: Annotated[str | None, Query(description="Namespace of the objects.")] = None,
    pvc: Annotated[str | None, Query(description="PersistentVolumeClaim that holds the model.")] = None,
    model: Annotated[str | None, Query(description="Name of the OME model.")] = None,
) -> str:
    """YAML, as `autotuner best NAME --as FORM` prints it."""
    return tuner.manifest(name, form.value, image=image, namespace=namespace, pvc=pvc, model=model).text


@router.get(
    "/{name}/report",
    summary="The report of a study",
    response_class=Response,
    responses={200: {"content": {"text/html": _TEXT, "text/markdown": _TEXT}}},
)
def report(tuner: Tuner, studies: Studies, _: Reader, name: Name, form: ReportForm = ReportForm.HTML) -> Response:
    """As `autotuner report NAME --format FORM` writes it, as a file to save: `html` needs no server and no network."""
    media = "text/html" if form is ReportForm.HTML else "text/markdown"
    text = tuner.report_text(studies.result(name), form.value)
    # Saved, not shown: a page of this server would be asked to trust what studies contain.
    headers = {"Content-Disposition": f'attachment; filename="{name}.{form.value}"'}
    return Response(text, media_type=media, headers=headers)


@router.get(
    "/{name}/export",
    summary="All results of a study",
    response_class=Response,
    responses={200: {"content": {"application/json": {}, "text/csv": _TEXT}}},
)
def export(tuner: Tuner, _: Reader, name: Name, form: ExportForm = ExportForm.JSON) -> Response:
    """`csv` has one row per measurement."""
    media = "text/csv" if form is ExportForm.CSV else "application/json"
    return Response(tuner.export(name, form.value), media_type=media)


@router.post("/{name}/stop", summary="Stop a running study", status_code=202)
def stop(tuner: Tuner, _: Writer, name: Name) -> Response:
    """Its process ends the running trials, releases what they hold, and keeps finished trials. `stopping` is false if
    no process runs the study."""
    return document({"stopping": tuner.stop(name)}, 202)


@router.delete("/{name}", summary="Delete a study", status_code=204)
def delete(tuner: Tuner, _: Writer, name: Name) -> None:
    """With all its results and files. Status 409 if a process runs it."""
    tuner.delete(name)
