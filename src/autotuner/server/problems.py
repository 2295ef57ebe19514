"""Errors as JSON: one body for all of them."""

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from autotuner.errors import (
    AutotunerError,
    EnvironmentFaultError,
    NotFoundError,
    Problem,
    StudyBusyError,
    UsageError,
)
from autotuner.server.routes.pages import unknown_page

logger = logging.getLogger(__name__)

OF_ERRORS: tuple[tuple[type[AutotunerError], str, int], ...] = (
    (NotFoundError, "not_found", 404),
    (UsageError, "usage", 422),
    (StudyBusyError, "conflict", 409),
    (EnvironmentFaultError, "environment", 503),
    (AutotunerError, "failed", 400),
)
"""Class, kind and HTTP status; the first class that matches decides."""
OF_STATUSES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    421: "wrong_host",
    429: "too_many",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    kind: str = Field(
        examples=["not_found"],
        description="One of ``usage``, ``unauthorized``, ``forbidden``, ``not_found``, ``method_not_allowed``, "
        "``conflict``, ``too_large``, ``wrong_host``, ``too_many``, ``failed``, ``environment`` and ``defect``.",
    )
    message: str = Field(examples=["study = chat-9b: not in the store"])
    """What happened, and where; one line per problem."""
    hint: str = Field(default="", examples=['did you mean "chat-8b"?'])
    """What to do about it; empty if there is no general advice."""
    path: str = Field(default="", examples=["study"])
    """Place of the first problem in the input; empty if the input is not at fault."""
    problems: list[Problem] = Field(default_factory=list)
    """All problems of the input, each with its place and remedy."""


class ErrorBody(BaseModel):
    """The body of every response with a status of 400 or above."""

    error: ErrorDetail


def register(app: FastAPI) -> None:
    """Makes every error of the app an :class:`ErrorBody`."""
    app.add_exception_handler(AutotunerError, _expected)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _defect)


def response(status: int, detail: ErrorDetail, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as a response."""
    return JSONResponse(ErrorBody(error=detail).model_dump(), status, headers)


class RefusedError(HTTPException):
    """A refusal with advice for the client."""

    def __init__(self, status: int, why: str, hint: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, why, headers)
        self.hint = hint


def of_status(status: int, message: str, hint: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    """The response for an HTTP status that no error of the API explains."""
    return response(status, ErrorDetail(kind=OF_STATUSES.get(status, "failed"), message=message, hint=hint), headers)


async def _expected(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AutotunerError)  # noqa: S101 - registered for this class only
    if isinstance(error, EnvironmentFaultError) and not hasattr(request.state, "caller"):
        # The message has paths and hosts, which only clients with a token may see.
        logger.error("%s %s failed: %s", request.method, request.url.path, error)
        error = EnvironmentFaultError("the store cannot be used", remedy="the server's log has the details")
    kind, status = next((kind, status) for cls, kind, status in OF_ERRORS if isinstance(error, cls))
    problems = list(error.problems) if isinstance(error, UsageError) else []
    detail = ErrorDetail(
        kind=kind,
        message=error.message,
        hint=error.remedy,
        path=problems[0].where if problems else "",
        problems=problems,
    )
    return response(status, detail)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class only
    if error.status_code == 404 and (page := unknown_page(request)) is not None:
        return page
    if error.status_code == 400:  # FastAPI's answer to a body that cannot be decoded; wrong input is 422 here
        return response(422, ErrorDetail(kind="usage", message="body: is not valid JSON", path="body"))
    hint = error.hint if isinstance(error, RefusedError) else ""
    return of_status(error.status_code, str(error.detail), hint, dict(error.headers or {}))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class only
    problems = [
        Problem(where=".".join(map(str, found["loc"])), value=_shown(found.get("input")), why=str(found["msg"]))
        for found in error.errors()
    ]
    wrong = UsageError(problems)
    return response(
        422, ErrorDetail(kind="usage", message=wrong.message, path=problems[0].where, problems=list(wrong.problems))
    )


def _shown(value: object) -> str:
    return value if isinstance(value, str) else ""


async def _defect(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    hint = "this is a defect of autotuner; the server's log has the details"
    return response(500, ErrorDetail(kind="defect", message="internal error", hint=hint))
