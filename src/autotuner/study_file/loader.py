"""From a study file's text to a StudySpec: one pass, all problems at once, one line each. No I/O.

Sections are read independently, so that a fault in one does not hide another's; what lies between sections (levels that
an objective names, a parameter that is fixed and tuned) is checked on those that could be read.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from os.path import normpath
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError, create_model
from pydantic.fields import FieldInfo

from autotuner.errors import UsageError
from autotuner.invalid_value import InvalidValueError
from autotuner.secrets import looks_secret
from autotuner.study.base import Value
from autotuner.study.objective import SLO, Objective
from autotuner.study.parameters.constraint import Constraint
from autotuner.study.parameters.environment import canonical_variable, is_variable, tuned_name_problem, variable_of
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import SECTIONS, file_path
from autotuner.study.problems import MAX_DETAILED, problems_of
from autotuner.study.spec import ConfirmSpec, EngineSpec, Model, PluginSpec, SearchSpec, StudySpec
from autotuner.study.workload import Concurrency, LoadLevel, Workload
from autotuner.study_file.combinations import forms_of, points_of, read_combinations
from autotuner.study_file.default_name import default_name
from autotuner.study_file.form_fields import FileForm, ParameterForm
from autotuner.study_file.forms import EngineForm, SearchForm, StudyFile, WorkloadForm
from autotuner.study_file.legacy.task import ENGINES, is_older, native_of
from autotuner.study_file.located_document import Document, read_data, read_text
from autotuner.study_file.overrides import apply_overrides
from autotuner.study_file.portable_sections import misplaced, read_sections

Canonical = Callable[[str], str]
CanonicalOf = Callable[[EngineSpec], Canonical]


@dataclass(frozen=True)
class LoadedStudy:
    """A study, and what a person should know about how its file was read."""

    spec: StudySpec
    notes: tuple[str, ...] = ()
    named: bool = True
    """Whether a person chose the study's name; else it follows from the file's."""
    source: str = ""
    """Absolute path of the file; empty where the study did not come from one."""


def parse_study(
    text: str | Mapping[str, Any],
    *,
    source: str,
    folder: Path,
    exists: Callable[[Path], bool] = lambda _: False,
    canonical_of: CanonicalOf | None = None,
    mode: str | None = None,
    benchmark: str | None = None,
    overrides: Sequence[str] = (),
) -> LoadedStudy:
    """The study in a file's text (YAML or JSON, native or the older task form) or in its content as a mapping.

    ``source`` names the file in problems and gives the study its name; ``folder`` is what relative paths in the file
    are relative to, where ``exists`` says that they are there; ``canonical_of`` gives an engine's flag names; ``mode``
    overrides an older task's ``deployment_mode``, and ``benchmark`` is what an older task is to be measured by;
    ``overrides`` are values of the file as on the command line (``search.trials=5``).
    Raises UsageError with one problem per fault.
    """
    document = read_text(text, source) if isinstance(text, str) else read_data(text, source)
    if not isinstance(document.data, dict):
        document.fault((), "must be a mapping of keys to values", remedy="autotuner init writes an example")
        raise UsageError(document.problems)
    apply_overrides(document, overrides)
    notes: list[str] = []
    older = is_older(document.data)
    if older:
        document, notes = native_of(document, mode, benchmark)
    spec = _Study(document, folder, exists, canonical_of, older=older, from_file=isinstance(text, str)).read()
    return LoadedStudy(spec, tuple(notes), named="name" in document.data)


def parse_workload(
    workload: Mapping[str, Any],
    *,
    slos: Sequence[str] = (),
    source: str,
    folder: Path,
    exists: Callable[[Path], bool] = lambda _: False,
) -> tuple[Workload, tuple[SLO, ...]]:
    """A workload and SLOs as they stand in a study file, without a study.

    ``source``, ``folder`` and ``exists`` are as for :func:`parse_study`. Raises UsageError with one problem per fault.
    """
    document = read_data({"workload": workload, "slo": list(slos)}, source)
    reader = _Study(document, folder, exists, None, older=False, from_file=False)
    return reader.read_workload()


def hyphenated(name: str) -> str:
    """A flag's name without dashes in front, hyphens for underscores: the spelling where no catalog is known."""
    return name.lstrip("-").replace("_", "-")


_MOST_KEYS = 200
"""Keys of a section that are compared with the known ones; more are unlikely to be misspellings."""
_NAME = re.compile(r"-{0,2}[A-Za-z][A-Za-z0-9_.-]*")
_OPEN: Mapping[str, type[BaseModel]] = {"search": SearchForm, "engine": EngineForm}
"""Sections that take further keys for plugins; a near miss of a known key is still an error here."""
_SECTIONS: Mapping[str, type[BaseModel]] = {
    key: create_model(f"Section_{key}", __base__=FileForm, **{key: (info.annotation, info)})  # type: ignore[call-overload]
    for key, info in StudyFile.model_fields.items()
}


class _Study:
    def __init__(
        self,
        document: Document,
        folder: Path,
        exists: Callable[[Path], bool],
        canonical_of: CanonicalOf | None,
        *,
        older: bool,
        from_file: bool,
    ) -> None:
        self.document = document
        self.folder = folder
        self.exists = exists
        self.canonical_of = canonical_of
        self.older = older
        self.from_file = from_file
        self.sections: dict[str, Any] = {}
        self.combinations: list[dict[str, Value]] = []
        """As written, where the parameters are a list."""

    def read(self) -> StudySpec:
        self._sections(StudyFile.model_fields)
        engine = self._engine()
        flag = self._canonical(engine) if engine else hyphenated

        def canonical(name: str) -> str:
            return canonical_variable(name) if is_variable(name) else flag(name)

        fixed, portable = read_sections({s: self.sections.get(s, {}) for s in SECTIONS}, self.document)
        parameters = [*self._parameters(canonical, engine), *portable]
        combinations = points_of(self.combinations, canonical, self.document)
        if portable and combinations:
            why = f"combinations cannot be tuned together with {file_path(portable[0].name)}"
            self.document.fault(("parameters",), why, remedy="write the engine's own flags into each combination")
        workload = self._workload()
        if workload:
            self._places(workload)
        name = self._name()
        if self.document.problems or engine is None or workload is None:
            raise UsageError(self.document.problems)
        sections = self.sections
        model = sections["model"]
        search = sections["search"]
        try:
            return StudySpec(
                name=name,
                model=Model(path=self._file(model.path), name=model.name),
                engine=engine.model_copy(update={"args": {**engine.args, **fixed}}),
                deploy=PluginSpec.model_validate(sections["deploy"].model_dump()),
                benchmark=PluginSpec.model_validate(sections["benchmark"].model_dump()),
                parameters=tuple(parameters),
                combinations=combinations,
                constraints=tuple(c.renamed(canonical).text for c in sections["constraints"]),
                workload=workload,
                objectives=tuple(form.noun() for form in sections["objective"]),
                slos=tuple(form.noun() for form in sections["slo"]),
                min_success_rate=sections["min_success_rate"],
                search=_search(search),
                confirm=ConfirmSpec(**sections["confirm"].model_dump()),
            )
        except ValidationError as error:
            raise UsageError(problems_of(error, StudySpec, prefix=self.document.source)) from None

    def read_workload(self) -> tuple[Workload, tuple[SLO, ...]]:
        """Only the sections ``workload`` and ``slo``."""
        self._sections({key: StudyFile.model_fields[key] for key in ("workload", "slo")})
        workload = self._workload()
        if workload:
            self._places(workload)
        if self.document.problems or workload is None:
            raise UsageError(self.document.problems)
        return workload, tuple(form.noun() for form in self.sections["slo"])

    def _sections(self, fields: Mapping[str, FieldInfo]) -> None:
        """Each section on its own; those with faults are left out."""
        data = self.document.data
        for key in data:
            if key not in fields:
                self.document.unknown((key,), list(fields))
        for key, info in fields.items():
            if key not in data:
                if info.is_required():
                    self.document.fault((key,), "missing", remedy="this key is required")
                else:
                    self.sections[key] = info.get_default(call_default_factory=True)
                continue
            if key == "parameters" and isinstance(data[key], list):
                self.combinations = read_combinations(data[key], self.document)
                self.sections[key] = {}
                continue
            try:
                found = _SECTIONS[key].model_validate({key: data[key]})
                self.sections[key] = getattr(found, key)
            except ValidationError as error:
                self._faults(error)
            if key in _OPEN and isinstance(data[key], dict):
                self._near_misses(key, list(_OPEN[key].model_fields))

    def _faults(self, error: ValidationError) -> None:
        seen: set[tuple[str | int, ...]] = set()
        paths = [self._path(d["loc"]) for d in error.errors(include_url=False)]
        for problem, path in zip(problems_of(error, StudyFile), paths, strict=True):
            if path not in seen:
                seen.add(path)
                detailed = len(seen) <= MAX_DETAILED
                placed = problem.model_copy(update={"where": self.document.where(path)}) if detailed else problem
                self.document.problems.append(placed)

    def _path(self, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
        """The part of pydantic's location that is in the file: its names of union members are not."""
        current = self.document.data
        path = []
        for index, part in enumerate(location):
            inside = isinstance(current, dict) and part in current
            if inside or (isinstance(current, list) and isinstance(part, int) and part < len(current)):
                path.append(part)
                current = current[part]
            elif isinstance(part, int) and not isinstance(current, list):
                continue  # one value where a list may stand
            elif isinstance(part, str) and isinstance(current, list):
                continue  # the key that a short form leaves out
            elif index == len(location) - 1 and isinstance(current, dict):
                path.append(part)
            else:
                break
        return tuple(path)

    def _near_misses(self, section: str, known: list[str]) -> None:
        extra = set(known) | {"strategy" if section == "search" else "kind"}
        for key in islice(self.document.data[section], _MOST_KEYS):
            near = get_close_matches(key, sorted(extra), n=1, cutoff=0.8)
            if section == "search" and key == "kind":
                near = ["strategy"]
            if key not in known and near:
                self.document.fault((section, key), "unknown key", remedy=f'did you mean "{near[0]}"?')

    def _engine(self) -> EngineSpec | None:
        form = self.sections.get("engine")
        return EngineSpec.model_validate(form.model_dump()) if form else None

    def _canonical(self, engine: EngineSpec) -> Canonical:
        if self.canonical_of is None:
            return hyphenated
        try:
            return self.canonical_of(engine)
        except UsageError as error:
            for problem in error.problems:
                changes = {"where": self.document.where(tuple(problem.where.split(".")))}
                if self.older and (problem.where != "engine.kind" or engine.kind in ENGINES):
                    continue  # a task has no place for the engine's settings; a missing engine is reported later
                if self.older:
                    changes["remedy"] = f"{problem.remedy}; a runtime of OME is deployed with --mode ome"
                self.document.problems.append(problem.model_copy(update=changes))
        return hyphenated

    def _parameters(self, canonical: Canonical, engine: EngineSpec | None) -> list[Parameter]:
        misplaced(engine.args if engine else {}, ("engine", "args"), self.document)
        if self.combinations:
            self.sections["parameters"] = forms_of(self.combinations, canonical, self.document)
        misplaced(self.sections.get("parameters") or {}, ("parameters",), self.document)
        self._misplaced_variables(engine)
        fixed = {canonical(name): name for name in engine.args} if engine else {}
        if engine and len(fixed) < len(engine.args):
            self._twice("engine.args", list(engine.args), canonical)
        parameters: dict[str, Parameter] = {}
        written: dict[str, str] = {}
        forms = cast(dict[str, ParameterForm], self.sections.get("parameters") or {})
        for name, form in forms.items():
            path = ("parameters", name)
            if not _NAME.fullmatch(name):
                self.document.fault(
                    path, "not a flag's name", value=name, remedy="write it as the engine does: tp-size"
                )
                continue
            proper = canonical(name)
            if is_variable(proper) and self._variable_fault(proper, path, form, engine):
                continue
            if proper in parameters:
                self.document.fault(path, f'the same parameter as "{written[proper]}"', remedy="remove one of the two")
            elif proper in fixed:
                why = f"both tuned and fixed (engine.args.{fixed[proper]})"
                self.document.fault(path, why, remedy="remove one of the two")
            parameters[proper] = Parameter(name=proper, domain=form.domain())
            written[proper] = name
        self._constraints(canonical)
        return list(parameters.values())

    def _misplaced_variables(self, engine: EngineSpec | None) -> None:
        for name in engine.args if engine else ():
            if is_variable(name):
                remedy = f"write {variable_of(name)} under engine.env"
                self.document.fault(("engine", "args", name), "not a flag of the engine", remedy=remedy)

    def _variable_fault(self, name: str, path: tuple[str, str], form: ParameterForm, engine: EngineSpec | None) -> bool:
        """Whether an environment variable cannot be tuned as written."""
        variable = variable_of(name)
        problem = tuned_name_problem(variable)
        if problem is None and looks_secret(variable):
            problem = ("is a secret by its name, and what is tuned is stored and shown", "set it under engine.env")
        if problem is None and any(isinstance(value, tuple) for value in form.choices or ()):
            problem = ("an environment variable has one value", "write the list as the engine reads it, as text")
        if problem is None and engine is not None and variable in engine.env:
            problem = (f"both tuned and fixed (engine.env.{variable})", "remove one of the two")
        if problem is not None:
            self.document.fault(path, problem[0], remedy=problem[1])
        return problem is not None

    def _twice(self, prefix: str, names: list[str], canonical: Canonical) -> None:
        seen: dict[str, str] = {}
        for name in names:
            first = seen.setdefault(canonical(name), name)
            if first != name:
                path = (*prefix.split("."), name)
                self.document.fault(path, f'the same flag as "{first}"', remedy="remove one of the two")

    def _constraints(self, canonical: Canonical) -> None:
        for index, constraint in enumerate(cast(list[Constraint], self.sections.get("constraints") or [])):
            try:
                constraint.renamed(canonical)
            except InvalidValueError as error:
                self.document.fault(("constraints", index), error.why, value=constraint.text, remedy=error.remedy)

    def _workload(self) -> Workload | None:
        form = cast(WorkloadForm | None, self.sections.get("workload"))
        if form is None:
            return None
        closed: list[LoadLevel] = [Concurrency(in_flight=n) for n in form.concurrency]
        scenarios = [
            s.model_copy(update={"dataset": self._file(s.dataset)}) if s.dataset else s for s in form.scenarios
        ]
        return Workload(
            api=form.api,
            scenarios=tuple(scenarios),
            levels=(*closed, *form.rates),
            warmup_s=form.warmup,
            duration_s=form.duration,
            max_duration_s=form.max_duration,
            min_requests=form.min_requests,
            requests=form.requests,
            request_timeout_s=form.request_timeout,
            seed=form.seed,
            prefix_tokens=form.prefix_tokens,
            ignore_eos=form.ignore_eos,
            extra_body=form.extra_body,
            tokenizer=self._file(form.tokenizer) if form.tokenizer else None,
        )

    def _places(self, workload: Workload) -> None:
        """Every level and scenario that is named must be one of the workload's."""
        levels = [level.text for level in workload.levels]
        scenarios = [scenario.text for scenario in workload.scenarios]
        for key in ("objective", "slo"):
            wanted: list[Objective | SLO] = [form.noun() for form in self.sections.get(key) or []]
            for index, bound in enumerate(wanted):
                path = (key, index) if isinstance(self.document.data.get(key), list) else (key,)
                if bound.at and bound.at not in levels:
                    remedy = f"the workload has {', '.join(levels)}"
                    self.document.fault(path, f"no load level {bound.at}", value=bound.text, remedy=remedy)
                if bound.scenario and bound.scenario not in scenarios:
                    remedy = f"the workload has {', '.join(scenarios)}"
                    self.document.fault(path, f"no scenario {bound.scenario}", value=bound.text, remedy=remedy)

    def _name(self) -> str:
        name: str | None = self.sections.get("name")
        if name is not None or "name" in self.document.data:
            return name or ""
        return default_name(self.document.source, self.folder if self.from_file else None)

    def _file(self, path: str) -> str:
        """A path relative to the study file where there is such a file, else as written (a hub id)."""
        there = Path(normpath(self.folder / path))
        return str(there) if self.exists(there) else path


def _search(form: SearchForm) -> SearchSpec:
    return SearchSpec.model_validate(
        {
            **(form.model_extra or {}),
            "kind": form.strategy,
            "trials": form.trials,
            "seed": form.seed,
            "time_s": form.time,
            "gpu_hours": form.gpu_hours,
            "parallel": form.parallel,
            "trial_timeout_s": form.trial_timeout,
            "max_environment_faults": form.max_environment_faults,
        }
    )
