"""The text of chat messages, for the completions API, which takes one text."""

from collections.abc import Iterable, Mapping
from typing import Any

Message = Mapping[str, Any]


def is_text(message: Message) -> bool:
    """Whether a message is text, or has no content at all: not an image, nor other media."""
    content = message.get("content")
    if isinstance(content, list):
        return all(_text_of(part) is not None for part in content)
    return isinstance(content, str | None)


def transcript(messages: Iterable[Message]) -> str:
    """The texts of all messages. A message without content, such as one that only calls tools, is empty."""
    return "\n".join(map(_message_text, messages))


def _message_text(message: Message) -> str:
    content = message.get("content")
    parts = content if isinstance(content, list) else [content]
    return "\n".join(text for text in map(_text_of, parts) if text is not None)


def _text_of(part: Any) -> str | None:
    """The text of a content part; None if it is something else."""
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else part
    return text if isinstance(text, str) else None
