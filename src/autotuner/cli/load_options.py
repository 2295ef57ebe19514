"""Options of the commands that send load to a running server: how it is reached, and what requests contain."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

ServerUrl = Annotated[str, typer.Argument(metavar="URL", help="Base URL of a running OpenAI-compatible server.")]
RequestTimeout = Annotated[str, typer.Option("--request-timeout", help="Timeout of a single request.")]
ServedModel = Annotated[str | None, typer.Option("--model", help="Model name in requests; default: the first listed.")]
Tokenizer = Annotated[Path | None, typer.Option("--tokenizer", help="Path to a local tokenizer.json.")]
Seed = Annotated[int, typer.Option("--seed", help="Random seed for prompts, lengths and arrival times.")]
ApiKeyEnv = Annotated[str | None, typer.Option("--api-key-env", help="Environment variable that holds the API key.")]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", "-H", help="Request header 'Name: value'; ${VAR} is read from the environment."),
]


class ApiKind(StrEnum):
    """Endpoints."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"


ApiOption = Annotated[ApiKind, typer.Option("--api", help="Endpoint; embeddings take E(..), rerank takes R(..).")]
Stream = Annotated[
    bool, typer.Option("--stream/--no-stream", help="Without a stream, answers arrive in one piece: no TTFT, no TPOT.")
]
CaFile = Annotated[
    str | None, typer.Option("--ca-file", help="CA certificates (PEM) to trust instead of the system's.")
]
Workers = Annotated[str, typer.Option("--workers", help="Processes that send the load; auto: as many as it needs.")]
ServerMetrics = Annotated[
    bool, typer.Option("--server-metrics", help="Sample the server's Prometheus metrics (/metrics) in each window.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify the server certificate.")]
ReusePrompts = Annotated[
    bool, typer.Option("--reuse-prompts", help="Send the same prompts at every level; a prefix cache answers them.")
]
TokenIds = Annotated[
    bool, typer.Option("--token-ids", help="Send generated prompts as token IDs (with --api completions).")
]
IgnoreEos = Annotated[
    bool, typer.Option("--ignore-eos/--no-ignore-eos", help="Request exactly the given output length.")
]
ExtraBody = Annotated[
    str | None, typer.Option("--extra-body", metavar="JSON", help="JSON object merged into every request body.")
]
MaxTokensField = Annotated[
    str, typer.Option("--max-tokens-field", help="Request field for the output limit, e.g. max_completion_tokens.")
]


def request_settings(
    *,
    api: ApiKind,
    scenarios: list[str] | None,
    warmup: str,
    request_timeout: str,
    stream: bool,
    tokenizer: Path | None,
    seed: int,
    reuse_prompts: bool,
    token_ids: bool,
    ignore_eos: bool,
    extra_body: str | None,
) -> dict[str, Any]:
    """Returns the settings under ``workload`` that say what is sent, as a study file has them.

    Raises:
        UsageError: If ``extra_body`` is not a JSON object.
    """
    return {
        "api": api.value,
        "scenarios": scenarios or ["D(128,64)"],
        "warmup": warmup,
        "request_timeout": request_timeout,
        "stream": stream,
        "seed": seed,
        "reuse_prompts": reuse_prompts,
        "token_ids": token_ids,
        "ignore_eos": ignore_eos,
        "extra_body": _object(extra_body),
        **({"tokenizer": str(tokenizer)} if tokenizer else {}),
    }


def _object(text: str | None) -> dict[str, Any]:
    from autotuner.errors import Problem, UsageError

    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(Problem(where="--extra-body", why=f"is not JSON ({error})")) from None
    if not isinstance(found, dict):
        raise UsageError(Problem(where="--extra-body", why="must be a JSON object", remedy='e.g. {"temperature": 0}'))
    return found
