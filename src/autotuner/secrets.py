"""What a secret is, by name and by form, and how it is taken out of data and text.

Every output of the program goes through this module: the store, problems, reports, exports, logs, the terminal. A
secret is recognized in three ways: by the name it stands under (``HF_TOKEN``, ``dbPassword``), by its form
(``ghp_...``, a password in a URL), and verbatim once its value is known (:func:`remember`), wherever it shows up.
"""

import html
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

HIDDEN = "***"
SHORTEST = 4
"""Shorter values are hidden where they stand, but not searched for in other text."""
_SHORTEST_INHERITED = 8
"""The same for the tuner's own environment, whose values nobody chose with this search in mind."""

T = TypeVar("T", bound=BaseModel)


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# By name

_STRONG = _set(
    "secret secrets password passwords passwd passphrase passphrases passcode credential credentials cred "
    "creds apikey apikeys authorization bearer cookie cookies jwt"
)
"""Name a secret wherever they stand in a name."""
_FINAL = _set("pass pwd pw pat pats auth sig signature otp sas")
"""Name one as the last part of a longer name (``DB_PASS``), or alone in ``auth`` and the like."""
_NOT_ALONE = _set("pass pwd pw pat pats sas")
"""``PWD`` alone is the working directory, ``pass`` a count."""
_ENDINGS = ("apikey", "secret", "password", "passwd", "passphrase", "secretkey", "accesskey", "privatekey", "authkey")
"""Of words written together: ``PGPASSWORD``, ``aws_secretkey``."""
_TOGETHER = re.compile(r"(?:hf|auth|access|api|refresh|bearer|session|github|gitlab|hub|user|ssh)(?:token|pass)s?")
_ABOUT = _set(
    "env file files path paths dir folder source ms s id ids count type types name names ref refs url uri "
    "host header headers field prefix length len size limit ttl expiry expires provider mode method scheme "
    "required enabled enable policy algorithm format sock socket endpoint issuer budget ratio rate map num "
    "number manager store helper timeout class index details timing version"
)
"""A last word that says: not the secret itself, something about it."""
_SWITCHES = _set("allow enable disable require use no has is")
"""A first word that says: whether there may be one."""
_TOKEN_CONTEXT = _set(
    "max min num n total avg mean budget threshold per batched prefill partial draft special bos eos pad unk "
    "sep cls mask stop start end think reasoning image video audio prompt prompts input output completion "
    "cached new generated itl context first last next limit length len size interval rate ratio throughput "
    "latency parallel healing dropping added extra prefix decode requests samples chunk page seq"
)
"""Beside ``token``: a piece of text, not a credential."""
_TOKEN_OWNERS = _set("api auth access refresh bearer session hf hub github gitlab user admin client service")
"""Beside ``tokens``: credentials, not pieces of text."""
_KEY_CONTEXT = _set(
    "kv cache head heads value values sort primary foreign partition group public prefix num n max min total"
)
"""Beside ``key``: an attention key, an index or the public half."""
_REFERENCES = frozenset({"env secret", "hub token secret", "secret key ref", "secret ref"})
"""Names of settings that hold the name of a Kubernetes Secret, not its content."""
_REFERRING = frozenset({"env_from", "envFrom", "imagePullSecrets", "secretKeyRef", "secretRef"})
"""Sections in which everything is such a reference."""


@lru_cache(4096)
def looks_secret(name: str) -> bool:
    """Whether a value is a secret by its name: ``HF_TOKEN``, ``api-key``, ``hfToken``, ``DB_PASS``; not ``tokenizer``,
    ``max_tokens``, ``api_key_env``, ``token_source``, ``key`` alone, nor a metric's name."""
    words = _words(name)
    if not words or "pull" in words or " ".join(words) in _REFERENCES:
        return False
    if words[-1] in _ABOUT and words[-2:] != ["secret", "id"]:
        return False
    if words[0] in _SWITCHES:
        return False
    return any(map(_strong, words)) or _final(words) or _token(words, name) or _key(words, name)


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    words = re.findall(r"[a-z0-9]+", spaced.lower())
    while len(words) > 1 and words[-1].isdigit():
        words.pop()  # HF_TOKEN_2
    return words


def _strong(word: str) -> bool:
    return word in _STRONG or word.endswith(_ENDINGS) or _TOGETHER.fullmatch(word) is not None


def _final(words: list[str]) -> bool:
    return words[-1] in _FINAL and (len(words) > 1 or words[-1] not in _NOT_ALONE)


def _token(words: list[str], name: str) -> bool:
    """A plural counts pieces of text unless it is written as an environment variable."""
    if _TOKEN_CONTEXT & set(words):
        return False
    return "token" in words or ("tokens" in words and (name.isupper() or bool(_TOKEN_OWNERS & set(words))))


def _key(words: list[str], name: str) -> bool:
    """``key`` alone is the half of a pair; ``KEY`` is an environment variable."""
    if words[-1] not in {"key", "keys"} and not any(pair in _PAIRS for pair in pairwise(words)):
        return False
    return (len(words) > 1 or name.isupper()) and not _KEY_CONTEXT & set(words)


_PAIRS = frozenset((a, b) for a in ("api", "access", "private", "secret", "account") for b in ("key", "keys"))


def _hides(name: object, value: object) -> bool:
    """Whether a scalar under this name is a secret. A number is one too, since YAML reads ``api-key: 12345678`` as
    such, but under a plural it counts tokens; switches and references to variables are none."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not looks_secret(str(name)):
        return False
    if isinstance(value, str) and _VARIABLE.fullmatch(value):
        return False
    words = _words(str(name))
    number = not isinstance(value, str) or re.fullmatch(r"[\d.,_\s]*", value) is not None
    return not (number and words[-1] in {"tokens", "pass", "keys"})


_VARIABLE = re.compile(r"(?:[A-Za-z]+ +)?\$\{[A-Za-z_][A-Za-z0-9_]*\}")
"""A value that names an environment variable, as headers may: ``Bearer ${KEY}``."""


# By form

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
"""The value behind an HTTP scheme; a digit, padding or mixed case tells it from ``bearer authentication``."""
_USERINFO = re.compile(
    r"(?P<head>\b(?!(?:git\+)?ssh:)[A-Za-z][A-Za-z0-9+.-]{0,30}://)"
    r"(?P<value>[^\s/?#\"'<>\\]{1,512}(?=@)|[^\s/?#\"'<>\\@:]{0,256}:(?!\d{1,5}/)[^\s\"'<>\\@]{1,512}(?=@))"
)
"""User and password of a URL, one without a password included: it is a token as often as not."""
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
"""References, placeholders and switches."""


def _looks_random(value: str) -> bool:
    """Told from prose: ``token: expected`` is a message, ``token: x8fK21aa`` a leak."""
    has = [any(map(test, value)) for test in (str.isdigit, str.islower, str.isupper)]
    return len(value) >= 20 or (len(value) >= 6 and sum(has) >= 2)


def _is_assigned(match: re.Match[str]) -> bool:
    name = match["name"]
    middle = match["middle"]
    value = match["value"]
    if _KEPT.match(value) or not _hides(name, value.strip("\"'")):
        return False
    if "=" in middle or middle.isspace():
        return True
    return value.startswith(_LIST_OR_QUOTED) or _looks_random(value)


def _assigned(match: re.Match[str]) -> str:
    if not _is_assigned(match):
        return match[0]
    mark = match["value"][0] if match["value"].startswith(("'", '"')) else ""
    return f"{match['head']}{mark}{HIDDEN}{mark}"


def _named(match: re.Match[str]) -> bool:
    """Whether the password of a URL is the name of a variable."""
    user, _, password = match["value"].partition(":")
    return _VARIABLE.fullmatch(password or user) is not None


def _queried(match: re.Match[str]) -> str:
    secret = _IN_QUERY.fullmatch(match["name"]) or looks_secret(match["name"])
    if _VARIABLE.fullmatch(match["value"]):
        return match[0]
    return match["head"] + HIDDEN if secret else match[0]


def without_forms(text: str) -> str:
    """The text without what is a secret by its form alone; safe for whole documents, code and markup included."""
    if "://" in text:
        text = _USERINFO.sub(lambda m: m["head"] + (m["value"] if _named(m) else HIDDEN), text)
    text = _QUERY.sub(_queried, text)
    return _FORMS.sub(HIDDEN, _SCHEME.sub(lambda m: m["head"] + HIDDEN, text))


def has_secret_form(text: str) -> bool:
    """Whether a text holds a secret by its form alone."""
    return without_forms(text) != text


# What is known


def secrets_in(data: Any) -> Iterator[str]:
    """All secret values in nested data, as text, and the parts of them that appear alone elsewhere: of ``Bearer abc``
    also ``abc``, of a URL the password, of a key in several lines each line."""
    for value in _found(data, ()):
        yield value
        for line in value.splitlines()[1:-1] if "\n" in value.strip() else ():
            if len(line.strip()) >= _SHORTEST_INHERITED:
                yield line.strip()


def _found(data: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(data, BaseModel):
        data = data.model_dump()
    if isinstance(data, Mapping):
        for key, value in data.items():
            below = (*path, str(key))
            listed = value if isinstance(value, list | tuple) else (value,)
            for item in listed:
                if not _REFERRING & set(path) and _hides(key, item):
                    yield str(item)
                    yield from (m[2] for m in _PARTS.finditer(str(item)))
                else:
                    yield from _found(item, below)
    elif isinstance(data, list | tuple):
        for item, flagged in _flagged(data):
            if flagged:
                yield item
            else:
                yield from _found(item, path)
    elif isinstance(data, str):
        yield from _in_text(data)


def _flagged(items: Iterable[Any]) -> Iterator[tuple[Any, bool]]:
    """Items of a list, and whether each is the value of the secret flag before it, as in a command line."""
    flag = False
    for item in items:
        text = isinstance(item, str)
        yield item, flag and text and not item.startswith(("-", "$"))
        flag = text and re.fullmatch(r"--?[A-Za-z][\w.-]*", item) is not None and looks_secret(item)


_PARTS = re.compile(r"(?i)\b(Bearer|Basic|Token|ApiKey)\s+(\S+)")


def _in_text(text: str) -> Iterator[str]:
    yield from (m[0] for m in _FORMS.finditer(text))
    yield from (m["value"] for m in _SCHEME.finditer(text))
    for match in _USERINFO.finditer(text):
        if _named(match):
            continue
        yield match["value"]
        password = match["value"].partition(":")[2]
        if password:
            yield password
    yield from (m["value"] for m in _QUERY.finditer(text) if _queried(m) != m[0])
    yield from (m["value"].strip("\"'") for m in _ASSIGNED.finditer(text) if _is_assigned(m))


_remembered: frozenset[str] = frozenset()
_lock = threading.Lock()


def remember(data: Any) -> None:
    """Makes the secrets in nested data (a study, settings, headers) known to this process: from here on they are taken
    out of everything that it writes, whatever name they stand under."""
    found = frozenset(s for s in secrets_in(data) if len(s) >= SHORTEST and s != HIDDEN)
    _add(found)


def remember_environment(environment: Mapping[str, str] | None = None) -> None:
    """The same for variables of the tuner's own environment, which servers inherit and may repeat in their logs."""
    given = os.environ if environment is None else environment
    _add(frozenset(s for s in secrets_in(dict(given)) if len(s) >= _SHORTEST_INHERITED))


def _add(found: frozenset[str]) -> None:
    global _remembered  # noqa: PLW0603 - process-wide on purpose: an output that is not told of a secret must not leak it
    with _lock:
        _remembered |= found


def known_secrets() -> frozenset[str]:
    """What this process was told so far."""
    return _remembered


def _spellings(secrets: Iterable[str]) -> list[str]:
    """Longest first, so that a secret inside another leaves nothing of the longer one."""
    spelled = set[str]()
    for secret in secrets:
        if len(secret) >= SHORTEST:
            escaped = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
            spelled |= {secret, *escaped, quote(secret, safe=""), html.escape(secret), html.escape(secret, quote=False)}
    return sorted(spelled, key=lambda s: (-len(s), s))


# Taking it out


def clean_text(text: str, secrets: Iterable[str] = ()) -> str:
    """A message, a command line or a piece of a log without secrets."""
    return _Cleaner(secrets).text(text)


def clean_document(text: str, secrets: Iterable[str] = ()) -> str:
    """A whole document (HTML, YAML, CSV) without secrets that are known or have a form of their own. Its assignments
    are left alone: ``token: hub`` may be a reference, and code is full of them. What fills it is cleaned before."""
    return without_forms(_Cleaner(secrets).known(text))


def clean(data: Any, secrets: Iterable[str] = ()) -> Any:
    """Nested plain data without secrets; tuples become lists."""
    return _Cleaner(secrets).data(data, ())


def clean_model(model: T, secrets: Iterable[str] = ()) -> T:
    """A noun without secrets; the same object where it holds none."""
    found: T = _Cleaner(secrets).model(model, ())
    return found


def _as(given: Any, items: list[Any]) -> Any:
    """A tuple stays one: nouns are hashable, and a value of several arguments is a tuple."""
    return tuple(items) if isinstance(given, tuple) else items


class _Cleaner:
    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = _spellings({*secrets, *known_secrets()})

    def known(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def text(self, text: str) -> str:
        return _ASSIGNED.sub(_assigned, without_forms(self.known(text)))

    def data(self, data: Any, path: tuple[str, ...]) -> Any:
        if isinstance(data, Mapping):
            return {key: self._under(key, value, path) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return _as(data, self._listed(data, path))
        if isinstance(data, BaseModel):
            return self.model(data, path)
        return self.text(data) if isinstance(data, str) else data

    def _under(self, key: object, value: Any, path: tuple[str, ...]) -> Any:
        if not _REFERRING & set(path):
            if _hides(key, value):
                return HIDDEN
            if isinstance(value, list | tuple) and looks_secret(str(key)):
                hidden = [HIDDEN if _hides(key, item) else self.data(item, (*path, str(key))) for item in value]
                return _as(value, hidden)
        return self.data(value, (*path, str(key)))

    def _listed(self, items: Iterable[Any], path: tuple[str, ...]) -> list[Any]:
        return [HIDDEN if flagged else self.data(item, path) for item, flagged in _flagged(items)]

    def model(self, model: Any, path: tuple[str, ...]) -> Any:
        """Only what changes is copied, so that a long study costs little."""
        changes: dict[str, Any] = {}
        for name in (*type(model).model_fields, *(model.__pydantic_extra__ or ())):
            value = getattr(model, name)
            cleaned = self._field(name, value, path)
            if cleaned is not value:
                changes[name] = cleaned
        return model.model_copy(update=changes) if changes else model

    def _field(self, name: str, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            cleaned = self._under(name, value, path)
            return value if cleaned == value else cleaned
        if isinstance(value, BaseModel):
            return self.model(value, (*path, name))
        if isinstance(value, tuple) and value and all(isinstance(item, BaseModel) for item in value):
            models = tuple(self.model(item, (*path, name)) for item in value)
            return models if any(a is not b for a, b in zip(models, value, strict=True)) else value
        if isinstance(value, Mapping | list | tuple):
            cleaned = self._under(name, value, path)
            return value if cleaned == value else cleaned
        return value
