"""Registry credentials saved by ``docker login``."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from autotuner.deployers.docker.credentials import auth_header, registry_of


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
def test_registry_of_an_image(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def docker_config(folder: Path, config: Any) -> dict[str, str]:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return {"DOCKER_CONFIG": str(folder)}


def decoded_header(image: str, environ: dict[str, str]) -> Any:
    header = auth_header(image, environ)
    return None if header is None else json.loads(base64.urlsafe_b64decode(header))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("auths", "image", "expected"),
    [
        ({"ghcr.io": {"auth": encoded("me:pa:ss")}}, "ghcr.io/a/b", {"username": "me", "password": "pa:ss"}),
        ({"https://ghcr.io": {"auth": encoded("me:p")}}, "ghcr.io/a/b", {"username": "me", "password": "p"}),
        ({"ghcr.io": {"identitytoken": "tok"}}, "ghcr.io/a/b", {"identitytoken": "tok"}),
        (
            {"https://index.docker.io/v1/": {"auth": encoded("me:p")}},
            "busybox",
            {"username": "me", "password": "p"},
        ),
        ({"ghcr.io": {"auth": encoded("me:p")}}, "quay.io/a/b", None),
        ({"ghcr.io": {}}, "ghcr.io/a/b", None),
        ({"ghcr.io": {"auth": "%%%"}}, "ghcr.io/a/b", None),
    ],
)
def test_credentials_in_the_file(tmp_path: Path, auths: Any, image: str, expected: Any) -> None:
    found = decoded_header(image, docker_config(tmp_path, {"auths": auths}))
    assert (found and {k: v for k, v in found.items() if k != "serveraddress"}) == expected


@pytest.mark.parametrize("config", ["", "[]", "{nonsense", '{"auths": 7}'])
def test_file_without_credentials(tmp_path: Path, config: str) -> None:
    assert auth_header("busybox", docker_config(tmp_path, config)) is None
    assert auth_header("busybox", {"DOCKER_CONFIG": str(tmp_path / "absent")}) is None


@pytest.mark.parametrize("section", [{"credsStore": "test"}, {"credHelpers": {"ghcr.io": "test"}}])
@pytest.mark.parametrize(
    ("user", "expected"),
    [("me", {"username": "me", "password": "s"}), ("<token>", {"identitytoken": "s"})],
)
def test_credentials_from_a_helper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: Any, user: str, expected: dict[str, str]
) -> None:
    helper = tmp_path / "docker-credential-test"
    answer = json.dumps({"ServerURL": "x", "Username": user, "Secret": "s"})
    helper.write_text(f"#!/bin/sh\nread -r key; [ \"$1 $key\" = 'get ghcr.io' ] || exit 1\necho '{answer}'\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    environ = docker_config(tmp_path, {"auths": {"ghcr.io": {}}, **section})
    assert decoded_header("ghcr.io/a/b", environ) == {**expected, "serveraddress": "ghcr.io"}
    assert auth_header("quay.io/a/b", environ) is None
