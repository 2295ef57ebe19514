"""Responses whose JSON is that of the command line's ``--json``, so that both say the same."""

from typing import Any, Generic, TypeVar

from fastapi import Response
from pydantic import BaseModel, Field

from autotuner.report.exports import strict_json

Entry = TypeVar("Entry")


class Page(BaseModel, Generic[Entry]):
    """A part of a list."""

    items: list[Entry]
    total: int = Field(examples=[42])
    """Number of entries in the whole list, after filtering."""
    offset: int = Field(examples=[0])
    """Position of the first of ``items`` in it."""


def document(data: Any, status: int = 200) -> Response:
    """Data as JSON without secrets; inf and NaN become null."""
    return Response(strict_json(data), status, media_type="application/json")


def page(items: list[Any], *, offset: int, limit: int) -> Response:
    """The part of a list from ``offset`` on, at most ``limit`` entries."""
    return document({"items": items[offset : offset + limit], "total": len(items), "offset": offset})
