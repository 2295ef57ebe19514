"""Compose files of the exports checked against the Compose specification."""

from collections.abc import Callable
from typing import Any

import pytest

from autotuner.manifests.yaml_text import yaml_text
from autotuner.report.exported.options import Form
from autotuner.report.exported.render import Manifest
from autotuner.report.result import StudyResult
from support.compose_files import compose_problems


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("service",), {}),
        (("services", "chat", "cmd"), ["x"]),
        (("services", "chat", "image"), 3),
        (("services", "chat", "ports"), {"8000": 8000}),
        (("services", "chat", "environment", "A"), ["x"]),
        (("services", "chat", "volumes", 0, "type"), 7),
        (("services", "chat", "volumes", 0, "readonly"), True),
        (("services", "chat", "shm_size"), None),
        (("services", "chat", "healthcheck", "disable"), []),
        (("services", "chat", "labels", "x"), {}),
        (("services", "chat", "deploy", "resources", "reservations", "devices", 0, "count"), 1.5),
    ],
)
def test_a_broken_compose_file_is_refused(
    won: Callable[..., StudyResult], manifest: Callable[..., Manifest], path: tuple[Any, ...], value: Any
) -> None:
    (file,) = manifest(won(env={"A": "1"}), Form.COMPOSE).objects
    assert compose_problems(yaml_text([file])) == []
    *parents, last = path
    part: Any = file
    for key in parents:
        part = part[key]
    part[last] = value
    where = "$" + "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in parents)
    problems = compose_problems(yaml_text([file]))
    assert [problem for problem in problems if problem.startswith(where)] != [], problems
