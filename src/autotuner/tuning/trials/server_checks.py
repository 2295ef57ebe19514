"""Checks that the measured server is the planned one: its flags, its identity, and that it is still alive."""

from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import anyio

from autotuner.concurrency import first_of
from autotuner.plugins.deployer import Endpoint
from autotuner.plugins.engine import Engine
from autotuner.study.failure import FailureCause, TrialFailedError
from autotuner.study.launch import Identity, LaunchPlan
from autotuner.study.parameters.environment import PREFIX

T = TypeVar("T")

DEATH_REPORT_S = 1.0
"""Seconds for which failed requests wait for a report that the server has died, which is then their cause.

A child process reports it at once; a container engine on a busy machine takes some tenths of a second.
"""


async def prove_applied(endpoint: Endpoint, plan: LaunchPlan, engine: Engine) -> None:
    """Raises ``TrialFailedError`` unless every tuned value is in the command line or the environment of the running
    process: otherwise the result would be another configuration's."""
    environment = await endpoint.environment() if plan.tuned_env else None
    if environment is not None:
        for name, text in plan.tuned_env.items():
            if environment.get(name) != text:
                raise TrialFailedError.value_not_applied(f"{PREFIX}{name}", text, environment.get(name))
    if not endpoint.argv:
        return
    planned = plan.argv(host="", port=0)
    for name, value in plan.tuned.items():
        expected = engine.flag_value(planned, name)
        found = engine.flag_value(endpoint.argv, name)
        if expected != found:
            raise TrialFailedError.value_not_applied(name, value, found)


async def same_server(endpoint: Endpoint, before: Identity) -> None:
    """Raises ``TrialFailedError`` unless the server that was measured still answers.

    A server that has just died is reported with the cause of its death, not as a changed identity.
    """
    try:
        after = await endpoint.identity()
    except TrialFailedError as error:
        with anyio.move_on_after(DEATH_REPORT_S):
            raise TrialFailedError(await endpoint.died()) from error
        raise
    if after != before:
        raise TrialFailedError.because(
            FailureCause.IDENTITY_CHANGED,
            f"another server answered after the measurement ({before.id} became {after.id})",
            remedy="stop the other program at this address, or set other ports for this study",
        )


async def or_died(work: Callable[[], Awaitable[T]], endpoint: Endpoint) -> T:
    """The work's result, unless the server ends first: then ``TrialFailedError`` with the cause of its death.

    A benchmark that fails because its server just died is the server's failure, so a failing one waits for that report.
    """

    async def patient() -> T:
        try:
            return await work()
        except Exception:
            await anyio.sleep(DEATH_REPORT_S)
            raise

    async def death() -> NoReturn:
        raise TrialFailedError(await endpoint.died())

    return await first_of(death, patient)
