"""State of the server itself: health, readiness, metrics, version."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

import autotuner
from autotuner.server.callers import Reader, Tuner
from autotuner.server.monitoring.metrics import Metrics

router = APIRouter(tags=["system"])


class Health(BaseModel):
    """The server is running."""

    status: str = "ok"


class About(BaseModel):
    """The server, and the token that the request was sent with."""

    version: str
    token: str
    """Name of the token."""
    scope: str
    """What the token allows."""


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Whether the server runs")
def healthz() -> Health:
    """Needs no token. Says nothing about the store, so that a database that is down does not restart the server."""
    return Health()


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Whether the server can serve requests")
def readyz(tuner: Tuner) -> Health:
    """Needs no token. Status 503 while the store cannot be read."""
    tuner.is_stored("readiness-probe")
    return Health()


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", summary="Metrics for Prometheus", response_class=PlainTextResponse)
def metrics(request: Request, _: Reader) -> Response:
    """The store in numbers, and what this server does: in the OpenMetrics format if `Accept` names it, otherwise in the
    text format of Prometheus."""
    found: Metrics = request.app.state.metrics
    text, media = found.render(request.headers.get("accept", ""))
    return Response(text, media_type=media)


@router.get("/api/v1/about", summary="Version, and what the token allows")
def about(caller: Reader) -> About:
    """For clients that check their token."""
    return About(version=autotuner.__version__, token=caller.name, scope=caller.scope)
