"""Addresses of servers that are already running."""

import re
from base64 import b64decode

import pytest

from autotuner.net.target import Access, check_header, credentials_in, expanded, parse_header, parse_target


@pytest.mark.parametrize(
    ("url", "models", "chat"),
    [
        ("http://h", "http://h/v1/models", "http://h/v1/chat/completions"),
        ("http://h/", "http://h/v1/models", "http://h/v1/chat/completions"),
        ("http://h/v1", "http://h/v1/models", "http://h/v1/chat/completions"),
        ("http://h:8000/v1/", "http://h:8000/v1/models", "http://h:8000/v1/chat/completions"),
        ("https://h/team/a/v1", "https://h/team/a/v1/models", "https://h/team/a/v1/chat/completions"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1/models", "http://[::1]:8000/v1/chat/completions"),
        ("https://gw/v1?v=2024", "https://gw/v1/models?v=2024", "https://gw/v1/chat/completions?v=2024"),
        ("https://gw/v1/chat/completions", "https://gw/v1/models", "https://gw/v1/chat/completions"),
        (
            "https://x/openai/deployments/D/chat/completions?api-version=1",
            "https://x/openai/deployments/D/models?api-version=1",
            "https://x/openai/deployments/D/chat/completions?api-version=1",
        ),
        ("https://user:pw@h/v1", "https://h/v1/models", "https://h/v1/chat/completions"),
    ],
)
def test_paths(url: str, models: str, chat: str) -> None:
    target = parse_target(url)
    assert target.url("/v1/models") == models
    assert target.url("/v1/chat/completions") == chat


def test_path_with_a_query() -> None:
    assert parse_target("http://h?a=1").url("/health?b=2") == "http://h/health?b=2&a=1"


@pytest.mark.parametrize(
    "url",
    ["", "h:80", "ftp://h", "http://", "http://h:port/", "http://[::1", "http://h/#x", "http://h/ x", "http://h/\n"],
)
def test_invalid_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|https?://|#"):
        parse_target(url)


def test_user_and_password_become_basic_authentication() -> None:
    target = parse_target("https://us%40er:p%3Aw@h/v1")
    scheme, _, pair = target.headers["Authorization"].partition(" ")
    assert scheme == "Basic"
    assert b64decode(pair) == b"us@er:p:w"
    assert "p%3Aw" not in target.shown + target.base + repr(target)


def test_precedence_of_authorization() -> None:
    assert parse_target("https://u:p@h", key="k").headers == {"Authorization": "Bearer k"}
    own = {"authorization": "Custom x"}
    assert parse_target("https://u:p@h", key="k", headers=own).headers == own


def test_repr_omits_secrets() -> None:
    target = parse_target("https://h/v1?key=s3cret", key="sk-abc", headers={"api-key": "hunter2"})
    for secret in ("s3cret", "sk-abc", "hunter2"):
        assert secret not in repr(target) + target.shown
        assert secret in credentials_in(target.headers, target.access)
    assert "pw" in credentials_in(parse_target("https://u:pw@h").headers, Access())


def test_variables_are_replaced() -> None:
    assert expanded("Bearer ${KEY}-${KEY}", {"KEY": "x"}) == "Bearer x-x"
    assert expanded("$KEY {KEY} ${", {}) == "$KEY {KEY} ${"
    with pytest.raises(ValueError, match="KEY"):
        expanded("${KEY}", {"KEY": ""})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("a b", "x"),
        ("Host", "x"),
        ("content-length", "1"),
        ("X", "a\r\nY: b"),
        ("X", "a\x00"),
        ("X", "\u4e2d"),
    ],
)
def test_invalid_headers(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=re.escape(name or "''")):
        check_header(name, value)


def test_parse_header() -> None:
    assert parse_header("X-Team:  a: b ") == ("X-Team", "a: b")
    with pytest.raises(ValueError, match="Name: value"):
        parse_header("X-Team")
