"""Runs of lm-evaluation-harness against the server of a trial."""

import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from autotuner.benchmarks.quality.lm_eval.command import (
    INSTALL,
    UnreachableError,
    environment,
    evaluation,
    program,
    validation,
)
from autotuner.benchmarks.quality.lm_eval.samples import NoScoresError, read_scores
from autotuner.concurrency import run_program
from autotuner.deployers.local.owned_process import spawn
from autotuner.net.target import Target
from autotuner.plain_text import marked_line, shortened
from autotuner.secrets import clean_text
from autotuner.study.check import Check
from autotuner.study.launch import Labels
from autotuner.study.quality.spec import QualitySpec, TasksSpec
from autotuner.study.quality.tasks import TaskRun

LOG_NAME = "lm-eval.log"
FOLDER_NAME = "lm-eval"
_STOP_GRACE_S = 1.0
_VALIDATION_S = 180.0
"""Loading the harness alone takes seconds, and much longer from a cold disk."""
_WORDS = 300
"""Characters of the harness's own words that are kept."""
_REFUSED = re.compile("API request failed.*")
"""What is logged of a failed request. The traceback that ends the log has the status at most."""
_COLORS = re.compile(r"\x1b\[[0-9;]*m")


async def harness_checks(spec: QualitySpec | None) -> list[Check]:
    """Checks that the harness is installed and knows the study's tasks; none if the study has no tasks."""
    if spec is None or spec.tasks is None:
        return []
    name = "quality.tasks"
    command = program(spec.tasks)
    found = shutil.which(command[0])
    if found is None:
        return [Check.fail(name, f"{command[0]} is not installed or not executable", remedy=INSTALL)]
    with anyio.move_on_after(_VALIDATION_S):
        code, output = await run_program(validation(spec.tasks))
        if code == 0:
            return [Check.ok(name, f"{found} knows {', '.join(spec.tasks.names)}")]
        said = last_words(output.splitlines())
        return [
            Check.fail(name, f"{found}: {said}", remedy="see: lm_eval ls tasks; include names a folder of your own")
        ]
    why = f"{found} validate does not end within {_VALIDATION_S:g} s, so the tasks may be unknown"
    return [Check.warn(name, why, remedy="run it yourself to see why")]


async def evaluate(
    spec: TasksSpec, target: Target, model: str, *, in_flight: int, labels: Labels, folder: Path
) -> TaskRun:
    """Evaluates one server. The harness ends with this call, however it ends.

    Args:
        spec: The tasks.
        target: The server.
        model: Name of the model in requests.
        in_flight: Requests that are sent at the same time.
        labels: The trial's.
        folder: The trial's, which keeps the harness's log and files.

    Returns:
        Without scores, and with the reason, if the harness failed or did not finish in time.
    """
    began = time.monotonic()
    try:
        problem = await _run(spec, target, model, in_flight=in_flight, labels=labels, folder=folder)
        found = TaskRun(problem=problem)
        if not problem:
            found = await run_sync(read_scores, folder / FOLDER_NAME, spec.names, spec.metric)
    except NoScoresError as error:
        found = TaskRun(problem=f"lm-eval: {error}")
    except UnreachableError as error:
        found = TaskRun(problem=str(error))
    except OSError as error:
        found = TaskRun(problem=f"cannot run {program(spec)[0]}: {error.strerror or error}")
    return found.replaced(seconds=time.monotonic() - began)


async def _run(spec: TasksSpec, target: Target, model: str, *, in_flight: int, labels: Labels, folder: Path) -> str:
    """Why the harness did not finish; empty if it did."""
    output = folder / FOLDER_NAME
    log = folder / LOG_NAME
    await run_sync(_clear, output, log)
    argv = evaluation(spec, target, model, in_flight=in_flight, output=output)
    process = await spawn(argv, labels=labels, env=environment(target), log=log, orphan_grace_s=_STOP_GRACE_S)
    try:
        with anyio.move_on_after(spec.time_limit_s):
            code = await process.exited()
            if code == 0:
                return ""
            said = await run_sync(_said, log)
            return f"lm-eval exited with code {code}{f': {said}' if said else ''}"
    finally:
        with anyio.CancelScope(shield=True):
            await process.stop(_STOP_GRACE_S)
    return f"lm-eval did not finish within {spec.time_limit_s:g} s (quality.tasks.time_limit)"


def _clear(output: Path, log: Path) -> None:
    """Removes what an earlier run has left."""
    shutil.rmtree(output, ignore_errors=True)
    log.unlink(missing_ok=True)


def last_words(lines: Iterable[str]) -> str:
    """The last response of the server that the harness complains about, otherwise the last line of its output; without
    colors and secrets."""
    last = ""
    refused = ""
    for line in lines:
        text = _COLORS.sub("", line).strip()
        last = text or last
        found = _REFUSED.search(text)
        refused = found[0] if found else refused
    return shortened(clean_text(marked_line(refused or last)), _WORDS)


def _said(log: Path) -> str:
    """The last words in a log. All of it is read: the tracebacks that follow a failed request may be long."""
    with log.open(errors="replace") as file:
        return last_words(file)
