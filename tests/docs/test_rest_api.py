"""The page about the REST API has every route with its scope, and every kind of error."""

import re
from pathlib import Path

import autotuner
from autotuner.server import problems
from autotuner.server.app import create_app

PAGE = (Path(__file__).parents[2] / "docs/reference/rest-api.md").read_text()


def test_the_page_has_exactly_the_routes() -> None:
    paths = create_app(autotuner.open()).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert set(re.findall(r"^\| `((?:GET|POST|PUT|DELETE) [^`]+)` \|", PAGE, re.MULTILINE)) == routes


def test_every_operation_says_what_it_does_and_how_it_fails() -> None:
    paths = create_app(autotuner.open()).openapi()["paths"]
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["summary"]
            assert operation["description"]
            for status in {*map(str, problems.OF_STATUSES), *(str(status) for *_, status in problems.OF_ERRORS)} - {
                "405"
            }:
                body = operation["responses"][status]["content"]["application/json"]["schema"]
                assert body == {"$ref": "#/components/schemas/ErrorBody"}, (path, status)


def test_the_page_has_every_kind_of_error() -> None:
    rows = dict(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE))
    of_errors = {str(status): kind for _, kind, status in problems.OF_ERRORS}
    of_statuses = {str(status): kind for status, kind in problems.OF_STATUSES.items()}
    assert rows == {**of_statuses, **of_errors, "500": "defect"}
    described = re.findall(r"``(\w+)``", problems.ErrorDetail.model_fields["kind"].description or "")
    assert set(described) == set(rows.values())
