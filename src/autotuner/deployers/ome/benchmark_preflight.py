"""Preflight checks for BenchmarkJobs of OME. Read-only; each check carries a remedy."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from autotuner.deployers.kubernetes.checks import access, capacity
from autotuner.deployers.kubernetes.checks.access import Right
from autotuner.deployers.kubernetes.client import Cluster, RefusedError, connected
from autotuner.deployers.ome.benchmark_manifest import BenchmarkSettings, Job
from autotuner.deployers.ome.resources import BENCHMARKS, SERVICES
from autotuner.deployers.ome.settings import OmeSettings
from autotuner.manifests.ome_command_line import OME
from autotuner.plugins.deployer import PlatformRun
from autotuner.study.check import Check, CheckStatus
from autotuner.study.failure import TrialFailedError
from autotuner.study.launch import Labels
from autotuner.study.problems import path_text

_NAME = "benchmark job"
_GROUP = OME.partition("/")[0]
_CONFIG = "benchmarkjob-config"
_CONFIG_KEY = "benchmarkjob"


def rights() -> list[Right]:
    """Returns the permissions for BenchmarkJobs, their pods, and the pod that reads their results."""
    found = [Right(verb, BENCHMARKS, _GROUP) for verb in ("create", "get", "list", "watch", "delete")]
    found += [Right("get", SERVICES, _GROUP), Right("get", "persistentvolumeclaims")]
    found += [Right(verb, "jobs", "batch") for verb in ("create", "get", "delete")]
    found += [Right(verb, "secrets") for verb in ("create", "delete")]
    found += [Right(verb, "pods") for verb in ("get", "list", "watch")]
    return [*found, Right("get", "pods/log"), Right("list", "events"), Right("watch", "events")]


async def checks(deploy: OmeSettings, given: Mapping[str, Any]) -> list[Check]:
    """Makes all checks."""
    try:
        settings = BenchmarkSettings.model_validate(given).with_default_tolerations(deploy.tolerations)
    except ValidationError as error:
        return [
            Check.fail(path_text(e["loc"], "benchmark"), e["msg"].removeprefix("Value error, "), remedy="correct it")
            for e in error.errors(include_url=False)
        ]
    try:
        async with connected(deploy.impatient()) as cluster:
            return await _checks(cluster, deploy, settings)
    except TrialFailedError as error:
        return [Check.fail(_NAME, error.failure.message, remedy=error.failure.remedy)]


async def _checks(cluster: Cluster, deploy: OmeSettings, settings: BenchmarkSettings) -> list[Check]:
    there = await _kind(cluster)
    if there.status is CheckStatus.FAIL:
        return [there]
    allowed = await access.rights(cluster, rights())
    found = [there, *(c.model_copy(update={"name": f"{_NAME}: {c.name}"}) for c in allowed)]
    found.append(await capacity.claim(cluster, settings.claim))
    found += [await _image(cluster, deploy, settings), _reader(deploy)]
    if not any(check.status is CheckStatus.FAIL for check in found):
        found.append(await _admission(cluster, settings))
    return found


async def _kind(cluster: Cluster) -> Check:
    try:
        kinds = [kind["name"] for kind in (await cluster.get(f"/apis/{OME}"))["resources"]]
    except RefusedError as error:
        return Check.fail(
            _NAME, f"{OME} is not served: {error.message}", remedy="install OME, or correct deploy.context"
        )
    if BENCHMARKS not in kinds:
        return Check.fail(_NAME, f"this OME has no {BENCHMARKS}", remedy=f"install the kind {BENCHMARKS}.{_GROUP}")
    return Check.ok(_NAME, f"{BENCHMARKS}.{_GROUP} is served")


async def _image(cluster: Cluster, deploy: OmeSettings, settings: BenchmarkSettings) -> Check:
    """Checks the image; OME's default is in a registry that not every cluster can reach."""
    name = f"{_NAME}: image"
    if settings.image:
        return Check.ok(name, settings.image)
    remedy = "set benchmark.image to an image with genai-bench"
    path = f"/api/v1/namespaces/{deploy.ome_namespace}/configmaps/{_CONFIG}"
    try:
        config = await cluster.find(path)
    except RefusedError as error:
        return Check.warn(name, f"OME's default, which cannot be read: {error.message}", remedy=remedy)
    try:
        image = json.loads(((config or {}).get("data") or {}).get(_CONFIG_KEY) or "{}")["podConfig"]["image"]
    except (ValueError, KeyError, TypeError):
        return Check.fail(name, f"{deploy.ome_namespace}/{_CONFIG} names no image", remedy=remedy)
    return Check.ok(name, f"{image} (OME's default)")


def _reader(deploy: OmeSettings) -> Check:
    name = f"{_NAME}: results"
    if deploy.loadgen_image:
        return Check.ok(name, f"read by a pod with {deploy.loadgen_image}")
    remedy = "set deploy.loadgen_image to an image with autotuner"
    return Check.fail(name, "no image is set for the pod that reads them", remedy=remedy)


async def _admission(cluster: Cluster, settings: BenchmarkSettings) -> Check:
    """Dry-runs a BenchmarkJob against API server and webhook."""
    name = f"{_NAME}: admission"
    labels = Labels(study="preflight", trial=0, owner="preflight")
    run = PlatformRun("D(100,100)", 1, 1, 1, labels, {})
    job = Job.of("preflight", {}, cluster.namespace, run, settings)
    try:
        await cluster.create(cluster.path(BENCHMARKS, group=OME), job.manifest(), dry_run=True)
    except RefusedError as error:
        return Check.fail(name, error.message, remedy="correct the settings under benchmark that it names")
    return Check.ok(name, "accepted by a dry run")
