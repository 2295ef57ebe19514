"""Secrets recognized by the name they stand under."""

import re
from functools import lru_cache
from itertools import pairwise


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_STRONG = _set(
    "secret secrets password passwords passwd passphrase passphrases passcode credential credentials cred "
    "creds apikey apikeys authorization bearer cookie cookies jwt"
)
"""Words that make a name a secret's, at any position in it."""
_FINAL = _set("pass pwd pw pat pats auth sig signature otp sas")
"""Words that do so at the end of a longer name (``DB_PASS``), or alone, as in ``auth``."""
_NOT_ALONE = _set("pass pwd pw pat pats sas")
"""``PWD`` alone is the working directory, ``pass`` a count."""
_ENDINGS = ("apikey", "secret", "password", "passwd", "passphrase", "secretkey", "accesskey", "privatekey", "authkey")
"""Ends of words written together: ``PGPASSWORD``, ``aws_secretkey``."""
_TOGETHER = re.compile(r"(?:hf|auth|access|api|refresh|bearer|session|github|gitlab|hub|user|ssh)(?:token|pass)s?")
_ABOUT = _set(
    "env file files path paths dir folder source ms s id ids count type types name names ref refs url uri "
    "host header headers field prefix length len size limit ttl expiry expires provider mode method scheme "
    "required enabled enable policy algorithm format sock socket endpoint issuer budget ratio rate map num "
    "number manager store helper timeout class index details timing version"
)
"""Last words of names that describe a secret rather than hold it."""
_SWITCHES = _set("allow enable disable require use no has is")
"""First words of names of switches."""
_TOKEN_CONTEXT = _set(
    "max min num n total avg mean budget threshold per batched prefill partial draft special bos eos pad unk "
    "sep cls mask stop start end think reasoning image video audio prompt prompts input output completion "
    "cached new generated itl context first last next limit length len size interval rate ratio throughput "
    "latency parallel healing dropping added extra prefix decode requests samples chunk page seq"
)
"""Words that make ``token`` in the same name a piece of text and not a credential."""
_TOKEN_OWNERS = _set("api auth access refresh bearer session hf hub github gitlab user admin client service")
"""Words that make ``tokens`` in the same name credentials and not pieces of text."""
_KEY_CONTEXT = _set(
    "kv cache head heads value values sort primary foreign partition group public prefix num n max min total"
)
"""Words that make ``key`` in the same name an attention key, an index or the public half of a pair."""
_REFERENCES = frozenset({"env secret", "hub token secret", "secret key ref", "secret ref"})
"""Names of settings that hold the name of a Kubernetes Secret, not its content."""
REFERRING = frozenset({"env_from", "envFrom", "imagePullSecrets", "secretKeyRef", "secretRef"})
"""Sections in which every value is such a reference."""


@lru_cache(4096)
def looks_secret(name: str) -> bool:
    """Whether a value of this name is a secret.

    True for ``HF_TOKEN``, ``api-key``, ``hfToken`` and ``DB_PASS``; False for ``tokenizer``, ``max_tokens``,
    ``api_key_env``, ``token_source``, ``key`` alone and the names of metrics.
    """
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
        words.pop()  # as in HF_TOKEN_2
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


def hides(name: object, value: object) -> bool:
    """Whether a scalar under this name is a secret. Switches and references to variables are not; a number can be one,
    because YAML reads ``api-key: 12345678`` as a number, but under a plural it is a count."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not looks_secret(str(name)):
        return False
    if isinstance(value, str) and VARIABLE.fullmatch(value):
        return False
    words = _words(str(name))
    number = not isinstance(value, str) or re.fullmatch(r"[\d.,_\s]*", value) is not None
    return not (number and words[-1] in {"tokens", "pass", "keys"})


VARIABLE = re.compile(r"(?:[A-Za-z]+ +)?\$\{[A-Za-z_][A-Za-z0-9_]*\}")
"""A value that names an environment variable, as headers may: ``Bearer ${KEY}``."""
