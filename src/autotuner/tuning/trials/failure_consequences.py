"""Consequences of a trial's failure: a result, a second launch, or the end of a study that no parameter can fix."""

import re
from collections.abc import Iterable, Sequence

from autotuner.study.failure import FATAL, Blame, Failure, FailureCause
from autotuner.study.parameters.parameter import Parameter
from autotuner.study.parameters.reference import reference_word
from autotuner.study.trial import Trial, TrialRole, TrialState

SAME_FAILURES = 4
"""Equal failures from the start, the default's included, after which the study gives up."""

_MAY_PASS = frozenset(
    {
        FailureCause.CRASH_LOADING,
        FailureCause.CRASH_UNDER_LOAD,
        FailureCause.HOST_OUT_OF_MEMORY,
        FailureCause.START_TIMEOUT,
        FailureCause.TRIAL_TIMEOUT,
        FailureCause.NOT_ANSWERING,
    }
)
"""Causes that may not recur. A default that failed with one of these is launched once more: without a default a study
has nothing to compare with."""

_FIXED_BY_PARAMETERS = frozenset(
    {
        FailureCause.OUT_OF_MEMORY,
        FailureCause.GPU_OUT_OF_MEMORY_LOADING,
        FailureCause.GPU_OUT_OF_MEMORY_RUNNING,
        FailureCause.HOST_OUT_OF_MEMORY,
        FailureCause.KV_CACHE_TOO_SMALL,
        FailureCause.UNSUPPORTED_GPU,
    }
)
"""Causes that never end the search, because another value may fit."""

_OF_VALUES = frozenset({FailureCause.UNSUPPORTED_COMBINATION, FailureCause.INVALID_VALUE})
"""Causes that another value may fix: the study only gives up after every parameter had two values."""

_OF_ONE_VALUE = frozenset({FailureCause.PACKAGE_MISSING, FailureCause.UNSUPPORTED_GPU})
"""Causes that concern the installation if the default has them, but a value if only a trial of the search has: an
attention backend may need a package of its own."""


def settled(trial: Trial, trials: Iterable[Trial]) -> Trial:
    """The trial with the state that counts in its study.

    A default that may have failed by chance is void at first. A missing package that only one value needs is the fault
    of that configuration.
    """
    failure = trial.failure
    if failure is None:
        return trial
    if (
        trial.role is TrialRole.SEARCH
        and not trial.engine_default
        and trial.state is TrialState.VOID
        and failure.cause in _OF_ONE_VALUE
    ):
        return trial.replaced(state=TrialState.FAILED)
    same = (t for t in trials if t.number != trial.number and _is_default(t) and t.configuration == trial.configuration)
    tried_before = any(map(_failed_by_itself, same))
    if _is_default(trial) and trial.state is TrialState.FAILED and _may_pass(failure) and not tried_before:
        return trial.replaced(state=TrialState.VOID)
    return trial


def hopeless(trials: Iterable[Trial], parameters: Sequence[Parameter]) -> list[Trial]:
    """The trials that show that no parameter fixes the default's failure; empty while one might."""
    made = sorted((t for t in trials if t.role is not TrialRole.CONFIRM), key=lambda t: t.number)
    ended = [t for t in made if t.state.finished or _failed_by_itself(t)]
    failures = [t.failure for t in ended if t.failure is not None and t.state is not TrialState.DONE]
    if len(failures) < len(ended) or not any(_is_default(t) and t.state is TrialState.FAILED for t in ended):
        return []
    cause = failures[0].cause
    fixed_only = any(_is_default(t) and reference_word(t.configuration.values) == "default" for t in ended)
    if cause is FailureCause.INVALID_FLAG and fixed_only:  # a default only has fixed arguments, which every launch has
        return ended
    alike = len({comparable_text(failure) for failure in failures}) == 1
    if len(failures) < SAME_FAILURES or not alike or cause in _FIXED_BY_PARAMETERS:
        return []
    return ended if cause not in _OF_VALUES or _varied(ended, parameters) else []


def is_fatal(failure: Failure) -> bool:
    """Whether another launch, of this or another configuration, would fail in the same way."""
    return failure.cause in FATAL or failure.blame is Blame.TUNER


def last_log_line(failure: Failure) -> str:
    """The last line of the server's log, at most 300 characters."""
    lines = [line.strip() for line in failure.log_tail.splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:300] if lines else ""


_CHANGING = (
    (re.compile(r"\x1b\[[0-9;]*[A-Za-z]"), ""),
    (re.compile(r"(?:[A-Za-z]:)?[/\\][^\s'\",:;()\[\]]+"), "/"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{6,}\b", re.IGNORECASE), "#"),
    (re.compile(r"\d+"), "#"),
)
"""Patterns of text that differs between failures of the same kind: colors, paths, addresses, ids, numbers."""


def comparable_text(failure: Failure) -> str:
    """The text of a failure without what differs between two servers; equal for failures of the same kind."""
    text = f"{failure.cause.value} {failure.message} {last_log_line(failure)}"
    for pattern, instead in _CHANGING:
        text = pattern.sub(instead, text)
    return text.lower()


def _is_default(trial: Trial) -> bool:
    return trial.role is TrialRole.DEFAULT or trial.engine_default


def _failed_by_itself(trial: Trial) -> bool:
    """Whether the trial is a launch of the default that does not count although the configuration was to blame."""
    failure = trial.failure
    return trial.state is TrialState.VOID and failure is not None and failure.blame is Blame.CONFIGURATION


def _may_pass(failure: Failure) -> bool:
    code = failure.exit_code
    by_signal = code is not None and (code < 0 or 128 < code <= 128 + 64)
    return failure.cause in _MAY_PASS or by_signal


def _varied(trials: Iterable[Trial], parameters: Sequence[Parameter]) -> bool:
    """Whether each parameter with at least two values had two of them in these trials."""
    searched = [t.configuration.values for t in trials if t.role is TrialRole.SEARCH]
    for parameter in parameters:
        grid = parameter.domain.grid()
        seen = {(type(values.get(parameter.name)), values.get(parameter.name)) for values in searched}
        if (grid is None or len(grid) > 1) and len(seen) < 2:
            return False
    return True
