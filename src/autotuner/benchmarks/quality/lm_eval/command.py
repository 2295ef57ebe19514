"""Command lines of lm-evaluation-harness."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from autotuner.net.target import DIRECT, Target
from autotuner.study.quality.spec import TasksSpec

COMMAND_VARIABLE = "AUTOTUNER_LM_EVAL"
INSTALL = (
    "python3 -m venv ~/lm-eval && ~/lm-eval/bin/pip install 'lm_eval[api]', then set quality.tasks.command or "
    f"{COMMAND_VARIABLE} to ~/lm-eval/bin/lm_eval"
)
_NO_KEY = "none"
"""The harness always sends a key, by default that of the user's OpenAI account. Servers that need none ignore it."""
_PATHS = {
    "completions": ("local-completions", "/v1/completions"),
    "chat": ("local-chat-completions", "/v1/chat/completions"),
}


class UnreachableError(ValueError):
    """The harness cannot send requests in the way that the server needs."""


def program(spec: TasksSpec) -> tuple[str, ...]:
    """The executable and the arguments that come first."""
    given = spec.command or tuple(shlex.split(os.environ.get(COMMAND_VARIABLE, ""))) or ("lm_eval",)
    return (str(Path(given[0]).expanduser()), *given[1:])


def validation(spec: TasksSpec) -> tuple[str, ...]:
    """The command line that checks the names of the tasks."""
    return (*program(spec), "validate", "--tasks", ",".join(spec.names), *_included(spec))


def evaluation(spec: TasksSpec, target: Target, model: str, *, in_flight: int, output: Path) -> tuple[str, ...]:
    """The command line that evaluates a server.

    Args:
        spec: The tasks.
        target: The server. Its credentials are not part of the command line, see :func:`environment`.
        model: Name of the model in requests.
        in_flight: Requests that are sent at the same time.
        output: Folder that the harness writes results to.
    """
    kind, path = _PATHS[spec.api]
    arguments = {
        "model": model,
        "base_url": target.url(path),
        "num_concurrent": max(2, in_flight),  # one at a time it uses another client, which obeys proxy variables
        "max_retries": 3,
        **({} if "tokenizer" in spec.model_args else {"tokenizer_backend": "none", "tokenized_requests": False}),
        **spec.model_args,
    }
    return (
        *program(spec),
        *("--model", kind),
        *("--model_args", ",".join(f"{name}={value}" for name, value in arguments.items())),
        *("--tasks", ",".join(spec.names)),
        *("--limit", str(spec.limit)),
        *(("--num_fewshot", str(spec.fewshot)) if spec.fewshot is not None else ()),
        *(("--apply_chat_template",) if spec.api == "chat" else ()),
        *_included(spec),
        *("--log_samples", "--output_path", str(output)),
    )


def environment(target: Target) -> Mapping[str, str]:
    """Variables of the harness on top of this process's.

    Raises:
        UnreachableError: If the server needs more than a bearer token.
    """
    if target.access != DIRECT:
        raise UnreachableError("lm-eval supports neither query parameters, nor custom certificates, nor proxies")
    key = _NO_KEY
    for header, value in target.headers.items():
        scheme, _, token = value.partition(" ")
        if header.lower() != "authorization" or scheme.lower() != "bearer":
            raise UnreachableError(f"lm-eval sends no header except a bearer token ({header})")
        key = token.strip()
    direct = ",".join(filter(None, (os.environ.get("NO_PROXY"), urlsplit(target.base).hostname)))
    return {"OPENAI_API_KEY": key, "NO_PROXY": direct, "no_proxy": direct, "TOKENIZERS_PARALLELISM": "false"}


def _included(spec: TasksSpec) -> tuple[str, ...]:
    return ("--include_path", spec.include) if spec.include else ()
