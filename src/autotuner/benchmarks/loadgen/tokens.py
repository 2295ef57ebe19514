"""Token counts by a local tokenizer.json. Nothing is downloaded from a hub, and no code of a model is executed."""

from collections.abc import Callable

from autotuner.invalid_value import InvalidValueError

try:
    from tokenizers import Tokenizer
except ImportError:  # the "tokenizer" extra is not installed
    Tokenizer = None  # type: ignore[assignment, misc]

available = Tokenizer is not None


def counter(tokenizer_json: str) -> Callable[[str], int]:
    """Creates a function that counts a text's tokens, without special tokens.

    Args:
        tokenizer_json: Content of a tokenizer.json.

    Raises:
        ValueError: The content is not a valid tokenizer.json, or the ``tokenizer`` extra is not installed.
    """
    if Tokenizer is None:
        raise InvalidValueError(
            'needs the "tokenizer" extra', remedy="pip install 'llm-inference-autotuner[tokenizer]'"
        )
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"not a tokenizer.json: {error}") from None

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count
