"""Credentials that ``docker login`` left."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.deployers.docker.credentials import auth_header, registry_of
from autotuner.deployers.docker.resource_limits import over

LIMITS = """\
Limit                     Soft Limit           Hard Limit           Units
Max stack size            8388608              unlimited            bytes
Max open files            1024                 524288               files
Max locked memory         8388608              8388608              bytes
"""


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("busybox", "docker.io"),
        ("vllm/vllm-openai:v1", "docker.io"),
        ("ghcr.io/org/image@sha256:0", "ghcr.io"),
        ("localhost/image", "localhost"),
        ("registry:5000/image:1", "registry:5000"),
    ],
)
def test_the_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def given(folder: Path, config: Any) -> dict[str, str]:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return {"DOCKER_CONFIG": str(folder)}


def sent(image: str, environ: dict[str, str]) -> Any:
    header = auth_header(image, environ)
    return None if header is None else json.loads(base64.urlsafe_b64decode(header))


def coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("auths", "image", "expected"),
    [
        ({"ghcr.io": {"auth": coded("me:pa:ss")}}, "ghcr.io/a/b", {"username": "me", "password": "pa:ss"}),
        ({"https://ghcr.io": {"auth": coded("me:p")}}, "ghcr.io/a/b", {"username": "me", "password": "p"}),
        ({"ghcr.io": {"identitytoken": "tok"}}, "ghcr.io/a/b", {"identitytoken": "tok"}),
        ({"https://index.docker.io/v1/": {"auth": coded("me:p")}}, "busybox", {"username": "me", "password": "p"}),
        ({"ghcr.io": {"auth": coded("me:p")}}, "quay.io/a/b", None),
        ({"ghcr.io": {}}, "ghcr.io/a/b", None),
        ({"ghcr.io": {"auth": "%%%"}}, "ghcr.io/a/b", None),
    ],
)
def test_from_the_file(tmp_path: Path, auths: Any, image: str, expected: Any) -> None:
    found = sent(image, given(tmp_path, {"auths": auths}))
    assert (found and {k: v for k, v in found.items() if k != "serveraddress"}) == expected


@pytest.mark.parametrize("config", ["", "[]", "{nonsense", '{"auths": 7}'])
def test_a_file_that_says_nothing(tmp_path: Path, config: str) -> None:
    assert auth_header("busybox", given(tmp_path, config)) is None
    assert auth_header("busybox", {"DOCKER_CONFIG": str(tmp_path / "absent")}) is None


@pytest.mark.parametrize("section", [{"credsStore": "test"}, {"credHelpers": {"ghcr.io": "test"}}])
@pytest.mark.parametrize(
    ("user", "expected"),
    [("me", {"username": "me", "password": "s"}), ("<token>", {"identitytoken": "s"})],
)
def test_from_a_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: Any, user: str, expected: dict[str, str]
) -> None:
    helper = tmp_path / "docker-credential-test"
    answer = json.dumps({"ServerURL": "x", "Username": user, "Secret": "s"})
    helper.write_text(f"#!/bin/sh\nread -r key; [ \"$1 $key\" = 'get ghcr.io' ] || exit 1\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    environ = given(tmp_path, {"auths": {"ghcr.io": {}}, **section})
    assert sent("ghcr.io/a/b", environ) == {**expected, "serveraddress": "ghcr.io"}
    assert auth_header("quay.io/a/b", environ) is None


@pytest.mark.parametrize(
    ("wanted", "refused"),
    [
        ({"memlock": -1}, True),
        ({"memlock": 8388608}, False),
        ({"memlock": "1:9000000"}, True),
        ({"stack": 67108864}, False),
        ({"nofile": 1048576}, True),
        ({"nofile": "1024:524288"}, False),
        ({"unknown": 1}, False),
    ],
)
def test_limits_above_the_engines_own(wanted: dict[str, int | str], refused: bool) -> None:
    assert bool(over(LIMITS, wanted)) is refused
