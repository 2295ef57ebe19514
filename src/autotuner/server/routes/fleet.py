"""The queue of studies, the workers that run them, and what their trials hold."""

from fastapi import APIRouter, Response

from autotuner import LaunchedObjects, LeaseOverview, QueueEntry, WorkerOverview
from autotuner.server.callers import Reader, Tuner
from autotuner.server.documents import document

router = APIRouter(prefix="/api/v1", tags=["fleet"])


@router.get("/queue", summary="List the queue", response_model=list[QueueEntry])
def list_queue(tuner: Tuner, _: Reader) -> Response:
    """The waiting studies in the order in which workers take them, then those that workers run."""
    return document(tuner.queue())


@router.get("/workers", summary="List the workers", response_model=list[WorkerOverview])
def list_workers(tuner: Tuner, _: Reader) -> Response:
    """Those of the last seven days, the newest first, with the studies that they run."""
    return document(tuner.workers())


@router.get("/leases", summary="List the leases", response_model=list[LeaseOverview])
def list_leases(tuner: Tuner, _: Reader) -> Response:
    """GPUs and ports of machines that running trials hold, each with the trial and the process."""
    return document(tuner.leases())


@router.get("/launched-objects", summary="List what runs launched", response_model=LaunchedObjects)
def list_launched_objects(tuner: Tuner, _: Reader) -> Response:
    """Processes, containers and pods of all runs on the server's machine and on the targets of stored studies, each
    with whether its run is alive: `in_use`, `left_behind` (`autotuner reap` removes it) or `unknown`. A target that
    does not answer within a few seconds is `unreachable`, with the reason."""
    return document(tuner.launched_objects())
