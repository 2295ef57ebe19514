"""What a client asks for and gets: chat and text completions of the OpenAI API, and SGLang's own ``/generate``."""

import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from autotuner.simulator.http_server import Answer
from autotuner.simulator.prefix_cache import TOKEN
from autotuner.simulator.request import WORDS, Request, token_ids

_JSON_WORDS = tuple(orjson.dumps(f"{w} ") for w in WORDS)
_LEAST_FREE_TOKENS = 64
_FREE_TOKENS = 256
"""An answer without a limit ends by itself after so many tokens, and up to so many more; a prompt decides."""


class BadRequestError(Exception):
    """The client asked for something that cannot be; ``param`` names what."""

    def __init__(self, message: str, *, param: str | None = None, status: int = 400) -> None:
        self.param = param
        self.status = status
        super().__init__(message)


@dataclass(frozen=True)
class Asked:
    """One request as the client means it."""

    kind: str
    """chat, text or generate."""
    model: str
    prompt: bytes
    max_new: int | None
    ignore_eos: bool
    stream: bool
    usage: bool
    """Usage comes with the stream."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self.prompt) // TOKEN

    @property
    def answer_tokens(self) -> int:
        """Tokens that the answer will have, and whether it was cut: see :attr:`stops`."""
        if self.max_new is not None:
            return self.max_new
        return _LEAST_FREE_TOKENS + zlib.crc32(self.prompt) % _FREE_TOKENS

    @property
    def stops(self) -> bool:
        """The answer ends by itself."""
        return self.max_new is None


def parse(path: str, body: bytes) -> Asked:
    """A request's body. Raises :class:`BadRequestError`."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"Invalid JSON: {error}") from None
    if not isinstance(data, dict):
        raise BadRequestError("the body must be a JSON object")
    if path == "/generate":
        return _generate(data)
    if data.get("n") not in (None, 1):
        raise BadRequestError("simulated: only n=1 is answered", param="n")
    kind = "chat" if path.endswith("/chat/completions") else "text"
    prompt = _chat_tokens(data.get("messages")) if kind == "chat" else _text_tokens(data.get("prompt"))
    limit = data.get("max_completion_tokens") or data.get("max_tokens")
    if limit is None and kind == "text":
        limit = 16
    options = data.get("stream_options") or {}
    return Asked(
        kind=kind,
        model=str(data.get("model") or ""),
        prompt=prompt,
        max_new=_limit(limit),
        ignore_eos=bool(data.get("ignore_eos")),
        stream=bool(data.get("stream")),
        usage=bool(isinstance(options, dict) and options.get("include_usage")),
    )


def _generate(data: dict[str, Any]) -> Asked:
    sampling = data.get("sampling_params") or {}
    if not isinstance(sampling, dict):
        raise BadRequestError("sampling_params must be an object", param="sampling_params")
    asked = data.get("text") if data.get("text") is not None else data.get("input_ids")
    return Asked(
        kind="generate",
        model="",
        prompt=_text_tokens(asked),
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
    """A template of three tokens around each message, and the beginning of the answer."""
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


def _text_tokens(prompt: object) -> bytes:
    if isinstance(prompt, list) and len(prompt) == 1 and not isinstance(prompt[0], int):
        prompt = prompt[0]
    if isinstance(prompt, list) and prompt and all(isinstance(token, int) for token in prompt):
        return token_ids(map(str, prompt))
    if not isinstance(prompt, str):
        raise BadRequestError("the prompt must be one text, or the tokens of one", param="prompt")
    return token_ids(prompt.split() or ["<|start|>"])


class Reply:
    """Turns a request's tokens into the answer's bytes, one event a token. ``on_done`` is told when it is complete."""

    def __init__(self, asked: Asked, answer: Answer, served: str, on_done: Callable[[Request], None]) -> None:
        self._asked = asked
        self._answer = answer
        self._on_done = on_done
        self._id = uuid.uuid4().hex
        self._created = int(time.time())
        self._served = served
        self._began = time.monotonic()
        chat = asked.kind == "chat"
        self._head = {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{self._id}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": self._created,
            "model": served,
        }
        opening = orjson.dumps(self._head)[:-1]
        self._before = opening + (
            b',"choices":[{"index":0,"delta":{"content":' if chat else b',"choices":[{"index":0,"text":'
        )
        self._after = (
            b'},"logprobs":null,"finish_reason":null}]}' if chat else b',"logprobs":null,"finish_reason":null}]}'
        )

    def begin(self) -> None:
        """A stream's head comes with its first token, as an error can still be answered until then."""
        self._answer.begin_stream()
        if self._asked.kind == "chat":
            self._answer.event(self._chunk({"role": "assistant", "content": ""}))

    def on_token(self, request: Request) -> None:
        """The engine has made one token."""
        done = request.left <= 0
        if self._asked.stream:
            if request.generated == 1:
                self.begin()
            self._stream_token(request)
            if done:
                self._end_stream(request)
        elif done:
            self._answer.send_json(self._whole(request))
        if done:
            self._on_done(request)

    def _stream_token(self, request: Request) -> None:
        word = request.word(request.generated - 1)
        if self._asked.kind == "generate":
            self._answer.event(orjson.dumps(self._generated(request, finished=request.left <= 0)))
        else:
            self._answer.event(self._before + _JSON_WORDS[word] + self._after)

    def _end_stream(self, request: Request) -> None:
        if self._asked.kind != "generate":
            self._answer.event(self._chunk({} if self._asked.kind == "chat" else None, self._reason))
            if self._asked.usage:
                self._answer.event(orjson.dumps({**self._head, "choices": [], "usage": usage(request)}))
        self._answer.end_stream()

    @property
    def _reason(self) -> str:
        return "stop" if self._asked.stops else "length"

    def _chunk(self, delta: dict[str, Any] | None, reason: str | None = None) -> bytes:
        inner: dict[str, Any] = {"text": ""} if delta is None else {"delta": delta}
        choice = {"index": 0, **inner, "logprobs": None, "finish_reason": reason}
        return orjson.dumps({**self._head, "choices": [choice]})

    def _text(self, request: Request) -> str:
        return "".join(f"{WORDS[request.word(i)]} " for i in range(request.generated))

    def _whole(self, request: Request) -> dict[str, Any]:
        if self._asked.kind == "generate":
            return self._generated(request, finished=True)
        text = self._text(request)
        inner = {"message": {"role": "assistant", "content": text}} if self._asked.kind == "chat" else {"text": text}
        choice = {"index": 0, **inner, "logprobs": None, "finish_reason": self._reason}
        name = "chat.completion" if self._asked.kind == "chat" else "text_completion"
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
    """Token counts of one answer."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "total_tokens": request.length,
        "completion_tokens": request.generated,
        "prompt_tokens_details": {"cached_tokens": request.cached},
    }
