"""Output of ``token list``."""

from collections.abc import Sequence

from rich.text import Text

from autotuner import Token
from autotuner.cli.columns import Column, table_text
from autotuner.cli.texts import age_text


def tokens_text(tokens: Sequence[Token], *, now: float, width: int | None = None) -> str:
    """Renders one row per token; ``now`` is in seconds since the epoch."""
    if not tokens:
        return "no tokens; to create one: autotuner token create NAME"
    columns = [
        Column("id"),
        Column("name", wraps=True),
        Column("scope"),
        Column("state"),
        Column("created", align="right", drop=2),
        Column("last used", align="right", drop=1),
    ]
    return table_text(columns, [_row(token, now) for token in tokens], width=width)


def _row(token: Token, now: float) -> list[Text]:
    state = "revoked" if token.revoked_at is not None else "valid" if token.valid(now) else "expired"
    return [
        Text(token.id),
        Text(token.name),
        Text(token.scope.value),
        Text(state, style="" if state == "valid" else "dim"),
        Text(age_text(now - token.created_at)),
        Text("never" if token.used_at is None else age_text(now - token.used_at)),
    ]
