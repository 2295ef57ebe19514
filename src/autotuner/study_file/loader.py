"""Study files read into a StudySpec: one pass, all problems at once, one line each. No I/O.

Each section is read on its own, so that a problem in one does not hide another's. What connects sections (levels that
an objective names, a parameter that is both fixed and tuned) is checked on those that are valid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os.path import normpath
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from autotuner.errors import UsageError
from autotuner.study.base import Value
from autotuner.study.objective import SLO
from autotuner.study.parameters.conditions import hyphenated
from autotuner.study.parameters.environment import canonical_variable, is_variable
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.portable import SECTIONS, file_path
from autotuner.study.problems import problems_of
from autotuner.study.spec import ConfirmSpec, EngineSpec, Model, PluginSpec, SearchSpec, StudySpec
from autotuner.study.workload import Workload
from autotuner.study_file.baseline import read_baseline
from autotuner.study_file.combinations import forms_of, points_of
from autotuner.study_file.conditions import ConditionReader
from autotuner.study_file.default_name import default_name
from autotuner.study_file.engines.reader import read_engines
from autotuner.study_file.forms import SearchForm, StudyFile
from autotuner.study_file.legacy.task import ENGINES, is_older, native_of
from autotuner.study_file.located_document import Document, read_data, read_text
from autotuner.study_file.overrides import apply_overrides
from autotuner.study_file.portable_sections import read_sections
from autotuner.study_file.section_validation import Sections
from autotuner.study_file.tuned_parameters import Canonical, ParameterReader
from autotuner.study_file.workload_section import check_endpoint, check_places, check_prefix, of_unit, workload_of

CanonicalOf = Callable[[EngineSpec], Canonical]


@dataclass(frozen=True)
class LoadedStudy:
    """A study, and how its file was read."""

    spec: StudySpec
    notes: tuple[str, ...] = ()
    """What the user should know about how the file was read, one line each."""
    named: bool = True
    """Whether the user chose the study's name; otherwise it was derived from the file's."""
    source: str = ""
    """Absolute path of the file; empty if the study did not come from one."""
    written: StudySpec | None = None
    """The study without the defaults of a machine's site file; None: ``spec``."""
    place: Callable[[str], str] = field(default=str, compare=False, repr=False)
    """Adds file and line to the path of a setting: ``study.yaml:12 parameters.threads``."""


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
    """Reads a study.

    Args:
        text: A file's text (YAML or JSON, a study or an older task), or its content as a mapping.
        source: The file's name in problems; a study without a name gets its name from it.
        folder: What relative paths in the file are relative to.
        exists: Whether a file or folder exists. A path that does not is kept as written: it may be a Hub ID.
        canonical_of: Gives an engine's names of flags; None: flags are only hyphenated.
        mode: Overrides an older task's ``deployment_mode``.
        benchmark: Kind of benchmark that measures an older task.
        overrides: Values of the file as given on the command line (``search.trials=5``).

    Raises:
        UsageError: With one problem per fault.
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
    reader = _StudyReader(document, folder, exists, canonical_of, older=older)
    spec = reader.study(name_folder=folder if isinstance(text, str) else None)
    return LoadedStudy(spec, tuple(notes), named="name" in document.data, place=document.placed)


def parse_workload(
    workload: Mapping[str, Any],
    *,
    slos: Sequence[str] = (),
    source: str,
    folder: Path,
    exists: Callable[[Path], bool] = lambda _: False,
) -> tuple[Workload, tuple[SLO, ...]]:
    """Reads a workload and SLOs, written as in a study file, without a study.

    Args:
        workload: The section ``workload``.
        slos: The section ``slo``, in its short form.
        source: As for :func:`parse_study`, and so are ``folder`` and ``exists``.

    Raises:
        UsageError: With one problem per fault.
    """
    document = read_data({"workload": workload, "slo": list(slos)}, source)
    return _StudyReader(document, folder, exists).workload_and_slos()


class _StudyReader:
    def __init__(
        self,
        document: Document,
        folder: Path,
        exists: Callable[[Path], bool],
        canonical_of: CanonicalOf | None = None,
        *,
        older: bool = False,
    ) -> None:
        self._document = document
        self._folder = folder
        self._exists = exists
        self._canonical_of = canonical_of
        self._older = older

    def study(self, name_folder: Path | None) -> StudySpec:
        """The whole file. A study without a name gets one from the source and from ``name_folder``, if there is any."""
        document = self._document
        sections = Sections(document)
        valid = sections.valid
        fixed, portable = read_sections({s: valid.get(s, {}) for s in SECTIONS}, document)
        read = self._several if "engines" in document.data else self._single
        engines = read(sections, fixed, portable)
        workload = self._workload(valid)
        name = valid.get("name")
        if name is None and "name" not in document.data:
            name = default_name(document.source, name_folder)
        if document.problems or engines is None or workload is None:
            raise UsageError(document.problems)
        try:
            return StudySpec(
                name=name or "",
                model=Model(path=self._resolved(valid["model"].path), name=valid["model"].name),
                benchmark=PluginSpec.model_validate(valid["benchmark"].model_dump()),
                **engines,
                workload=workload,
                objectives=tuple(of_unit(form.parsed(), workload) for form in valid["objective"]),
                slos=tuple(of_unit(form.parsed(), workload) for form in valid["slo"]),
                min_success_rate=valid["min_success_rate"],
                search=_search(valid["search"]),
                confirm=ConfirmSpec(**valid["confirm"].model_dump()),
                quality=valid["quality"].spec(self._resolved) if valid["quality"] is not None else None,
                prices=valid["prices"],
                worker=valid["worker"],
            )
        except ValidationError as error:
            raise UsageError(problems_of(error, StudySpec, prefix=document.source)) from None

    def _single(
        self, sections: Sections, fixed: Mapping[str, Value], portable: Sequence[Parameter]
    ) -> dict[str, Any] | None:
        """The fields of a study with one engine; None if the engine has problems."""
        document = self._document
        valid = sections.valid
        form = valid.get("engine")
        engine = EngineSpec.model_validate(form.model_dump()) if form else None
        flag = self._flag_names(engine, document) if engine else _hyphenated

        def canonical(name: str) -> str:
            return canonical_variable(name) if is_variable(name) else flag(name)

        reader = ParameterReader(document, canonical, engine)
        forms = valid.get("parameters") or {}
        if sections.combinations:
            forms = forms_of(sections.combinations, canonical, document)
        tuned = [*reader.parameters(forms), *portable]
        conditions = ConditionReader(document, canonical, tuned, reader.written)
        parameters = conditions.conditional()
        constraints = conditions.constraints(valid.get("constraints") or ())
        combinations = points_of(sections.combinations, canonical, document)
        if portable and combinations:
            why = f"combinations cannot be tuned together with {file_path(portable[0].name)}"
            document.fault(("parameters",), why, remedy="write the engine's own flags into each combination")
        baseline = read_baseline(valid.get("baseline") or {}, parameters, engine, canonical, document)
        if engine is None or "deploy" not in valid:
            return None
        return {
            "engine": engine.model_copy(update={"args": {**engine.args, **fixed}}),
            "deploy": PluginSpec.model_validate(valid["deploy"].model_dump()),
            "parameters": parameters,
            "combinations": combinations,
            "constraints": constraints,
            "baseline": baseline,
        }

    def _several(
        self, sections: Sections, fixed: Mapping[str, Value], portable: Sequence[Parameter]
    ) -> dict[str, Any] | None:
        """The fields of a study with several engines; None if one of them has problems."""
        if not sections.valid.get("engines"):
            return None
        quality = sections.valid.get("quality")
        if quality is not None and not isinstance(quality.parameters, str):
            why = "a list names parameters of one engine"
            self._document.fault(("quality", "parameters"), why, remedy="use auto or all")
        found = read_engines(
            self._document, sections.valid, fixed=fixed, portable=portable, flag_names=self._flag_names
        )
        first = found.engines[0]
        return {
            "engine": first.engine,
            "deploy": first.deploy,
            "engines": found.engines,
            "parameters": found.parameters,
            "constraints": found.constraints,
        }

    def workload_and_slos(self) -> tuple[Workload, tuple[SLO, ...]]:
        """The sections ``workload`` and ``slo`` alone."""
        document = self._document
        sections = Sections(document, {key: StudyFile.model_fields[key] for key in ("workload", "slo")})
        workload = self._workload(sections.valid)
        if document.problems or workload is None:
            raise UsageError(document.problems)
        return workload, tuple(form.parsed() for form in sections.valid["slo"])

    def _workload(self, valid: Mapping[str, Any]) -> Workload | None:
        form = valid.get("workload")
        if form is None:
            return None
        workload = workload_of(form, self._resolved)
        check_prefix(workload, self._document)
        for key in ("objective", "slo"):
            bounds = [bound.parsed() for bound in valid.get(key) or ()]
            check_places(key, bounds, workload, self._document)
            check_endpoint(key, bounds, workload, self._document)
        return workload

    def _flag_names(self, engine: EngineSpec, document: Document) -> Canonical:
        if self._canonical_of is None:
            return _hyphenated
        try:
            return self._canonical_of(engine)
        except UsageError as error:
            for problem in error.problems:
                changes = {"where": document.where(tuple(problem.where.split(".")))}
                if self._older and (problem.where != "engine.kind" or engine.kind in ENGINES):
                    continue  # a task cannot hold an engine's settings; a missing engine is reported by the plan
                if self._older:
                    changes["remedy"] = f"{problem.remedy}; a runtime of OME is deployed with --mode ome"
                document.problems.append(problem.model_copy(update=changes))
        return _hyphenated

    def _resolved(self, path: str) -> str:
        """A path relative to the study file if it exists there, otherwise the text as written (a Hub ID)."""
        there = Path(normpath(self._folder / path))
        return str(there) if self._exists(there) else path


def _hyphenated(name: str) -> str:
    """The spelling of a flag while no engine's catalog is known."""
    return hyphenated(name.lstrip("-"))


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
            "racing": form.racing,
            "max_environment_faults": form.max_environment_faults,
            "warm_start": form.warm_start,
            "prior": form.prior,
            "stop": form.stop.model_dump() if form.stop else None,
        }
    )
