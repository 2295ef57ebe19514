"""Requests and responses of the OpenAI API (chat and text completions) and of SGLang's ``/generate``."""

import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from autotuner.simulator.http_server import Responder
from autotuner.simulator.prefix_cache import TOKEN
from autotuner.simulator.request import WORDS, Request, token_ids

_JSON_WORDS = tuple(orjson.dumps(f"{w} ") for w in WORDS)
_MIN_UNLIMITED_TOKENS = 64
_UNLIMITED_SPREAD_TOKENS = 256
"""Output without a limit stops after this minimum plus up to this many more tokens, depending on the prompt."""


class BadRequestError(Exception):
    """An invalid request; ``param`` names the offending parameter."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        self.param = param
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class ApiRequest:
    """One parsed request."""

    kind: str
    """``chat``, ``text`` or ``generate``."""
    model: str
    prompt: bytes
    """Token ids."""
    max_new: int | None
    """Output limit in tokens; None for no limit."""
    ignore_eos: bool
    stream: bool
    usage: bool
    """Whether the stream ends with a usage event."""

    @property
    def prompt_tokens(self) -> int:
        """Length of the prompt in tokens."""
        return len(self.prompt) // TOKEN

    @property
    def output_tokens(self) -> int:
        """Length of the output in tokens: the limit, or else a function of the prompt."""
        if self.max_new is not None:
            return self.max_new
        return _MIN_UNLIMITED_TOKENS + zlib.crc32(self.prompt) % _UNLIMITED_SPREAD_TOKENS

    @property
    def stops(self) -> bool:
        """Whether the output stops by itself instead of at the limit."""
        return self.max_new is None


def parse(path: str, body: bytes) -> ApiRequest:
    """Parses a request body.

    Raises:
        BadRequestError: The body is not JSON, or a parameter is invalid or not simulated.
    """
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"Invalid JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadRequestError("the body must be a JSON object")
    if path == "/generate":
        return _generate(data)
    if data.get("n") not in (None, 1):
        raise BadRequestError("simulated: only n=1 is supported", param="n")
    kind = "chat" if path.endswith("/chat/completions") else "text"
    prompt = _chat_tokens(data.get("messages")) if kind == "chat" else text_tokens(data.get("prompt"))
    limit = data.get("max_completion_tokens") or data.get("max_tokens")
    if limit is None and kind == "text":
        limit = 16
    options = data.get("stream_options") or {}
    return ApiRequest(
        kind=kind,
        model=str(data.get("model") or ""),
        prompt=prompt,
        max_new=_limit(limit),
        ignore_eos=bool(data.get("ignore_eos")),
        stream=bool(data.get("stream")),
        usage=bool(isinstance(options, dict) and options.get("include_usage")),
    )


def _generate(data: dict[str, Any]) -> ApiRequest:
    sampling = data.get("sampling_params") or {}
    if not isinstance(sampling, dict):
        raise BadRequestError("sampling_params must be an object", param="sampling_params")
    prompt = data.get("text") if data.get("text") is not None else data.get("input_ids")
    return ApiRequest(
        kind="generate",
        model="",
        prompt=text_tokens(prompt),
        max_new=_limit(sampling.get("max_new_tokens", 128)),
        ignore_eos=bool(sampling.get("ignore_eos")),
        stream=bool(data.get("stream")),
        usage=False,
    )


def _limit(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BadRequestError(f"max_tokens must be at least 1, got {value}.", param="max_tokens")
    return value


def _chat_tokens(messages: object) -> bytes:
    """Applies a chat template: three tokens around each message, and the start of the answer."""
    if not isinstance(messages, list) or not messages:
        raise BadRequestError("messages must be a list with at least one message", param="messages")
    words: list[str] = []
    for message in messages:
        if not isinstance(message, dict):
            raise BadRequestError("each message must be an object", param="messages")
        content = message.get("content") or ""
        if isinstance(content, list):
            content = " ".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
        words += ["<|start|>", f"<|{message.get('role', 'user')}|>", *str(content).split(), "<|end|>"]
    return token_ids([*words, "<|start|>", "<|assistant|>"])


def text_tokens(prompt: object, param: str = "prompt") -> bytes:
    """The tokens of a text, or of a list of token IDs."""
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        return token_ids(map(str, prompt))
    if not isinstance(prompt, str):
        raise BadRequestError(f"the {param} must be one text or one list of tokens", param=param)
    return token_ids(prompt.split() or ["<|start|>"])


class Reply:
    """Writes the response to a request, one event per token. ``on_done`` is called when it is complete."""

    def __init__(
        self, request: ApiRequest, responder: Responder, served: str, on_done: Callable[[Request], None]
    ) -> None:
        self._request = request
        self._responder = responder
        self._on_done = on_done
        self._id = uuid.uuid4().hex
        self._created = int(time.time())
        self._served = served
        self._began = time.monotonic()
        chat = request.kind == "chat"
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{self._id}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": self._created,
            "model": served,
        }
        # Serialized once: per token, only the word between the two parts changes.
        opening = orjson.dumps(self._head)[:-1]
        self._before = opening + (
            b',"choices":[{"index":0,"delta":{"content":' if chat else b',"choices":[{"index":0,"text":'
        )
        self._after = (
            b'},"logprobs":null,"finish_reason":null}]}' if chat else b',"logprobs":null,"finish_reason":null}]}'
        )

    def begin(self) -> None:
        """Starts a stream. Called with the first token: until then, the server can still respond with an error."""
        self._responder.begin_stream()
        if self._request.kind == "chat":
            self._responder.event(self._chunk({"role": "assistant", "content": ""}))

    def on_token(self, request: Request) -> None:
        """Writes one generated token."""
        done = request.left <= 0
        if self._request.stream:
            if request.generated == 1:
                self.begin()
            self._stream_token(request)
            if done:
                self._end_stream(request)
        elif done:
            self._responder.send_json(self._whole(request))
        if done:
            self._on_done(request)

    def _stream_token(self, request: Request) -> None:
        word = request.word(request.generated - 1)
        if self._request.kind == "generate":
            self._responder.event(orjson.dumps(self._generated(request, finished=request.left <= 0)))
        else:
            self._responder.event(self._before + _JSON_WORDS[word] + self._after)

    def _end_stream(self, request: Request) -> None:
        if self._request.kind != "generate":
            self._responder.event(self._chunk({} if self._request.kind == "chat" else None, self._reason))
            if self._request.usage:
                self._responder.event(orjson.dumps({**self._head, "choices": [], "usage": usage(request)}))
        self._responder.end_stream()

    @property
    def _reason(self) -> str:
        return "stop" if self._request.stops else "length"

    def _chunk(self, delta: dict[str, Any] | None, reason: str | None = None) -> bytes:
        inner: dict[str, Any] = {"text": ""} if delta is None else {"delta": delta}
        choice = {"index": 0, **inner, "logprobs": None, "finish_reason": reason}
        return orjson.dumps({**self._head, "choices": [choice]})

    def _text(self, request: Request) -> str:
        return "".join(f"{WORDS[request.word(i)]} " for i in range(request.generated))

    def _whole(self, request: Request) -> dict[str, Any]:
        if self._request.kind == "generate":
            return self._generated(request, finished=True)
        text = self._text(request)
        inner = {"message": {"role": "assistant", "content": text}} if self._request.kind == "chat" else {"text": text}
        choice = {"index": 0, **inner, "logprobs": None, "finish_reason": self._reason}
        name = "chat.completion" if self._request.kind == "chat" else "text_completion"
        return {**self._head, "object": name, "choices": [choice], "usage": usage(request)}

    def _generated(self, request: Request, *, finished: bool) -> dict[str, Any]:
        reason = {"type": self._reason, "length": request.generated} if finished else None
        return {
            "text": self._text(request),
            "meta_info": {
                "id": self._id,
                "finish_reason": reason,
                "prompt_tokens": request.prompt_tokens,
                "completion_tokens": request.generated,
                "cached_tokens": request.cached,
                "weight_version": "default",
                "e2e_latency": time.monotonic() - self._began,
            },
        }


def usage(request: Request) -> dict[str, Any]:
    """The usage of one response."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "total_tokens": request.length,
        "completion_tokens": request.generated,
        "prompt_tokens_details": {"cached_tokens": request.cached},
    }
