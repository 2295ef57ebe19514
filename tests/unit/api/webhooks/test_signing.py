"""Signatures, against the test vector of the specification's libraries and against OpenSSL."""

import base64
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotuner.api.webhooks.signing import key_of, new_secret, signed_headers
from autotuner.errors import UsageError

VECTOR = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def by_openssl(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_")).hex()
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{key}", "-binary"]
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    return "v1," + base64.b64encode(done.stdout).decode()


def test_the_vector_of_the_specification() -> None:
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == VECTOR
    assert headers["webhook-timestamp"] == "1614265330"


@settings(max_examples=5)
@given(body=st.binary(max_size=200), at=st.floats(0, 4e9))
def test_openssl_computes_the_same(body: bytes, at: float) -> None:
    secret = new_secret()
    headers = signed_headers(key_of(secret), "msg_1", at, body)
    assert headers["webhook-signature"] == by_openssl(secret, f"msg_1.{int(at)}.".encode() + body)


def test_secrets_differ_and_are_long_enough() -> None:
    assert len({new_secret() for _ in range(10)}) == 10
    assert len(key_of(new_secret())) == 32
    assert key_of("x" * 24) == b"x" * 24


@pytest.mark.parametrize("secret", ["", "short", "whsec_!!!", "whsec_c2hvcnQ=", "x" * 65])
def test_a_secret_that_protects_nothing_is_refused(secret: str) -> None:
    with pytest.raises(UsageError) as caught:
        key_of(secret)
    assert not secret or secret not in str(caught.value)
