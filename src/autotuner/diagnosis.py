"""Diagnosis of this machine and of a deployment target: all checks, each with its remedy. Nothing is started.

With a study, this is the study's preflight. If the study cannot be prepared, its target is checked nevertheless,
because the reason usually lies there.
"""

import platform
import socket
import sys
from contextlib import suppress

from anyio.to_thread import run_sync

import autotuner
from autotuner.errors import AutotunerError, UsageError
from autotuner.plain_text import joined_line
from autotuner.plugins import loading
from autotuner.plugins.deployer import Deployer
from autotuner.store import Store, StoreError
from autotuner.store.paths import site_file
from autotuner.study.base import FrozenModel
from autotuner.study.check import Check, CheckStatus, worst
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.tuning.data_folder import data_folder
from autotuner.tuning.planning.engines.prepared_engines import prepare
from autotuner.tuning.quality.harness import harness_checks


class Diagnosis(FrozenModel):
    """The results of all checks."""

    deploy: str
    """Kind of the deployer."""
    study: str | None = None
    """Name of the study that the checks are for, if any."""
    host: str = ""
    """Host name of the machine that made the checks."""
    checks: tuple[Check, ...] = ()

    @property
    def status(self) -> CheckStatus:
        """The worst status of all checks."""
        return worst(list(self.checks))


async def of_target(deploy: PluginSpec, *, store_url: str | None = None) -> Diagnosis:
    """Checks this machine and a deployer's target, without a study.

    Args:
        deploy: The deployer with its settings.
        store_url: URL of the store; None: the default.

    Raises:
        UsageError: If a setting is invalid.
    """
    here = [*_program(), await run_sync(data_folder), await run_sync(_store, store_url)]
    try:
        found = await loading.deployer(deploy).preflight([])
    except UsageError:
        raise
    except AutotunerError as error:
        found = [_broken(deploy.kind, error)]
    return Diagnosis(deploy=deploy.kind, host=socket.gethostname(), checks=tuple(_distinct([*here, *found])))


async def of_study(spec: StudySpec, *, store_url: str | None = None) -> Diagnosis:
    """Checks this machine and everything that the study needs. Errors become failed checks."""
    found = [*_program(), await run_sync(_store, store_url)]
    try:
        found += await (await prepare(spec)).preflight()
        found += await harness_checks(spec.quality)
    except AutotunerError as error:
        target = [await run_sync(data_folder), *await _target(spec)]
        found += target
        if isinstance(error, UsageError):
            found += [Check.fail("study", p.message, remedy=p.remedy) for p in error.problems]
        elif worst(target) is not CheckStatus.FAIL:
            found.append(_broken("study", error))
    return Diagnosis(
        deploy=spec.deploy.kind, study=spec.name, host=socket.gethostname(), checks=tuple(_distinct(found))
    )


async def _target(spec: StudySpec) -> list[Check]:
    """The targets' checks for a study that cannot be prepared, with engine and model if these are valid."""
    names = [entry.name for entry in spec.engines] or [""]
    return [check for name in names for check in await _target_of(spec.of_engine(name))]


async def _target_of(spec: StudySpec) -> list[Check]:
    try:
        deployer: Deployer = loading.deployer(spec.deploy)
        with suppress(AutotunerError):
            deployer = deployer.bind(loading.engine(spec.engine), spec.model)
        return await deployer.preflight([])
    except AutotunerError:  # the caller reports it as the study's
        return []


def _broken(name: str, error: AutotunerError) -> Check:
    return Check.fail(name, joined_line(error.message), remedy=joined_line(error.remedy))


def _distinct(checks: list[Check]) -> list[Check]:
    return list(dict.fromkeys(checks))


def _program() -> list[Check]:
    """The program's version, and the file with this machine's settings."""
    detail = f"{autotuner.__version__} on Python {platform.python_version()} ({sys.executable})"
    found = [Check.ok("autotuner", detail)]
    site = site_file()
    if site is not None:
        found.append(Check.ok("site settings", str(site)))
    return found


def _store(url: str | None) -> Check:
    """Whether the store can be used. A missing SQLite file is not created."""
    try:
        return Check.ok("store", Store.describe(url))
    except StoreError as error:
        remedy = "correct AUTOTUNER_STORE or --store, and check that the database is running"
        return Check.fail("store", error.message, remedy=error.remedy or remedy)
