"""Files that a workload names: datasets and tokenizers. Local only; a hub's name is refused, never looked up."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from autotuner.benchmarks.loadgen.tokens import available, counter
from autotuner.study.errors import Check, CheckStatus, Problem, UsageError
from autotuner.study.workload import Workload


def tokenizer_text(path: str, where: str = "workload.tokenizer", *, counted: bool = True) -> str:
    """The text of a local tokenizer.json, given as the file or its folder. ``counted``: we count tokens with it, which
    needs the ``tokenizer`` extra. Raises :class:`UsageError`."""
    file = Path(path).expanduser()
    file = file / "tokenizer.json" if file.is_dir() else file
    if not file.is_file():
        why = "no such file or folder with a tokenizer.json; tokenizers are never fetched from a hub"
        raise UsageError(Problem(where=where, value=path, why=why, remedy="give the path of a local tokenizer.json"))
    try:
        text = file.read_text(encoding="utf-8")
        if counted or available:
            counter(text)
    except (OSError, ValueError) as error:
        raise UsageError(Problem(where=where, value=path, why=str(error))) from None
    return text


def dataset_rows(path: str) -> tuple[Mapping[str, Any], ...]:
    """Rows of a JSON-lines dataset: each has ``prompt`` (text) or ``messages`` (OpenAI's list), and may have
    ``max_tokens``. Raises :class:`UsageError` naming the first bad line."""
    where = f"workload.scenarios dataset:{path}"
    try:
        lines = Path(path).expanduser().read_bytes().splitlines()
    except OSError as error:
        raise UsageError(Problem(where=where, why=error.strerror or str(error))) from None
    rows = [_row(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UsageError(Problem(where=where, why="the dataset is empty", remedy='one {"prompt": "..."} a line'))
    return tuple(rows)


def _row(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(Problem(where=where, why=f"not JSON: {error}")) from None
    if not isinstance(row, dict):
        raise UsageError(Problem(where=where, why="not a JSON object", remedy='one {"prompt": "..."} a line'))
    prompt, messages, longest = row.get("prompt"), row.get("messages"), row.get("max_tokens")
    if not (isinstance(prompt, str) and prompt) and not (isinstance(messages, list) and messages):
        raise UsageError(Problem(where=where, why='has neither "prompt" (text) nor "messages" (list)'))
    if longest is not None and (type(longest) is not int or longest < 1):
        raise UsageError(Problem(where=where, value=str(longest), why='"max_tokens" must be a whole number above 0'))
    return {name: value for name, value in row.items() if name in ("prompt", "messages", "max_tokens")}


def input_checks(workload: Workload) -> list[Check]:
    """One check per file that the workload names."""
    checks = []
    if workload.tokenizer:
        checks.append(_check(f"tokenizer {workload.tokenizer}", workload.tokenizer, tokenizer_text))
    for path in dict.fromkeys(s.dataset for s in workload.scenarios if s.dataset):
        checks.append(_check(f"dataset {path}", path, dataset_rows))  # noqa: PERF401
    return checks


def _check(name: str, path: str, read: Callable[[str], object]) -> Check:
    try:
        read(path)
    except UsageError as error:
        problem = error.problems[0]
        return Check(name=name, status=CheckStatus.FAIL, detail=str(problem), remedy=problem.remedy)
    return Check(name=name, status=CheckStatus.OK)
