"""Input files of a workload: datasets and tokenizers. Local only; the name of a hub repository is never resolved."""

from collections.abc import Callable
from pathlib import Path

from autotuner.benchmarks.loadgen.tokens import available, counter
from autotuner.benchmarks.measuring.datasets.datasets import ESTIMATED
from autotuner.benchmarks.measuring.datasets.row_supply import RowSupply
from autotuner.benchmarks.measuring.traces.trace_replay import trace_check
from autotuner.errors import Problem, UsageError
from autotuner.store import files
from autotuner.study.check import Check
from autotuner.study.workload import TracePart, Workload

MAX_TOKENIZER = 1 << 28
"""Largest tokenizer.json that is read, in bytes; the largest known ones have about 30 MB."""


def tokenizer_text(path: str, where: str = "workload.tokenizer", *, counted: bool = True) -> str:
    """Reads a local tokenizer.json.

    Args:
        path: The file, or its folder.
        where: The field that names it, for errors.
        counted: Whether this process counts tokens with it, which needs the ``tokenizer`` extra.

    Raises:
        UsageError: It is missing, unreadable or invalid.
    """
    try:
        file = Path(path).expanduser()
        file = file / "tokenizer.json" if file.is_dir() else file
        exists = file.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(Problem.refused(where, error, value=path)) from None
    if not exists:
        why = "no such file, or folder with a tokenizer.json; tokenizers are not downloaded from a hub"
        raise UsageError(Problem(where=where, value=path, why=why, remedy="give the path of a local tokenizer.json"))
    try:
        text = files.read_text(file, limit=MAX_TOKENIZER)
        if counted or available:
            counter(text)
    except (OSError, ValueError) as error:
        raise UsageError(Problem.refused(where, error, value=path)) from None
    return text


def input_checks(workload: Workload, supply: RowSupply | None = None) -> list[Check]:
    """One check per file that the workload names.

    Args:
        workload: The workload.
        supply: Keeps the datasets for the windows that follow, so that each is indexed once.
    """
    supply = supply or RowSupply()
    checks = []
    if workload.tokenizer:
        checks.append(_check(f"tokenizer {workload.tokenizer}", workload.tokenizer, tokenizer_text))
    found = ((part.dataset, part.conversations is not None) for s in workload.scenarios for part in s.parts)
    for path, turns in dict.fromkeys(found):
        if path:
            checks.append(_dataset_check(supply, path, workload, turns=turns))
    for part in dict.fromkeys(s.trace for s in workload.scenarios if s.trace):
        checks.append(_trace_check(part))  # noqa: PERF401
    return checks


def _check(name: str, path: str, read: Callable[[str], object]) -> Check:
    try:
        read(path)
    except UsageError as error:
        return _failed(name, error, path)
    return Check.ok(name)


def _dataset_check(supply: RowSupply, path: str, workload: Workload, *, turns: bool) -> Check:
    name = f"dataset {path}"
    try:
        found = supply.dataset(path, turns=turns)
        found.check_api(workload.api)
    except UsageError as error:
        return _failed(name, error, path)
    if found.estimated and workload.tokenizer is None:
        return Check.warn(
            name, "; ".join([*found.notes, ESTIMATED]), remedy="set workload.tokenizer to count their tokens"
        )
    if found.notes:
        remedy = "set fields that every request needs in workload.extra_body" if found.unsent else ""
        return Check.warn(name, "; ".join(found.notes), remedy=remedy)
    return Check.ok(name, f"{len(found.rows)} {'conversations' if turns else 'rows'}")


def _trace_check(part: TracePart) -> Check:
    try:
        return trace_check(part)
    except UsageError as error:
        return _failed(f"trace {part.file}", error, part.file)


def _failed(name: str, error: UsageError, path: str) -> Check:
    problem = error.problems[0]
    failed = Check.fail(name, f"{problem.where}: {problem.why}", remedy=problem.remedy)
    # A file that is not here may be on another machine.
    return failed.replaced(problem=problem) if files.exists(Path(path)) else failed
