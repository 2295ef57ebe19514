"""This machine: its hardware, its preflight checks, and processes that dead owners left running."""

import importlib.util
import math
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import psutil

from autotuner.deployers.local import procfs
from autotuner.deployers.local.owned_process import RUNNER
from autotuner.deployers.shared.leftovers import trial_number
from autotuner.store.process_identity import ProcessIdentity
from autotuner.study.check import Check
from autotuner.study.launch import Hardware, LaunchedObject, LaunchPlan

_CGROUP = Path("/sys/fs/cgroup")
_GIB = 2**30


def hardware(cpus: Sequence[int] | None = None) -> Hardware:
    """CPUs by affinity and cgroup quota, memory in GiB by cgroup limit."""
    allowed = len(os.sched_getaffinity(0) & set(cpus)) if cpus else len(os.sched_getaffinity(0))
    quota, _, period = _cgroup("cpu.max").partition(" ")
    if quota.isdigit() and period:
        allowed = min(allowed, math.ceil(int(quota) / int(period)))
    memory = psutil.virtual_memory().total
    limit = _cgroup("memory.max")
    if limit.isdigit():
        memory = min(memory, int(limit))
    return Hardware(cpus=max(1, allowed), memory_gb=round(memory / _GIB, 2))


def _cgroup(name: str) -> str:
    try:
        return (_CGROUP / name).read_text().strip()
    except OSError:
        return ""


def preflight(
    plans: Sequence[LaunchPlan], host: str, ports: tuple[int, int], cpus: Sequence[int] | None
) -> list[Check]:
    """A check for each program, module and file that the plans need, and one for the ports. Nothing is started."""
    checks = [_program(name) for name in dict.fromkeys(plan.command[0] for plan in plans)]
    checks += [_module(name) for name in dict.fromkeys(m for plan in plans for m in plan.needs_modules)]
    checks += [_file(name) for name in dict.fromkeys(f for plan in plans for f in plan.needs_files)]
    checks += [_cpus(cpus)] if cpus else []
    return [*checks, _ports(host, ports)]


def _program(name: str) -> Check:
    found = shutil.which(name)
    if found:
        return Check.ok("program", found)
    there = Path(name).is_file()
    remedy = f"make it executable: chmod +x {name}" if there else "install it, or correct the engine's setting"
    detail = f"{name} is not executable" if there else f"{name} was not found"
    return Check.fail("program", detail, remedy=remedy)


def _module(name: str) -> Check:
    try:
        found = importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        found = False
    if found:
        return Check.ok("module", name)
    return Check.fail("module", f"{name} is not installed", remedy=f"pip install {name}")


def _file(name: str) -> Check:
    path = Path(name)
    if not path.exists():
        return Check.fail("model", f"{name} does not exist", remedy="correct model.path")
    if not os.access(path, os.R_OK):
        remedy = f"make it readable: chmod +r {name}"
        return Check.fail("model", f"{name} is not readable", remedy=remedy)
    return Check.ok("model", name)


def _cpus(cpus: Sequence[int]) -> Check:
    allowed = os.sched_getaffinity(0)
    missing = sorted(set(cpus) - allowed)
    if not missing:
        return Check.ok("cpus", f"{len(set(cpus))} of {len(allowed)}")
    remedy = f"choose from {', '.join(map(str, sorted(allowed)))} in deploy.cpus"
    return Check.fail("cpus", f"this process may not use {missing}", remedy=remedy)


def _ports(host: str, ports: tuple[int, int]) -> Check:
    first, last = ports
    free = len(set(range(first, last + 1)) - procfs.listening_ports(host))
    detail = f"{free} of {last - first + 1} free in {first}-{last}"
    if free:
        return Check.ok("ports", detail)
    return Check.fail("ports", detail, remedy="set another range in deploy.ports")


async def reap(is_dead: Callable[[str], bool], *, study: str | None, grace_s: float) -> list[str]:
    """Ends every process labeled with a dead owner, and everything in the sessions of these processes.

    An owner that ``is_dead`` does not know, because its store was lost or is another one, counts as dead if the
    runner's process, which the labels identify too, has ended.

    A run starts its labeled processes in sessions of their own, so everything in such a session belongs to the run.
    This process, its ancestors and their sessions are never touched.

    Args:
        is_dead: Whether the owner with this id is known to be dead.
        study: End processes of this study only; None for all.
        grace_s: Seconds between SIGTERM and SIGKILL.

    Returns:
        One line per ended process.
    """
    verdicts: dict[str, bool] = {}

    def belongs(owner: str) -> bool:
        if owner not in verdicts:
            verdicts[owner] = is_dead(owner)
        return verdicts[owner]

    targets = _left_behind(belongs, study)
    lines = [_line(target) for target in targets if target.pid == target.session or _labeled(target.pid)]
    for target in targets:
        procfs.send(target, signal.SIGTERM)
    with anyio.CancelScope(shield=True):
        with anyio.move_on_after(grace_s):
            while _left_behind(belongs, study):  # noqa: ASYNC110 - not our children: no event to wait for
                await anyio.sleep(0.02)
        with anyio.move_on_after(10):
            while remaining := _left_behind(belongs, study):
                for target in remaining:
                    procfs.send(target, signal.SIGKILL)
                await anyio.sleep(0.01)
    return lines


def launched_processes() -> list[LaunchedObject]:
    """Servers and load generators of all runs, one process per session. Like :func:`reap`, leaves out this process and
    its ancestors."""
    spared = _lineage()
    first: dict[int, LaunchedObject] = {}
    for process in sorted(procfs.processes(), key=lambda found: (found.pid != found.session, found.pid)):
        found = None if process.pid in spared else _labeled(process.pid)
        if found:
            first.setdefault(process.session, found)
    return list(first.values())


def _labeled(pid: int) -> LaunchedObject | None:
    """The process, if it has the labels of a run."""
    env = procfs.environ(pid)
    if not env.get("AUTOTUNER_OWNER"):
        return None
    runner = ProcessIdentity.parse(env.get(RUNNER, ""))
    return LaunchedObject(
        kind="process",
        name=str(pid),
        study=env.get("AUTOTUNER_STUDY", "?"),
        trial=trial_number(env.get("AUTOTUNER_TRIAL")),
        owner=env["AUTOTUNER_OWNER"],
        runner_ended=runner is not None and runner.is_running() is False,
    )


def _left_behind(is_dead: Callable[[str], bool], study: str | None) -> list[procfs.Stat]:
    everyone = list(procfs.processes())
    spared = _lineage()
    own_sessions = {p.session for p in everyone if p.pid in spared}
    sessions = set[int]()
    labeled = set[int]()
    living = set[int]()
    for process in everyone:
        found = _labeled(process.pid)
        if not found or process.pid in spared:
            continue
        if study in {None, found.study} and (is_dead(found.owner) or found.runner_ended):
            labeled.add(process.pid)
            sessions.add(process.session)
        else:
            living.add(process.pid)
    sessions -= own_sessions
    return [p for p in everyone if p.pid in labeled or (p.session in sessions and p.pid not in living)]


def _lineage() -> set[int]:
    """This process and its ancestors."""
    found = set()
    current = os.getpid()
    while current > 0 and current not in found:
        found.add(current)
        stat = procfs.stat(current)
        current = stat.parent if stat else 0
    return found


def _line(target: procfs.Stat) -> str:
    unlabeled = LaunchedObject(kind="process", name=str(target.pid), study="?", trial=None, owner="?")
    command = " ".join(procfs.cmdline(target.pid))[:120]
    return f"ended {(_labeled(target.pid) or unlabeled).text}: {command}"
