"""Which configurations are compared with the default's answers, before anything is launched."""

from collections.abc import Mapping

from autotuner.errors import Problem, UsageError, did_you_mean
from autotuner.plugins.engine import Engine
from autotuner.scoring.accuracy import least_drop
from autotuner.study.base import Value, same
from autotuner.study.check import Check
from autotuner.study.configuration import Configuration
from autotuner.study.parameters.environment import PREFIX, is_variable
from autotuner.study.parameters.reference import reference_word
from autotuner.study.spec import StudySpec
from autotuner.tuning.quality.check_time import DEFAULT_PASSES

_SHOWN = 0.2
"""Largest drop, as a difference of shares, that may remain unseen without a warning."""


def checked_names(study: StudySpec, engine: Engine) -> tuple[str, ...]:
    """The tuned flags and variables whose values are checked."""
    spec = study.quality
    if spec is None:
        return ()
    flags = [(p.name, flag) for p in study.parameters for flag in p.flags]
    if spec.parameters == "auto":
        flags = [(name, flag) for name, flag in flags if engine.changes_arithmetic(flag)]
    elif spec.parameters != "all":
        given = {engine.canonical(name) for name in spec.parameters} | set(spec.parameters)
        flags = [(name, flag) for name, flag in flags if name in given or flag in given]
    return tuple(dict.fromkeys(flag for _, flag in flags))


def is_checked(study: StudySpec, engine: Engine, fixed: Mapping[str, Value], configuration: Configuration) -> bool:
    """Whether the configuration sets one of these to another value than the default, or the study's baseline.

    Args:
        study: The study.
        engine: Its engine.
        fixed: Arguments of every launch by canonical name.
        configuration: Tuned values.
    """
    values, reference = ({**fixed, **study.as_flags(c).values} for c in (configuration, study.references[0]))
    return any(
        not same(_value(study, engine, name, values), _value(study, engine, name, reference))
        for name in checked_names(study, engine)
    )


def quality_checks(study: StudySpec, engine: Engine) -> list[Check]:
    """What the quality check covers, and the time that it takes."""
    spec = study.quality
    if spec is None or not study.parameters:
        return []
    names = checked_names(study, engine)
    if not names:
        why = "no parameter is checked: none of them is known to change arithmetic"
        return [Check.warn("quality", why, remedy="write quality: all, or name the parameters")]
    word = study.reference_word
    return [
        Check.ok(
            "quality",
            f"answers of configurations that change {', '.join(names)} are compared with the {word}'s: {spec.prompts} "
            f"prompts, at most {spec.time_limit_s:g} s each, and {DEFAULT_PASSES} times that for the {word}",
        )
    ]


def engine_quality_checks(study: StudySpec) -> list[Check]:
    """What the quality check compares in a study of several engines."""
    if study.quality is None or not study.engines:
        return []
    first, *others = study.engines
    named = ", ".join(f"the {reference_word(entry.baseline)} of {entry.name}" for entry in others)
    alike = all(reference_word(entry.baseline) == study.reference_word for entry in others)
    text = (
        f"{named} is compared with {'that' if alike else f'the {study.reference_word}'} of {first.name}, word by word"
    )
    return [Check.ok("quality", f"{text}; if it differs too much, no configuration of that engine can win")]


def task_quality_checks(study: StudySpec) -> list[Check]:
    """What the tasks of the study can show."""
    tasks = study.quality.tasks if study.quality is not None else None
    if tasks is None or study.quality is None or not study.parameters:
        return []
    least = least_drop(tasks.limit, tasks.max_drop, study.quality.level(engines=bool(study.engines)))
    text = (
        f"accuracy in {', '.join(tasks.names)}, at most {tasks.limit} items each and {tasks.time_limit_s:g} s per "
        f"server: a drop of less than {least * 100:.1f} points cannot be told from chance"
    )
    if least <= _SHOWN:
        return [Check.ok("quality.tasks", text)]
    return [Check.warn("quality.tasks", text, remedy="raise quality.tasks.limit")]


def check_quality(study: StudySpec, engine: Engine) -> None:
    """Refuses a section ``quality`` that cannot be checked, or names what is not tuned. Raises :class:`UsageError`."""
    spec = study.quality
    if spec is not None and not study.workload.api.generates:
        why = f"compares generated answers, and workload.api is {study.workload.api.value}"
        raise UsageError([Problem(where="quality", value="", why=why, remedy="remove the section")])
    if spec is None or isinstance(spec.parameters, str):
        return
    tuned = [name for p in study.parameters for name in dict.fromkeys((p.name, *p.flags))]
    known = {*tuned, *(engine.canonical(name) for name in tuned)}
    problems = [
        Problem(where="quality.parameters", value=name, why="is not tuned", remedy=did_you_mean(name, tuned))
        for name in spec.parameters
        if name not in known and engine.canonical(name) not in known
    ]
    if problems:
        raise UsageError(problems)


def _value(study: StudySpec, engine: Engine, name: str, values: Mapping[str, Value]) -> Value:
    """The value that a server has, its default if it is left out; None if it is not known."""
    if is_variable(name):
        return values[name] if name in values else study.engine.env.get(name.removeprefix(PREFIX))
    entry = engine.catalog.get(name)
    value = values.get(name)
    return entry.default if value is None and entry is not None else value
