"""Secrets recognized in text: by their form, or by what they are assigned to."""

import re
from collections.abc import Iterator

from autotuner.secrets.names import VARIABLE, hides, looks_secret

HIDDEN = "***"

_FORMS = re.compile(
    r"""
    -----BEGIN[ ][A-Z0-9 ]*PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z0-9 ]*PRIVATE[ ]KEY-----|\Z)
    | (?<![A-Za-z0-9])(?:
        hf_(?=[A-Za-z]{0,64}[A-Z0-9])[A-Za-z0-9]{8,}
      | api_org_[A-Za-z0-9]{16,}
      | sk-(?=[A-Za-z_-]{0,64}[A-Z0-9])[A-Za-z0-9_-]{8,}
      | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}
      | gh[pousr]_[A-Za-z0-9]{8,} | github_pat_[A-Za-z0-9_]{8,} | glpat-[A-Za-z0-9_-]{8,}
      | xox[a-z]-[A-Za-z0-9-]{8,} | xapp-[A-Za-z0-9-]{8,}
      | (?:AKIA|ASIA)[A-Z0-9]{12,}
      | AIza[A-Za-z0-9_-]{20,} | ya29\.[A-Za-z0-9_-]{8,}
      | nvapi-[A-Za-z0-9_-]{8,} | gsk_[A-Za-z0-9]{16,} | r8_[A-Za-z0-9]{16,} | dckr_(?:pat|oat)_[A-Za-z0-9_-]{8,}
      | npm_[A-Za-z0-9]{16,} | pypi-[A-Za-z0-9_-]{16,} | hvs\.[A-Za-z0-9_-]{8,} | dapi[0-9a-f]{16,}
      | eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_SCHEME = re.compile(
    r"\b(?P<head>(?i:Bearer|Basic|Token|ApiKey)[ \t]+)"
    r"(?P<value>(?=[A-Za-z_.~+/-]{0,64}[0-9=]|[a-z]{0,64}[A-Z]{1,8}[a-z])[A-Za-z0-9._~+/=-]{6,})"
)
"""The value after an HTTP scheme; a digit, padding or mixed case distinguishes it from ``bearer authentication``."""
_USERINFO = re.compile(
    r"(?P<head>\b(?!(?:git\+)?ssh:)[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?P<value>[^\s/?#\"'<>\\]{1,512}(?=@)|[^\s/?#\"'<>\\@:]{0,256}:(?!\d{1,5}/)[^\s\"'<>\\@]{1,512}(?=@))"
)
"""User and password of a URL. A user without a password is included, because it often is a token."""
_QUERY = re.compile(r"(?P<head>[?&;](?P<name>[A-Za-z][\w.-]*)=)(?P<value>[^\s&#;\"'<>\\]+)")
_IN_QUERY = re.compile(
    r"(?i)(?:x-(?:amz|goog)-(?:signature|credential|security-token)|sig|signature|key|code|pwd|pass|pat)"
)
_ASSIGNED = re.compile(
    r"(?<![\w.-])(?P<head>(?P<dash>--?)?(?P<name>[A-Za-z_][\w.-]*)"
    r"(?P<middle>=|[\"']\s*[:=]\s*|\s*:\s*(?=[\"'])|:[ \t]+|(?(dash)[ \t]+(?=[^-\s])|(?!))))"
    r"(?P<value>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|\[[^\]\n]*\]|[^\s,;\"'}\])]+)"
)
"""``NAME=value``, ``"name": "value"``, ``name: value`` and ``--name value``."""
_LIST_OR_QUOTED = ("'", '"', "[")
_KEPT = re.compile(r"[\"']?(?:\$|\*\*\*|\(hidden\)|<|\{|\.\.\.|VALUE\b|(?i:None|null|true|false)\b)")
"""Values that are references, placeholders or switches."""


def _looks_random(value: str) -> bool:
    """Whether a value is a leak (``token: x8fK21aa``) and not the next word of a message (``token: expected``)."""
    has = [any(map(test, value)) for test in (str.isdigit, str.islower, str.isupper)]
    return len(value) >= 20 or (len(value) >= 6 and sum(has) >= 2)


def _is_assigned(match: re.Match[str]) -> bool:
    name = match["name"]
    middle = match["middle"]
    value = match["value"]
    if _KEPT.match(value) or not hides(name, value.strip("\"'")):
        return False
    if "=" in middle or middle.isspace():
        return True
    return value.startswith(_LIST_OR_QUOTED) or _looks_random(value)


def _assigned(match: re.Match[str]) -> str:
    if not _is_assigned(match):
        return match[0]
    mark = match["value"][0] if match["value"].startswith(("'", '"')) else ""
    return f"{match['head']}{mark}{HIDDEN}{mark}"


def _names_variable(match: re.Match[str]) -> bool:
    """Whether the password of a URL is a reference to an environment variable."""
    user, _, password = match["value"].partition(":")
    return VARIABLE.fullmatch(password or user) is not None


def _queried(match: re.Match[str]) -> str:
    secret = _IN_QUERY.fullmatch(match["name"]) or looks_secret(match["name"])
    if VARIABLE.fullmatch(match["value"]):
        return match[0]
    return match["head"] + HIDDEN if secret else match[0]


def without_forms(text: str) -> str:
    """The text without secrets that their form alone gives away; safe for whole documents, code and markup included."""
    if "://" in text:
        text = _USERINFO.sub(lambda m: m["head"] + (m["value"] if _names_variable(m) else HIDDEN), text)
    text = _QUERY.sub(_queried, text)
    return _FORMS.sub(HIDDEN, _SCHEME.sub(lambda m: m["head"] + HIDDEN, text))


def has_secret_form(text: str) -> bool:
    """Whether a text holds a secret that its form alone gives away."""
    return without_forms(text) != text


def without_assigned(text: str) -> str:
    """The text without the values assigned to names of secrets (``HF_TOKEN=...``, ``--api-key ...``)."""
    return _ASSIGNED.sub(_assigned, text)


_CREDENTIALS = re.compile(r"(?i)\b(?:Bearer|Basic|Token|ApiKey)\s+(\S+)")


def credentials_in(header: str) -> Iterator[str]:
    """The values that follow an HTTP scheme: of ``Bearer abc``, ``abc``."""
    yield from (m[1] for m in _CREDENTIALS.finditer(header))


def secrets_in_text(text: str) -> Iterator[str]:
    """The secrets that a text gives away by their form or by an assignment; of a URL also the password alone."""
    yield from (m[0] for m in _FORMS.finditer(text))
    yield from (m["value"] for m in _SCHEME.finditer(text))
    for match in _USERINFO.finditer(text):
        if _names_variable(match):
            continue
        yield match["value"]
        password = match["value"].partition(":")[2]
        if password:
            yield password
    yield from (m["value"] for m in _QUERY.finditer(text) if _queried(m) != m[0])
    yield from (m["value"].strip("\"'") for m in _ASSIGNED.finditer(text) if _is_assigned(m))
