"""Facts that results depend on besides the study file: model files, the server's program, image, machine.

A fact has a name (``model``, ``image``) and a state. Trials under different states cannot be compared.
"""

from collections.abc import Mapping

from autotuner.study.base import FrozenModel


class Fact(FrozenModel):
    """The current state of one fact, such as ``image``."""

    state: str
    """What must stay equal, as a text for display: ``/m.gguf, 5,000,000 bytes, sha256 3fa9..``."""
    touched: str = ""
    """What may change without a change of state, such as modification times of files."""


SETTINGS = "settings"
"""The fact that stands for what the study file says about one of several engines. Its state is a digest."""

Facts = Mapping[str, Fact]
"""Facts by name, without those that are unknown at the moment: these never count as a difference."""


OF_WORKLOAD = frozenset({"dataset", "trace", "tokenizer"})
"""Facts that all engines of a study share."""


def fact_name(engine: str, fact: str) -> str:
    """Name of a fact about one of several engines; ``engine`` is empty if the study has only one."""
    return f"{engine}: {fact}" if engine and fact not in OF_WORKLOAD else fact


def facts_of(engine: str, facts: Facts) -> Facts:
    """What is known of one of several engines, as if it were the only one."""
    if not engine:
        return facts
    prefix = fact_name(engine, "")
    own = {name.removeprefix(prefix): fact for name, fact in facts.items() if name.startswith(prefix)}
    return {**own, **{name: fact for name, fact in facts.items() if name in OF_WORKLOAD}}


def differences(before: Facts, now: Facts) -> list[str]:
    """One line for each fact whose state has changed."""
    both = [name for name in before if name in now]
    changed = [name for name in both if before[name].state != now[name].state]
    return [_change(name, before[name], now[name]) for name in changed]


def _change(name: str, before: Fact, now: Fact) -> str:
    if name.rpartition(": ")[2] == SETTINGS:
        return f"{name} differ from those of its trials"
    return f"{name} has changed: it was {before.state}, and is {now.state}"


def touched(before: Facts, now: Facts) -> list[str]:
    """Names of the facts whose files were rewritten with the same content."""
    same = [name for name in before if name in now and before[name].state == now[name].state]
    return [name for name in same if before[name].touched != now[name].touched]
