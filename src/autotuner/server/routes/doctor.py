"""Checks of the server's machine and of deployment targets, as `autotuner doctor` makes them."""

from typing import Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from autotuner import Diagnosis
from autotuner.server.callers import Reader, Writer
from autotuner.server.documents import document
from autotuner.server.routes.studies import Name
from autotuner.server.routes.writing import Studies, StudyDocument

router = APIRouter(prefix="/api/v1", tags=["doctor"])


class DoctorTarget(BaseModel):
    """A target to check."""

    model_config = ConfigDict(extra="forbid")

    deploy: str = Field(default="process", examples=["kubernetes"], description="Kind of deployer.")
    settings: dict[str, Any] = Field(
        default={},
        examples=[{"namespace": "tuning"}],
        description="Its settings, as in a study file; they override those of the server's site file.",
    )


@router.get("/deployers", summary="List the deployers", response_model=list[str])
def list_deployers(studies: Studies, _: Reader) -> Response:
    """Kinds of targets that can be checked, the server's machine first. A deployer whose packages are not installed is
    one of them; its check says what to install."""
    return document(studies.deployers())


@router.post("/doctor", summary="Check a target", response_model=Diagnosis)
def check_target(studies: Studies, _: Writer, target: DoctorTarget) -> Response:
    """The same as `autotuner doctor --mode DEPLOYER --json`. Nothing is started. Unless the token is an
    administrator's, settings are limited to what the server's site file allows."""
    return document(studies.doctor(target.deploy, target.settings))


@router.post("/studies/doctor", summary="Check what a study file needs", response_model=Diagnosis)
def check_file(studies: Studies, _: Writer, wanted: StudyDocument) -> Response:
    """The same as `autotuner doctor FILE --json`, on the server's machine. Nothing is stored or started."""
    return document(studies.doctor_for(wanted.study))


@router.post("/studies/{name}/doctor", summary="Check what a study needs", response_model=Diagnosis)
def check_study(studies: Studies, _: Writer, name: Name) -> Response:
    """The same as `autotuner doctor FILE --json` for a stored study, on the server's machine. Nothing is started."""
    return document(studies.doctor_of(name))
