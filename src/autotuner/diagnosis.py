"""How this machine and the place where servers run are: every check there is, each with its remedy. Nothing is started.

With a study it is the study's own preflight; where the study cannot even be prepared, its target is looked at all the
same, since that is where most reasons lie.
"""

import platform
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
from autotuner.study.base import Noun
from autotuner.study.check import Check, CheckStatus
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.tuning.planning.prepared_study import data_folder, prepare, worst


class Diagnosis(Noun):
    """What was looked at."""

    deploy: str
    """Kind of the deployer."""
    study: str | None = None
    checks: tuple[Check, ...] = ()

    @property
    def status(self) -> CheckStatus:
        """The worst of all."""
        return worst(list(self.checks))


async def of_target(deploy: PluginSpec, *, store_url: str | None = None) -> Diagnosis:
    """This machine, and the target of a deployer without any study. Raises ``UsageError`` for settings that are
    wrong."""
    here = [*_program(), await run_sync(data_folder), await run_sync(_store, store_url)]
    try:
        found = await loading.deployer(deploy).preflight([])
    except UsageError:
        raise
    except AutotunerError as error:
        found = [_broken(deploy.kind, error)]
    return Diagnosis(deploy=deploy.kind, checks=tuple(_distinct([*here, *found])))


async def of_study(spec: StudySpec, *, store_url: str | None = None) -> Diagnosis:
    """This machine, and all that the study needs."""
    found = [*_program(), await run_sync(_store, store_url)]
    try:
        found += await (await prepare(spec)).preflight()
    except AutotunerError as error:
        target = [await run_sync(data_folder), *await _target(spec)]
        found += target
        if isinstance(error, UsageError):
            found += [Check.fail("study", _told(p.where, p.value, p.why), remedy=p.remedy) for p in error.problems]
        elif worst(target) is not CheckStatus.FAIL:
            found.append(_broken("study", error))
    return Diagnosis(deploy=spec.deploy.kind, study=spec.name, checks=tuple(_distinct(found)))


async def _target(spec: StudySpec) -> list[Check]:
    """Of a study that cannot be prepared, with as much of it as the deployer takes."""
    try:
        deployer: Deployer = loading.deployer(spec.deploy)
        with suppress(AutotunerError):
            deployer = deployer.bind(loading.engine(spec.engine), spec.model)
        return await deployer.preflight([])
    except AutotunerError:  # told as the study's own
        return []


def _told(where: str, value: str, why: str) -> str:
    return f"{where} = {value}: {why}" if value else f"{where}: {why}"


def _broken(name: str, error: AutotunerError) -> Check:
    return Check.fail(name, joined_line(error.message), remedy=joined_line(error.remedy))


def _distinct(checks: list[Check]) -> list[Check]:
    return list(dict.fromkeys(checks))


def _program() -> list[Check]:
    """Versions, and what this machine gives to every study."""
    detail = f"{autotuner.__version__} on Python {platform.python_version()} ({sys.executable})"
    found = [Check.ok("autotuner", detail)]
    site = site_file()
    if site is not None:
        found.append(Check.ok("site settings", str(site)))
    return found


def _store(url: str | None) -> Check:
    """Whether the database can be had. One that is a file and not there yet is not made."""
    try:
        return Check.ok("store", Store.look(url))
    except StoreError as error:
        remedy = "correct AUTOTUNER_STORE or --store, and see that the database answers"
        return Check.fail("store", error.message, remedy=error.remedy or remedy)
