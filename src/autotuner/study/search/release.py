"""The release of an engine, as names state it: ``lmsysorg/sglang:v0.5.9`` or ``vllm-0.11``."""

import re
from dataclasses import dataclass

# Two or three numbers (four are an address), and what follows the numbers in PEP 440.
_NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+){1,2}(?!\.?\d)(?:[._-]?(?:a|b|rc|post|dev)\d+)*")


@dataclass(frozen=True)
class Release:
    """One release."""

    line: str
    """What comes before the number. Numbers are comparable only if this is the same."""
    number: str
    """The number by PEP 440."""

    @classmethod
    def named(cls, text: str, engine: str = "") -> "Release | None":
        """The release in a name; None if the name has none.

        Args:
            text: The name, such as that of an image.
            engine: The engine that is released, where the name leaves it open.
        """
        found = _NUMBER.search(text)
        return cls(f"{engine} {text[: found.start()]}", found[0]) if found else None
