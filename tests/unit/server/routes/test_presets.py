"""Presets over the API."""

from collections.abc import Callable

import httpx
import pytest

from support.web.audit import audited

Clients = Callable[[str], httpx.Client]
PATH = "/api/v1/presets"
TEXT = "# of the team\nengine: vllm\n"


def test_presets_are_saved_listed_exported_and_removed(client: Clients) -> None:
    writer = client("write")
    saved = writer.put(f"{PATH}/chat", json={"text": TEXT})
    assert saved.status_code == 200, saved.text
    assert (saved.json()["engine"], saved.json()["updated_by"]) == ("vllm", "token a write token")
    reader = client("read")
    assert reader.get(PATH).json() == [saved.json()]
    exported = reader.get(f"{PATH}/chat")
    assert (exported.text, exported.headers["Content-Type"]) == (TEXT, "text/plain; charset=utf-8")
    assert writer.delete(f"{PATH}/chat").status_code == 204
    assert [writer.delete(f"{PATH}/chat").status_code, reader.get(f"{PATH}/chat").status_code] == [404, 404]
    assert audited(3) == [("remove_preset", 404), ("remove_preset", 204), ("save_preset", 200)]


@pytest.mark.parametrize(
    "body", [{}, {"text": "["}, {"text": "x"}, {"text": "a: 1", "name": "y"}, {"text": 70_000 * "#"}]
)
def test_a_wrong_preset_is_refused(client: Clients, body: dict[str, str]) -> None:
    answer = client("write").put(f"{PATH}/chat", json=body)
    assert (answer.status_code, answer.json()["error"]["kind"]) == (422, "usage")
    assert client("read").get(PATH).json() == []
