"""Tokens of the server's clients, and the audit of what they changed."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from autotuner import AuditEntry, NewToken, Token, TokenScope
from autotuner.server.callers import Admin, Tuner

router = APIRouter(prefix="/api/v1", tags=["tokens"])


class TokenRequest(BaseModel):
    """A token to create."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["ci"], description="What the token is for.")
    scope: TokenScope = TokenScope.READ
    days: int | None = Field(default=None, strict=True, description="Days until it expires; null: never.")


@router.get("/tokens", summary="List tokens")
def list_tokens(tuner: Tuner, _: Admin) -> list[Token]:
    """Expired and revoked ones included; without their secrets."""
    return tuner.access().tokens()


@router.post("/tokens", summary="Create a token", status_code=201)
def create_token(tuner: Tuner, _: Admin, wanted: TokenRequest) -> NewToken:
    """The secret is in this response only."""
    return tuner.access().create(wanted.name, wanted.scope, days=wanted.days)


@router.delete("/tokens/{identity}", summary="Revoke a token", status_code=204)
def revoke_token(tuner: Tuner, _: Admin, identity: str) -> None:
    """Requests that use it are refused from now on."""
    tuner.access().revoke(identity)


@router.get("/audit", summary="What clients changed")
def list_audit(tuner: Tuner, _: Admin, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> list[AuditEntry]:
    """The newest entries first."""
    return tuner.access().audit(limit)
