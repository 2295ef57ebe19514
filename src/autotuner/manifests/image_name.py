"""Names of container images: the same settings lead to the same image on every platform."""

import re

from autotuner.invalid_value import InvalidValueError

_LAST_PART = re.compile(r"[:@]")


def has_tag(image: str) -> bool:
    """Whether an image's name has a tag or a digest; a registry's port does not count."""
    return bool(_LAST_PART.search(image.rpartition("/")[2]))


def check_tags(image: str | None, tag: str | None) -> None:
    """Raises ``ValueError`` if the settings ``image`` and ``image_tag`` both give a tag."""
    if image and tag and has_tag(image):
        raise InvalidValueError(f"{image} already has a tag, and image_tag sets another", remedy="remove one of them")


def image_name(image: str | None, tag: str | None, engines: str | None) -> str | None:
    """The image to run, with its tag; ``engines`` is what the engine proposes. None if neither names one."""
    name = image or engines
    if name is None:
        return None
    if tag:
        head, slash, last = name.rpartition("/")
        return f"{head}{slash}{_LAST_PART.split(last)[0]}:{tag}"
    return name if has_tag(name) else f"{name}:latest"
