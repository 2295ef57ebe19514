"""Token counts by a local tokenizer.json. Nothing is downloaded from a hub, and no code of a model is executed."""

from collections.abc import Callable
from typing import Any

from autotuner.invalid_value import InvalidValueError

try:
    from tokenizers import Tokenizer
except ImportError:  # the "tokenizer" extra is not installed
    Tokenizer = None  # type: ignore[assignment, misc]

available = Tokenizer is not None


def token_ids(tokenizer_json: str) -> list[int]:
    """The ids of a tokenizer's vocabulary in order, without added tokens such as end-of-text. Raises ``ValueError``."""
    return sorted(_tokenizer(tokenizer_json).get_vocab(with_added_tokens=False).values())


def counter(tokenizer_json: str) -> Callable[[str], int]:
    """Creates a function that counts a text's tokens, without special tokens.

    Args:
        tokenizer_json: Content of a tokenizer.json.

    Raises:
        ValueError: The content is not a valid tokenizer.json, or the ``tokenizer`` extra is not installed.
    """
    tokenizer = _tokenizer(tokenizer_json)

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count


def _tokenizer(tokenizer_json: str) -> Any:
    if Tokenizer is None:
        raise InvalidValueError(
            'needs the "tokenizer" extra', remedy="pip install 'llm-inference-autotuner[tokenizer]'"
        )
    try:
        return Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"not a tokenizer.json: {error}") from None
