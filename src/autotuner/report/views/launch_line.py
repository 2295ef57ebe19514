"""The command that starts a trial's server, as one shell line."""

import shlex
from collections.abc import Mapping, Sequence

from autotuner.report.result import StudyResult
from autotuner.secrets import HIDDEN, has_secret_form, looks_secret
from autotuner.study.parameters.environment import variables_in
from autotuner.study.trial import Trial


def start_line(result: StudyResult, trial: Trial) -> str:
    """Formats the command that starts a trial's server as one shell line, with its environment in front unless the
    command contains it. Secrets become references to variables. Empty if the trial never had a process."""
    if not trial.start_command:
        return ""
    return shell_line(trial.start_command, {} if trial.command else environment(result, trial))


def shell_line(words: Sequence[str], env: Mapping[str, str]) -> str:
    """Formats a command as one shell line with variables in front. Secrets become references to variables."""
    variables = [
        f'{name}="${name}"' if is_hidden(name, value) else f"{name}={shlex.quote(value)}" for name, value in env.items()
    ]
    return " ".join([*variables, shlex.join(words)])


def environment(result: StudyResult, trial: Trial) -> dict[str, str]:
    """Returns the variables that the study sets for a trial's server, fixed and tuned."""
    tuned = variables_in(trial.launched.values)
    fixed = result.spec.of(trial.configuration).engine.env
    return {**fixed, **{name: text for name, text in tuned.items() if text is not None}}


def is_hidden(name: str, value: str) -> bool:
    """Whether the value of an environment variable must not be shown."""
    return looks_secret(name) or HIDDEN in value or has_secret_form(value)
