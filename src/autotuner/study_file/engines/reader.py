"""Engines of a study file: one, or several with the space that they form."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from autotuner.invalid_value import InvalidValueError
from autotuner.study.base import Value
from autotuner.study.parameters.engines import choice, qualified, qualified_constraint
from autotuner.study.parameters.environment import canonical_variable, is_variable
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import file_path
from autotuner.study.spec import EngineEntry, EngineSpec, PluginSpec
from autotuner.study_file.baseline import read_baseline
from autotuner.study_file.conditions import ConditionReader
from autotuner.study_file.engines.forms import EngineEntryForm
from autotuner.study_file.engines.part import EntryDocument
from autotuner.study_file.located_document import Document
from autotuner.study_file.tuned_parameters import Canonical, ParameterReader

FlagNames = Callable[[EngineSpec, Document], Canonical]
"""Gives an engine's one name of each flag; the problems of its settings go to the document."""


class Space(NamedTuple):
    """What is tuned over all engines."""

    engines: tuple[EngineEntry, ...]
    parameters: tuple[Parameter, ...]
    constraints: tuple[str, ...]
    """Those of the study, without those of its engines."""


def read_engines(
    document: Document,
    valid: Mapping[str, Any],
    *,
    fixed: Mapping[str, Value],
    portable: Sequence[Parameter],
    flag_names: FlagNames,
) -> Space:
    """Reads the entries; problems go to the document.

    Args:
        document: The study file.
        valid: Its valid sections.
        fixed: Portable settings of all engines.
        portable: Portable parameters of all engines.
        flag_names: See :data:`FlagNames`.
    """
    forms: Sequence[EngineEntryForm] = valid["engines"]
    if document.data.get("parameters"):
        why = "belongs to one engine"
        document.fault(("parameters",), why, remedy="write it as parameters of that entry of engines")
    if document.data.get("baseline"):
        why = "belongs to one engine"
        document.fault(("baseline",), why, remedy="write it as baseline of that entry of engines")
    for parameter in (p for p in portable if p.when):
        path = (*file_path(parameter.name).split("."), "when")
        document.fault(path, "a setting of all engines cannot have a condition", remedy="remove when")
    shared = [p.replaced(when="") for p in portable]
    entries = [
        _entry(EntryDocument(document, index), form, valid.get("deploy"), fixed, shared, flag_names)
        for index, form in enumerate(forms)
    ]
    _check_twins(entries, document)
    names = [p.name for p in shared]
    parameters = [choice([e.name for e in entries]), *shared]
    for index, entry in enumerate(entries):
        part = EntryDocument(document, index)
        for parameter in entry.parameters:
            try:
                parameters.append(qualified(entry.name, parameter, names))
            except InvalidValueError as error:
                part.fault(("parameters", parameter.name, "when"), error.why, remedy=error.remedy)
        for number, text in enumerate(entry.constraints):
            try:
                qualified_constraint(entry.name, text, names)
            except InvalidValueError as error:
                part.fault(("constraints", number), error.why, remedy=error.remedy)
    reader = ConditionReader(document, _as_written, parameters, {})
    return Space(tuple(entries), tuple(parameters), reader.constraints(valid.get("constraints") or ()))


def _entry(
    document: EntryDocument,
    form: EngineEntryForm,
    deploy: Any,
    fixed: Mapping[str, Value],
    shared: Sequence[Parameter],
    flag_names: FlagNames,
) -> EngineEntry:
    engine = EngineSpec.model_validate(form.engine)
    flag = flag_names(engine, document)

    def canonical(name: str) -> str:
        return canonical_variable(name) if is_variable(name) else flag(name)

    reader = ParameterReader(document, canonical, engine)
    tuned = reader.parameters(form.parameters)
    conditions = ConditionReader(document, canonical, [*tuned, *shared], reader.written)
    own = conditions.conditional()[: len(tuned)]
    baseline = read_baseline(form.baseline, [*own, *shared], engine, canonical, document)
    where = form.deploy or deploy
    return EngineEntry(
        name=form.proper_name,
        engine=engine.model_copy(update={"args": {**engine.args, **fixed}}),
        deploy=PluginSpec.model_validate(where.model_dump() if where else {"kind": "process"}),
        parameters=own,
        constraints=conditions.constraints(form.constraints),
        baseline=baseline,
    )


def _check_twins(entries: Sequence[EngineEntry], document: Document) -> None:
    """Adds a problem for two entries that start the same server."""
    seen: dict[str, str] = {}
    for index, entry in enumerate(entries):
        first = seen.setdefault(entry.digest, entry.name)
        if first != entry.name:
            why = f"the same engine and deployer as {first}"
            document.fault(("engines", index), why, remedy="write the parameters of both under one of them")


def _as_written(name: str) -> str:
    return name
