"""Tokens on the command line, and what `serve` refuses."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import autotuner

Call = Callable[..., Any]


def test_a_token_is_printed_once_and_nothing_else_goes_to_stdout(call: Call) -> None:
    made = call("token", "create", "ci", "--scope", "write", "--days", "30")
    assert made.code == 0
    token = autotuner.open().access().check(made.out.strip())
    assert token is not None
    assert (token.name, token.scope) == ("ci", autotuner.TokenScope.WRITE)
    assert token.id in made.err
    assert made.out.strip() not in made.err
    listed = call("token", "list")
    assert [word for word in (token.id, "ci", "write", "valid") if word not in listed.out] == []
    assert made.out.strip() not in listed.out


def test_tokens_as_json(call: Call) -> None:
    made = call("token", "create", "ci", "--json").data
    assert autotuner.open().access().check(made["secret"]) is not None
    (listed,) = call("token", "list", "--json").data["tokens"]
    assert (listed["id"], listed["scope"]) == (made["token"]["id"], "read")
    assert "secret" not in json.dumps(listed)
    assert call("token", "revoke", listed["id"], "--json").data == {"revoked": listed["id"]}
    assert autotuner.open().access().check(made["secret"]) is None
    assert "revoked" in call("token", "list").out


@pytest.mark.parametrize(
    "words", [("create", ""), ("create", "-x", "--days", "0"), ("revoke", "unknown"), ("create", "a\nb")]
)
def test_wrong_arguments_create_nothing(call: Call, words: tuple[str, ...]) -> None:
    done = call("token", *words)
    assert (done.code, done.out) == (2, "")
    assert autotuner.open().access().tokens() == []


def test_no_tokens(call: Call) -> None:
    assert call("token", "list").out == "no tokens; to create one: autotuner token create NAME\n"


def test_other_machines_need_a_token(call: Call) -> None:
    done = call("serve", "--host", "0.0.0.0", "--port", "0")
    assert done.code == 2
    assert "no valid token exists" in done.err


def test_an_address_that_is_not_this_machines(call: Call) -> None:
    call("token", "create", "ci")
    done = call("serve", "--host", "192.0.2.1", "--port", "0")
    assert (done.code, done.out) == (1, "")
    assert "cannot listen on 192.0.2.1:0" in done.err
