"""Processes, containers and pods that runs have launched, on this machine and on the targets of stored studies."""

from collections.abc import Iterable
from enum import StrEnum

import anyio

from autotuner.api.blocking import blocking
from autotuner.errors import AutotunerError
from autotuner.plugins import loading
from autotuner.store import open_to_read
from autotuner.study.base import FrozenModel
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import LaunchedObject
from autotuner.study.spec import PluginSpec
from autotuner.tuning.run_liveness import OwnerWatch

_PATIENCE_S = 5.0
"""Seconds that a target may take; all of them are asked at once."""


class LaunchedState(StrEnum):
    """Whether something that a run launched is still needed."""

    IN_USE = "in_use"
    """Its run is alive."""
    LEFT_BEHIND = "left_behind"
    """Its run has ended; ``autotuner reap`` removes it."""
    UNKNOWN = "unknown"
    """Its run is not in this store, or it is not certain yet whether it is alive."""


class LaunchedOverview(LaunchedObject):
    """A process, container, pod or other object that a run launched."""

    deploy: str
    """Kind of the deployer that lists it."""
    state: LaunchedState


class UnreachableTarget(FrozenModel):
    """A target of stored studies whose objects are not known."""

    deploy: str
    """Kind of the deployer."""
    reason: str


class LaunchedObjects(FrozenModel):
    """What runs have launched and what still exists of it."""

    objects: tuple[LaunchedOverview, ...]
    unreachable: tuple[UnreachableTarget, ...]


def launched_objects(url: str | None) -> LaunchedObjects:
    """See :meth:`autotuner.api.queued_studies.QueuedStudies.launched_objects`."""
    with open_to_read(url) as store:
        used = store.studies.deployers()
        watch = OwnerWatch(store)
        # Whoever ends while targets are asked may have removed what they list, and has not left it behind.
        dead = watch.dead()
        found, unreachable = blocking(lambda: _ask(used))
        certain = {record.owner.id for record in store.owners.all()} - watch.undecided()

        def state(one: LaunchedObject) -> LaunchedState:
            if one.owner in dead or one.runner_ended:
                return LaunchedState.LEFT_BEHIND
            return LaunchedState.IN_USE if one.owner in certain else LaunchedState.UNKNOWN

        overviews = [LaunchedOverview(**one.model_dump(), deploy=kind, state=state(one)) for kind, one in found]
    objects = sorted(overviews, key=lambda one: (one.study, one.trial or 0, one.deploy, one.kind, one.name))
    return LaunchedObjects(objects=tuple(objects), unreachable=tuple(unreachable))


def targets(used: Iterable[PluginSpec]) -> list[PluginSpec]:
    """Where runs may have launched something: each installed deployer with its default settings, and those in use,
    even if they are not installed here."""
    installed = loading.available("deployers")
    defaults = [PluginSpec(kind=kind) for kind in sorted(installed)]
    launching = [spec for spec in (*defaults, *used) if spec.kind not in installed or installed[spec.kind].launches]
    # By their JSON, because they contain lists and cannot be hashed.
    return list({spec.model_dump_json(): spec for spec in launching}.values())


async def _ask(used: list[PluginSpec]) -> tuple[list[tuple[str, LaunchedObject]], list[UnreachableTarget]]:
    """Objects with the kinds of their deployers, and the targets that are used but do not list theirs.

    Targets with different settings may be the same machine or cluster, whose objects count once.
    """
    found: dict[tuple[str, LaunchedObject], None] = {}
    unreachable: dict[UnreachableTarget, None] = {}

    async def ask(spec: PluginSpec) -> None:
        try:
            with anyio.fail_after(_PATIENCE_S):
                found.update({(spec.kind, one): None for one in await loading.deployer(spec).launched_objects()})
            return
        except TimeoutError:
            reason = f"no answer within {_PATIENCE_S:g} s"
        except TrialFailedError as error:
            reason = error.failure.message
        except AutotunerError as error:  # an old study may have settings that no longer exist
            reason = error.message
        if spec in used:
            unreachable[UnreachableTarget(deploy=spec.kind, reason=reason)] = None

    async with anyio.create_task_group() as asking:
        for target in targets(used):
            asking.start_soon(ask, target)
    return list(found), sorted(unreachable, key=lambda one: (one.deploy, one.reason))
