"""One trial as data: what ``show STUDY TRIAL`` and the API say about it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autotuner.report.predictions import predictions
from autotuner.report.result import StudyResult, trial_label
from autotuner.report.server_diagnosis import diagnosis
from autotuner.report.views.launch_line import environment, is_hidden, start_line
from autotuner.report.views.outcome import outcome, reasons, undecided
from autotuner.report.views.trial_change import trial_changes
from autotuner.scoring.slo import missed, slo_value
from autotuner.secrets import HIDDEN
from autotuner.study.launch import without_flags
from autotuner.study.parameters.environment import PREFIX
from autotuner.study.trial import Trial

_VALUE_LIKE = re.compile(r"-\d")


@dataclass(frozen=True)
class ArgvChange:
    """A flag or variable (``env.NAME``) that differs from the command line of the study's default or baseline; None on
    the side without it."""

    flag: str
    default: str | None
    trial: str | None


def launch_changes(result: StudyResult, trial: Trial) -> tuple[ArgvChange, ...]:
    """Returns the variables and flags that differ from those of the study's default or baseline; none if either had no
    process."""
    default = result.default
    if default is None or not default.argv or not trial.argv:
        return ()
    old = _shown(environment(result, default))
    new = _shown(environment(result, trial))
    names = dict.fromkeys([*new, *old])
    variables = [ArgvChange(f"{PREFIX}{n}", old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n)]
    return (*variables, *argv_changes(default.argv, trial.argv, address=trial.address_flags))


def _shown(values: Mapping[str, str]) -> dict[str, str]:
    return {name: HIDDEN if is_hidden(name, value) else shlex.quote(value) for name, value in values.items()}


def argv_changes(default: Sequence[str], trial: Sequence[str], *, address: Sequence[str]) -> tuple[ArgvChange, ...]:
    """Returns the flags that differ, in the order of the trial's command line, without the address."""
    old = _flags(without_flags(default, address))
    new = _flags(without_flags(trial, address))
    names = dict.fromkeys([*new, *old])
    return tuple(ArgvChange(n, old.get(n), new.get(n)) for n in names if old.get(n) != new.get(n))


def _flags(argv: Sequence[str]) -> dict[str, str]:
    """Returns flags with their arguments as one text. Everything before the first flag is the program."""
    found: dict[str, list[str]] = {}
    name = ""
    for word in argv:
        if word.startswith("-") and not _VALUE_LIKE.match(word):
            name, has_value, value = word.partition("=")
            found.setdefault(name, [])
            if has_value:
                found[name].append(value)
        else:
            found.setdefault(name, []).append(word)
    return {key: shlex.join(words) for key, words in found.items() if key}


def trial_data(result: StudyResult, trial: Trial, log: Sequence[str]) -> dict[str, Any]:
    """Returns one trial with its rank, its SLOs, what explains its figures, and the end of its log, for programs."""
    return {
        "study": result.spec.name,
        "trial": trial,
        "rank": result.ranks.get(trial.number),
        "label": trial_label(trial),
        "outcome": outcome(result, trial),
        "reasons": reasons(trial),
        "changes": list(trial_changes(result, trial)),
        "objectives": [objective.text for objective in result.spec.objectives],
        "simulated": trial.simulated,
        "slos": [
            {"slo": slo.text, "value": value, "met": None if undecided(trial, slo, value) else not missed(slo, value)}
            for slo in result.spec.slos
            if (value := slo_value(slo, trial.measurements)) is not None or trial.verdict is not None
        ],
        "diagnosis": [
            {"scenario": m.scenario, "level": m.level.text, "sentences": list(diagnosis(m))} for m in trial.measurements
        ],
        "predictions": list(predictions(trial)),
        "command": start_line(result, trial),
        "reference": result.reference_word,
        "argv_changes": list(launch_changes(result, trial)),
        "repeats": [t.number for t in result.repeated.get(trial.number, ())],
        "log": list(log),
    }
