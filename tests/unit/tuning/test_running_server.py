"""Lookup of the model of a running server."""

import pytest

from autotuner.errors import UsageError
from autotuner.net.target import parse_target
from autotuner.testing.scripted_http import Reply, json_reply, scripted_server
from autotuner.tuning.running_server import first_model

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("reply", "settings"),
    [
        (json_reply({"detail": "Not Found"}, 404), {"URL", "--model"}),
        (Reply(501, b""), {"URL", "--model"}),
        (Reply(200, b"hello"), {"URL", "--model"}),
        (json_reply({"data": []}), {"--model"}),
        (json_reply({"detail": "no key"}, 401), {"--api-key-env"}),
    ],
    ids=["no such path", "not implemented", "not JSON", "empty list", "no key"],
)
async def test_server_without_a_list_of_models(reply: Reply, settings: set[str]) -> None:
    with scripted_server(lambda _: reply) as server, pytest.raises(UsageError) as caught:
        await first_model(parse_target(server.url))
    [problem] = caught.value.problems
    assert problem.where == "URL"
    assert {name for name in ("URL", "--model", "--api-key-env") if name in problem.remedy} == settings


async def test_first_model() -> None:
    models = json_reply({"data": [{"id": "a"}, {"id": "b"}]})
    with scripted_server(lambda _: models) as server:
        assert await first_model(parse_target(server.url)) == "a"
