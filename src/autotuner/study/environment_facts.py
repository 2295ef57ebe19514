"""What a study's numbers depend on beside its file: the model's files, the server's program, the image, the machine.

A fact has a name (``model``, ``image``) and a state. Trials under different states may not be compared.
"""

from collections.abc import Mapping

from autotuner.study.base import Noun


class Fact(Noun):
    """One thing, as it is at the moment."""

    state: str
    """What has to stay equal, for people: ``/m.gguf, 5,000,000 bytes, sha256 3fa9..``."""
    touched: str = ""
    """What may change while the state stays: times of files."""


World = Mapping[str, Fact]
"""Facts by name. One that is unknown at the moment is left out: it is never a difference."""


def differences(before: World, now: World) -> list[str]:
    """One line for each fact that has another state now."""
    both = [name for name in before if name in now]
    changed = [name for name in both if before[name].state != now[name].state]
    return [f"{name} has changed: it was {before[name].state}, and is {now[name].state}" for name in changed]


def touched(before: World, now: World) -> list[str]:
    """Names of the facts whose files were written again without a change."""
    same = [name for name in before if name in now and before[name].state == now[name].state]
    return [name for name in same if before[name].touched != now[name].touched]
