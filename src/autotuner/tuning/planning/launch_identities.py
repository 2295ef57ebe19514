"""Identity of launches: which configurations start the same server, however their values are written."""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cached_property

from autotuner.errors import Problem, UsageError
from autotuner.plugins.engine import Engine
from autotuner.study.base import Value, value_text
from autotuner.study.configuration import DEFAULT, Configuration
from autotuner.study.parameters.parameter import Choices, Parameter, as_flags
from autotuner.study.parameters.portable import is_portable
from autotuner.study.parameters.space import Space
from autotuner.study.spec import EngineSpec, Model

_MOST_COMPARED = 5000
"""Points of a space whose launches are computed to find one with the same launch."""


class LaunchIdentities:
    """Compares the launches of a study's configurations.

    Args:
        engine: The engine.
        model: The model.
        engine_spec: The engine's section.
        space: What is tuned.
        reference: The study's baseline, or the default.
    """

    def __init__(
        self, engine: Engine, model: Model, engine_spec: EngineSpec, space: Space, reference: Configuration = DEFAULT
    ) -> None:
        self._engine = engine
        self._model = model
        self._spec = engine_spec
        self._space = space
        self._reference = reference
        self._parameters = space.parameters
        self._launches: dict[str, str] = {}
        self._alike = frozenset(
            (parameter.name, type(value), value)
            for parameter in space.parameters
            for values in self._groups(parameter)
            for value in values
        )

    def of(self, configuration: Configuration) -> str:
        """Equal for two ways to write one server: ``4`` and ``"4"``, or ``null`` and a flag that is left out.

        The launch is only computed if another configuration could have the same one: a space may have 100,000 points.
        """
        if not self._may_coincide(configuration):
            return configuration.key
        if configuration.key not in self._launches:
            self._launches[configuration.key] = self._digest(configuration)
        return self._launches[configuration.key]

    def starts_reference(self, flags: Configuration) -> bool:
        """Whether these flags and variables start the server of the study's baseline or default."""
        return self._digest(flags) == self._digest(self._reference)

    def started_by(self, flags: Configuration) -> Configuration | None:
        """The configuration of the space with this launch; None if none has it, or if there are too many."""
        return self._starting.get(self._digest(flags))

    @cached_property
    def _starting(self) -> dict[str, Configuration]:
        size = self._space.size
        points = self._space.grid() if size is not None and size <= _MOST_COMPARED else ()
        found: dict[str, Configuration] = {}
        for point in points:
            found.setdefault(self._digest(point), point)
        return found

    @property
    def differ_in_writing(self) -> bool:
        """Whether points of the space may start the same server, so that all launches have to be compared."""
        return bool(self._alike) or any(is_portable(p.name) for p in self._parameters)

    def notes(self) -> Iterator[Problem]:
        """Warnings about listed values with the same command line; the search launches only the first of them."""
        for parameter in self._parameters:
            for values in self._groups(parameter):
                if len(values) > 1:
                    same = " and ".join(_written(value) for value in values)
                    why = f"{same} give the same command line; it is launched once"
                    yield Problem(where=f"parameters.{parameter.name}", why=why, remedy=f"keep {_written(values[0])}")

    def _groups(self, parameter: Parameter) -> list[list[Value]]:
        """Listed values that, set alone, start the same server as another one of their list, or as the default; or that
        change nothing of the reference."""
        if not isinstance(parameter.domain, Choices):
            return []
        groups: dict[str, list[Value]] = {}
        for value in parameter.domain.values:
            groups.setdefault(self._digest(Configuration(values={parameter.name: value})), []).append(value)
        default = self._digest(DEFAULT)
        found = [values for launch, values in groups.items() if len(values) > 1 or launch == default]
        if self._reference.values:
            stated = self._stated(parameter)
            found += [[v] for v in parameter.domain.values if self._digest(stated(v)) == self._digest(self._reference)]
        return found

    def _stated(self, parameter: Parameter) -> Callable[[Value], Configuration]:
        """The reference with one value of a parameter instead of its own."""
        rest = {n: v for n, v in self._reference.values.items() if n not in (parameter.name, *parameter.flags)}
        return lambda value: Configuration(values={**rest, parameter.name: value})

    def _may_coincide(self, configuration: Configuration) -> bool:
        values = configuration.values
        if any(is_portable(name) for name in values) or not self._space.is_complete(configuration):
            return True
        if configuration == self._reference:  # its values need not be those that are listed
            return True
        return any((name, type(value), value) in self._alike for name, value in values.items())

    def _digest(self, configuration: Configuration) -> str:
        try:
            flags = Configuration(values=as_flags(self._parameters, configuration.values))
            plan = self._engine.launch(self._model, self._spec, flags)
        except UsageError:  # it is never launched
            return configuration.key
        parts = [plan.argv(host="", port=0), sorted(plan.env.items()), plan.image, plan.gpus]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _written(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else "null" if value is None else value_text(value)
