"""Generated requests to every route of a real server: no defect, and every answer is as its description says."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import autotuner
from support.stored_samples import store_sample
from support.web.capacity_study import store_capacity_study

Clients = Callable[[str], httpx.Client]
Parts = dict[str, Any]
"""Parts of requests: ``path_parameters``, ``query``, ``body``."""
POSITIVE = 3
"""Requests per route that the description allows, and as many again with parts that exist."""
NEGATIVE = 2
"""Requests per route that the description does not allow."""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
STREAMS = ("/api/v1/events", "/api/v1/studies/{name}/events")
"""They answer without end."""
ORDER = ("GET", "POST", "PUT", "DELETE")
"""Routes that remove something come last."""
COOKIE_ONLY = {"DELETE /api/v1/session"}
"""Routes for browsers, which refuse every token."""
STUDY = """\
name: described
model: Qwen/Qwen3-8B
engine: {kind: simulated, gpu: H100}
parameters: {mem-fraction-static: [0.8, 0.9]}
workload: {scenarios: "D(300,64)", concurrency: [8, 32]}
objective: max output_throughput
"""
PRESET = "engine: {kind: vllm}\nobjective: max output_throughput\n"


@pytest.fixture
def existing(stored: str) -> Callable[[APIOperation], Parts]:
    """Parts of requests about what exists, by operation."""
    store_sample("latency")
    tuner = autotuner.open()
    webhook = tuner.webhooks().add("ops", "https://ops.example.com/hook").webhook
    token = tuner.access().create("a script")
    preset = {"path_parameters": {"name": tuner.presets().save("a-preset", PRESET).name}}
    known = {"name": stored, "number": 1, "engine": "vllm", "identity": webhook.id}
    of_operation: dict[str, Parts] = {
        "GET /api/v1/studies/{name}/manifest": {"query": {"form": "compose", "image": "registry.example/llama:1"}},
        "POST /api/v1/session": {"body": {"token": token.secret}},
        "GET /api/v1/studies/{name}/trials/{number}/verification": {
            "path_parameters": {"name": store_capacity_study(requests=(40,)).spec.name, "number": 0}
        },
        "POST /api/v1/studies": {"body": {"study": STUDY}},
        "POST /api/v1/studies/validate": {"body": {"study": STUDY}},
        "POST /api/v1/studies/plan": {"body": {"study": STUDY}},
        "POST /api/v1/studies/doctor": {"body": {"study": STUDY}},
        "POST /api/v1/studies/{name}/clone": {"body": {"name": "copied"}},
        "POST /api/v1/webhooks": {"body": {"name": "ops", "url": "https://ops.example.com/hook"}},
        "PUT /api/v1/studies/{name}": {"path_parameters": {"name": "described"}, "body": {"study": STUDY}},
        "GET /api/v1/presets/{name}": preset,
        "PUT /api/v1/presets/{name}": {**preset, "body": {"text": PRESET}},
        "DELETE /api/v1/presets/{name}": preset,
        "POST /api/v1/tokens": {"body": {"name": "another script"}},
        "DELETE /api/v1/tokens/{identity}": {"path_parameters": {"identity": token.token.id}},
    }

    def parts(operation: APIOperation) -> Parts:
        path = {one.name: known[one.name] for one in operation.path_parameters if one.name in known}
        return {**({"path_parameters": path} if path else {}), **of_operation.get(operation.label, {})}

    return parts


def operations(url: str, headers: dict[str, str]) -> list[APIOperation]:
    config = schemathesis.Config()
    schema = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", headers=headers, config=config)
    found = [operation.ok() for operation in schema.get_all_operations()]
    return sorted(found, key=lambda operation: ORDER.index(operation.method.upper()))


def tries(operation: APIOperation, parts: Parts) -> Iterator[tuple[GenerationMode, Parts, int]]:
    yield GenerationMode.POSITIVE, {}, POSITIVE
    if parts:
        yield GenerationMode.POSITIVE, parts, POSITIVE
    if any((*operation.path_parameters, *operation.query, *operation.headers, *operation.body)):
        yield GenerationMode.NEGATIVE, {}, NEGATIVE


def bounded(examples: int) -> settings:
    """The same requests in every run."""
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )


def answer(case: Case, client: httpx.Client, url: str, headers: dict[str, str]) -> Any:
    if case.path not in STREAMS:
        return case.call(base_url=url, headers=headers, timeout=60)
    request = case.as_transport_kwargs(base_url=url, headers=headers)
    wanted = {name: request[name] for name in ("method", "url", "params", "headers")}
    with client.stream(**wanted) as response:
        body = response.read() if response.status_code != 200 else next(response.iter_bytes())
    # What validates it needs a response that has ended.
    ended = httpx.Response(response.status_code, headers=response.headers, content=body, request=response.request)
    ended.elapsed = timedelta()
    return ended


def test_every_answer_is_as_described(url: str, existing: Callable[[APIOperation], Parts], client: Clients) -> None:
    admin = client("admin")
    headers = {"Authorization": admin.headers["Authorization"]}
    wrong = dict[str, str]()
    accepted = Counter[str]()

    def check(case: Case) -> None:
        response = answer(case, admin, url, headers)
        accepted[case.operation.label] += response.status_code < 400
        case.validate_response(response, checks=CHECKS, headers=headers)

    found = operations(url, headers)
    for operation in found:
        for mode, parts, count in tries(operation, existing(operation)):
            requests = operation.as_strategy(generation_mode=mode, **parts)
            try:
                bounded(count)(given(case=requests)(check))()
            except Unsatisfiable:  # whatever is sent there may be ignored
                assert mode is GenerationMode.NEGATIVE
            except (FailureGroup, Exception) as error:
                wrong[f"{operation.label}, {mode.value}"] = str(error)
    assert wrong == {}
    assert {operation.label for operation in found if not accepted[operation.label]} == COOKIE_ONLY
