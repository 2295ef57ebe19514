"""The text form of requests for embeddings and rankings: ``E(512) documents=8`` and ``R(256,32) documents=20``."""

import re
from collections.abc import Mapping
from typing import Any

from autotuner.invalid_value import InvalidValueError
from autotuner.study.text.options import check_names, whole_number
from autotuner.study.workload import Documents, Scenario

OPTIONS = ("documents",)
LENGTHS = "lengths"
"""Key of the long form that holds the scenario itself."""
_LETTER = re.compile(r"[ER]\s*\(", re.IGNORECASE)
_FORM = re.compile(r"(?:E\s*\(\s*([0-9]{1,9})\s*\)|R\s*\(\s*([0-9]{1,9})\s*,\s*([0-9]{1,9})\s*\))", re.IGNORECASE)
_LONGEST = 100_000_000
_MOST = 10_000
_REMEDY = "write E(tokens) for embeddings, or R(document,query) for a ranking"


def is_documents(text: Any) -> bool:
    """Whether a text begins like one of these scenarios."""
    return isinstance(text, str) and _LETTER.match(text) is not None


def parse_documents(text: str, options: Mapping[str, Any]) -> Scenario:
    """The scenario.

    Args:
        text: ``E(512)`` or ``R(256,32)``; lengths in tokens.
        options: Options as written or as numbers.

    Raises:
        ValueError: It is not such a scenario.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError("not a scenario", remedy=_REMEDY)
    check_names(f"{text[0].upper()}(..)", options, OPTIONS)
    lengths = [_length(digits) for digits in match.groups() if digits is not None]
    documents = Documents(
        count=_count(options.get("documents", 1)),
        tokens=lengths[0],
        query_tokens=lengths[1] if len(lengths) > 1 else None,
    )
    return Scenario(text=documents_text(documents), documents=documents)


def documents_text(documents: Documents) -> str:
    """The canonical text."""
    query = documents.query_tokens
    lengths = f"E({documents.tokens})" if query is None else f"R({documents.tokens},{query})"
    return lengths + ("" if documents.count == 1 else f" documents={documents.count}")


def long_documents(value: Mapping[Any, Any]) -> Scenario:
    """The scenario of ``{lengths: E(512), documents: 8}``. Raises ``ValueError``."""
    options = {str(name): given for name, given in value.items() if name != LENGTHS}
    return parse_documents(value[LENGTHS], options)


def _length(digits: str) -> int:
    length = whole_number(digits, _LONGEST)
    if length is None:
        raise InvalidValueError(f"a length must be from 1 to {_LONGEST} tokens", remedy=_REMEDY)
    return length


def _count(value: Any) -> int:
    count = whole_number(value, _MOST)
    if count is None:
        why = f"documents must be a whole number from 1 to {_MOST}"
        raise InvalidValueError(why, remedy="write e.g. E(512) documents=8")
    return count
