"""What clients need to write a study: the schema, engines and their parameters, and studies to start from."""

import json
from enum import StrEnum
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import PlainTextResponse

import autotuner
from autotuner import CatalogEntry
from autotuner.server.callers import Reader
from autotuner.server.documents import document
from autotuner.study.spec import NAME_PATTERN

router = APIRouter(prefix="/api/v1", tags=["drafting"])

Engine = Annotated[str, Path(description="Kind of engine.", examples=["vllm"])]


class Goal(StrEnum):
    """What a study to start from is for."""

    THROUGHPUT = "throughput"
    LATENCY = "latency"
    LONG_PROMPTS = "long-prompts"
    CAPACITY = "capacity"
    COST = "cost"


@router.get("/schema", summary="The JSON Schema of study files", response_model=dict[str, Any])
def study_schema(_: Reader) -> Response:
    """The same as `autotuner schema`: draft 2020-12, with the settings of the plugins that the server has."""
    return Response(_schema(), media_type="application/json")


@cache
def _schema() -> str:
    """It takes tenths of a second to make, and stays the same while the process lives."""
    return json.dumps(autotuner.study_schema())


@router.get("/engines/{engine}/parameters", summary="The parameters of an engine", response_model=list[CatalogEntry])
def engine_parameters(_: Reader, engine: Engine) -> Response:
    """Those of `autotuner params ENGINE`: type, range, default, meaning and values worth trying."""
    return document(autotuner.engine_parameters(engine))


@router.get("/engines/{engine}/starter", summary="A study to start from", response_class=PlainTextResponse)
def starter(
    _: Reader,
    engine: Engine,
    name: Annotated[str, Query(pattern=f"^{NAME_PATTERN}$", examples=["chat-8b"])] = "my-study",
    goal: Annotated[Goal, Query(description="What it is for.")] = Goal.THROUGHPUT,
) -> str:
    """YAML with comments, as `autotuner init` writes it. Its values can matter under its load and on the server's
    machine."""
    return autotuner.starter_text(engine, name=name, goal=goal.value)
