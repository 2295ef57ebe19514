"""The application: routes, errors, guard."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from fastapi import FastAPI

import autotuner
from autotuner.server import problems
from autotuner.server.audit import Audit
from autotuner.server.callers import TokenChecks
from autotuner.server.documents import Bodies, Entries
from autotuner.server.guard import Guard
from autotuner.server.monitoring.metrics import Metrics
from autotuner.server.monitoring.requests import RequestMetrics
from autotuner.server.problems import ErrorBody
from autotuner.server.routes import (
    doctor,
    drafting,
    events,
    fleet,
    pages,
    presets,
    session,
    studies,
    system,
    tokens,
    trials,
    webhooks,
    writing,
)
from autotuner.server.sign_in import Attempts, Codes

_ROUTERS = (
    system.router,
    session.router,
    drafting.router,
    writing.router,
    presets.router,
    studies.router,
    studies.rows_router,
    trials.router,
    events.router,
    fleet.router,
    doctor.router,
    tokens.router,
    webhooks.router,
    pages.router,
)
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in (
        (400, "The request could not be carried out."),
        (401, "No valid token was sent."),
        (403, "The token does not allow this."),
        (404, "The study, trial, preset, token or webhook does not exist."),
        (409, "A process runs the study."),
        (413, "The body is too large."),
        (421, "The Host header does not name this server."),
        (422, "The request is wrong; `problems` says where."),
        (429, "Too many attempts to sign in failed."),
        (500, "A bug; the server's log has the details."),
        (503, "The store cannot be used."),
    )
}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    with app.state.tuner.kept_open():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app.state.feed.run)
            tasks.start_soon(app.state.metrics.loop_delay.watch)
            tasks.start_soon(app.state.tuner.outbox(app.state.metrics.webhooks.add).run)
            yield
            tasks.cancel_scope.cancel()


class _Application(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The description of the API. FastAPI gives errors the media type of the route's answers; ours are JSON."""
        described = super().openapi()
        for operations in described["paths"].values():
            for operation in operations.values():
                for status in map(str, _ERRORS):
                    (schema,) = operation["responses"][status]["content"].values()
                    operation["responses"][status]["content"] = {"application/json": schema}
        return described


def create_app(tuner: autotuner.Autotuner, *, hosts: Collection[str] = (), roots: Sequence[Path] = ()) -> FastAPI:
    """The application for a store.

    Args:
        tuner: Client of the store.
        hosts: Names under which the server may be reached, beside those of the loopback interface.
        roots: Folders whose files clients may name in studies.

    Returns:
        The ASGI application.
    """
    app = _Application(
        title="LLM Inference Autotuner",
        version=autotuner.__version__,
        description="Studies of launch parameters of inference servers. Send a token as `Authorization: Bearer TOKEN`.",
        docs_url=None,  # both pages load scripts from other servers
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the path and the host of the request
        openapi_url="/api/v1/openapi.json",
        responses=_ERRORS,
        lifespan=_lifespan,
    )
    app.state.tuner = tuner
    app.state.studies = tuner.reader()
    app.state.entries = Entries()
    app.state.bodies = Bodies()
    app.state.feed = tuner.feed()
    app.state.metrics = Metrics(tuner, app.state.studies, app.state.feed)
    app.state.token_checks = TokenChecks(tuner.access())
    app.state.codes = Codes()
    app.state.attempts = Attempts()
    app.state.roots = tuple(roots)
    for router in _ROUTERS:
        app.include_router(router)
    problems.register(app)
    app.add_middleware(Audit, access=tuner.access())
    app.add_middleware(Guard, hosts=hosts)
    app.add_middleware(RequestMetrics, counts=app.state.metrics.requests)
    return app
