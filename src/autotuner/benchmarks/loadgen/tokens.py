"""Counting tokens with a local tokenizer.json. Nothing is ever fetched from a hub, and no code of a model is run."""

from collections.abc import Callable

try:
    from tokenizers import Tokenizer
except ImportError:  # the "tokenizer" extra is not installed
    Tokenizer = None  # type: ignore[assignment, misc]

available = Tokenizer is not None


def counter(tokenizer_json: str) -> Callable[[str], int]:
    """Counts a text's tokens, without the special tokens that a template adds. Raises ``ValueError`` when the text is
    no tokenizer.json, or the ``tokenizer`` extra is missing."""
    if Tokenizer is None:
        raise ValueError("needs the \"tokenizer\" extra: pip install 'llm-inference-autotuner[tokenizer]'")
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"not a tokenizer.json: {error}") from None

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    return count
