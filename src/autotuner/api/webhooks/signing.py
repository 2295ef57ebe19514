"""Signatures of messages, by the Standard Webhooks specification 1.0."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Mapping

from autotuner.errors import UsageError

PREFIX = "whsec_"
_BYTES = (24, 64)
"""Length of a secret."""


def new_secret() -> str:
    """A new signing secret in the form in which receivers take it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """The key of a signing secret: ``whsec_`` and base64, or any other text as it is. Raises ``UsageError``."""
    text = secret.strip()
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else text.encode()
    except binascii.Error:
        raise UsageError.at("secret", f"is not base64 after {PREFIX}") from None
    if not _BYTES[0] <= len(key) <= _BYTES[1]:
        remedy = f'make one with: python -c "import secrets; print(secrets.token_hex({_BYTES[0]}))"'
        raise UsageError.at("secret", f"has {len(key)} bytes instead of {_BYTES[0]} to {_BYTES[1]}", remedy=remedy)
    return key


def signed_headers(key: bytes, identity: str, at: float, body: bytes) -> Mapping[str, str]:
    """The headers with which a receiver can verify a message.

    Args:
        key: Of the signing secret.
        identity: Id of the message, the same for all attempts.
        at: When this attempt is made, in seconds since the epoch.
        body: The body.
    """
    timestamp = str(int(at))
    digest = hmac.digest(key, b".".join((identity.encode(), timestamp.encode(), body)), "sha256")
    return {
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }
