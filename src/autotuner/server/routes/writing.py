"""Studies that clients create, edit and start."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field

from autotuner import CheckedStudy, ClientStudies, Plan, QueueEntry, StudyOverview, TokenScope
from autotuner.server.callers import Caller, Reader, Tuner, Writer
from autotuner.server.documents import document
from autotuner.server.routes.studies import Name

router = APIRouter(prefix="/api/v1/studies", tags=["studies"])

_STUDY = """\
name: chat-8b
model: Qwen/Qwen3-8B
engine: {kind: simulated, gpu: H100}
parameters: {mem-fraction-static: [0.8, 0.9]}
workload: {scenarios: "D(300,64)", concurrency: [8, 32]}
objective: max output_throughput
"""
Priority = Annotated[int, Field(ge=-1000, le=1000, description="Studies with a higher priority are taken first.")]


class StudyDocument(BaseModel):
    """A study file."""

    model_config = ConfigDict(extra="forbid")

    study: str | dict[str, Any] = Field(
        description="The file's text (YAML or JSON), or its content.", examples=[_STUDY], max_length=1 << 20
    )


class PlanRequest(StudyDocument):
    """A study to plan."""

    preflight: bool = Field(default=False, description="Check the server's machine and the deployment target as well.")


class NewStudy(StudyDocument):
    """A study to store."""

    start: bool = Field(default=False, description="Put it into the queue, too.")
    priority: Priority = 0


class Start(BaseModel):
    """How to start a study."""

    model_config = ConfigDict(extra="forbid")

    priority: Priority = 0


class Clone(BaseModel):
    """Where to copy a study to."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["chat-8b-copy"], description="Name of the new study.")


def client_studies(request: Request, tuner: Tuner, caller: Caller) -> ClientStudies:
    """The studies as the client may change them."""
    return tuner.client_studies(
        roots=request.app.state.roots, trusted=caller.scope.includes(TokenScope.ADMIN), by=caller.holder
    )


Studies = Annotated[ClientStudies, Depends(client_studies)]


@router.post("", summary="Store a study", status_code=201, response_model=StudyOverview)
def create_study(studies: Studies, _: Writer, wanted: NewStudy) -> Response:
    """It runs once it is started. Files in it must lie in folders that the server was started with. Unless the token is
    an administrator's, commands, images and variables are limited to what the server's site file allows."""
    created = studies.create(wanted.study)
    if wanted.start:
        entry = studies.start(created.name, priority=wanted.priority)
        created = created.model_copy(update={"position": entry.position})
    return document(created, 201)


@router.post("/validate", summary="Check a study", response_model=CheckedStudy)
def validate_study(studies: Studies, _: Writer, wanted: StudyDocument) -> Response:
    """Nothing is stored or started. Status 422 with one problem per fault if it is wrong."""
    return document(studies.validate(wanted.study))


@router.post("/plan", summary="Plan a study", response_model=Plan)
def plan_study(studies: Studies, _: Writer, wanted: PlanRequest) -> Response:
    """The same as `autotuner plan --json`: launches, time, cost, checks. Nothing is stored or started."""
    return document(studies.plan(wanted.study, preflight=wanted.preflight))


@router.get("/{name}/file", summary="The study file", response_class=PlainTextResponse)
def study_file(studies: Studies, _: Reader, name: Name) -> str:
    """YAML of the study as it will run when it is started; secrets are masked."""
    return studies.file(name)


@router.put("/{name}", summary="Change a study", response_model=StudyOverview)
def edit_study(studies: Studies, _: Writer, name: Name, wanted: StudyDocument) -> Response:
    """Under the rules that apply when an edited file is run again: what is measured must stay the same once there are
    results. They are judged anew when the study is started. Status 409 while it is running."""
    return document(studies.edit(name, wanted.study))


@router.post("/{name}/clone", summary="Copy a study", status_code=201, response_model=StudyOverview)
def clone_study(studies: Studies, _: Writer, name: Name, wanted: Clone) -> Response:
    """Without its results."""
    return document(studies.clone(name, wanted.name), 201)


@router.post("/{name}/start", summary="Start a study", status_code=202, response_model=QueueEntry)
def start_study(studies: Studies, _: Writer, name: Name, wanted: Start | None = None) -> Response:
    """It waits in the queue until a worker takes it, and resumes if it has results. Status 409 while it is running."""
    return document(studies.start(name, priority=wanted.priority if wanted is not None else 0), 202)


@router.post("/{name}/resume", summary="Resume a study", status_code=202, response_model=QueueEntry)
def resume_study(studies: Studies, _: Writer, name: Name, wanted: Start | None = None) -> Response:
    """The same as starting it, for a study that was stopped, interrupted or failed."""
    return document(studies.start(name, priority=wanted.priority if wanted is not None else 0), 202)
