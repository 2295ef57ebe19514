"""Standing of a study file against the stored study with its name: new, resumes, or refused.

Only what measurements depend on is pinned: model, engine, deployment, benchmark and workload. Parameters, constraints,
objectives and SLOs may change: results that are still in the space are kept and scored again from their measurements.
"""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

from autotuner.errors import Problem, UsageError
from autotuner.events.types import TrialFinished
from autotuner.secrets import HIDDEN, clean, secrets_in
from autotuner.store import Store, StudyRecord
from autotuner.study.base import FrozenModel
from autotuner.study.configuration import Configuration
from autotuner.study.environment_facts import Facts, differences, touched
from autotuner.study.search.beginning import Beginning
from autotuner.study.spec import AUTO, AUTO_STRATEGY, StudySpec
from autotuner.study.trial import Trial, TrialRole, TrialState
from autotuner.tuning.environment_watch import START_OVER
from autotuner.tuning.planning.planned_cost import priced_again
from autotuner.tuning.planning.prepared_study import Prepared
from autotuner.tuning.planning.resuming.changed_settings import changed_engine, changed_settings
from autotuner.tuning.proof.records import default_of
from autotuner.tuning.quality.check_time import CheckTime, measured
from autotuner.tuning.racing.cuts import NOT_DECIDED, beaten_by, cut_again
from autotuner.tuning.verdicts import refuted, verdict_on

OUTSIDE = "no longer among the study's configurations"
FORMER = "from comparisons with a baseline or default that the study no longer has"
_NAMED_CHANGES = 5
"""Differing settings that a refusal names."""


class Standing(FrozenModel):
    """How a study file relates to the stored study with its name."""

    state: Literal["new", "resumes"]
    stored: int = 0
    """Stored results that count."""
    set_aside: int = 0
    """Stored results whose configurations are no longer in the study; kept, but not compared."""
    former: int = 0
    """Stored results that belong to comparisons with a former baseline or default; kept, but not compared."""
    reopened: int = 0
    """Stored results that were cut, and may win by the present goals: set aside too, so that they may be measured."""
    notes: tuple[str, ...] = ()
    """Things to know before the study resumes, one line each."""
    beginning: Beginning | None = None
    """What was known when the stored study began, or what a new one would learn from; None if that was not read."""
    check: CheckTime | None = None
    """Time that the quality check takes, as the stored default's did; None if that is not known."""

    @property
    def text(self) -> str:
        """The standing as one line."""
        if self.state == "new":
            return "new"
        aside = f", {self.set_aside} set aside ({OUTSIDE})" if self.set_aside else ""
        former = f", {self.former} set aside ({FORMER})" if self.former else ""
        again = f", {self.reopened} set aside ({NOT_DECIDED})" if self.reopened else ""
        return f"resumes with {self.stored} stored result{'' if self.stored == 1 else 's'}{aside}{former}{again}"


def with_strategy(spec: StudySpec, record: StudyRecord | None) -> StudySpec:
    """The study with the search strategy that ``auto`` stands for: a stored study keeps the one that it began with,
    whatever a later version considers best."""
    if spec.search.kind != AUTO:
        return spec
    began = record.spec.search.kind if record is not None else AUTO
    kind = AUTO_STRATEGY if began == AUTO else began
    return spec.replaced(search=spec.search.replaced(kind=kind))


def standing(prepared: Prepared, store: Store, now: Facts, *, source: str = "", named: bool = True) -> Standing:
    """How a study relates to the stored one with its name. Read-only.

    Args:
        prepared: The study as its file has it now.
        store: Where the other one may be stored.
        now: The present facts about the environment.
        source: Absolute path of the study file.
        named: Whether the user chose the name, in the file or on the command line.

    Raises:
        UsageError: If the stored results were measured differently.
    """
    spec = prepared.spec
    record = store.studies.get(spec.name)
    if record is None:
        return Standing(state="new")
    if not named and another_file(record, source):
        raise UsageError(other_file_problem(spec.name, record.source))
    changes = judged_again(prepared, record, store.trials.all(spec.name))
    trials = {t.number: t for t in (*store.trials.all(spec.name), *changes)}.values()
    results = [t for t in trials if t.state.finished]
    notes: list[str] = []
    if results:
        check_pinned(record, spec)
        _check_measured(record, spec, results)
        notes = _compared_with(record.world, now, spec)
    if another_file(record, source):
        notes.append(other_file_note(spec.name, record.source))
    aside = Counter(t.set_aside for t in trials)
    default = default_of(results)
    return Standing(
        state="resumes",
        stored=len(results),
        set_aside=aside[OUTSIDE],
        former=aside[FORMER],
        reopened=aside[NOT_DECIDED],
        notes=tuple(notes),
        check=measured(default.quality) if default is not None else None,
    )


def _compared_with(stored: Facts, now: Facts, spec: StudySpec) -> list[str]:
    if changed := differences(stored, now):
        raise UsageError(other_environment_problem(spec.name, changed, several=bool(spec.engines)))
    return [rewritten_note(fact) for fact in touched(stored, now)]


def other_file_problem(study: str, file: str) -> Problem:
    """The refusal of a study without a name of its own, if the stored one came from another file."""
    why = f"a stored study with this name came from another file, {file}"
    return Problem(
        where="name", value=study, why=why, remedy="give this one a name: run --name NEW, or name: in the file"
    )


def other_file_note(study: str, file: str) -> str:
    """The note on a study that the user named as one from another file."""
    return f"study {study} was started from another file, {file}"


def other_environment_problem(study: str, changed: Sequence[str], *, several: bool = False) -> Problem:
    """The refusal of a study whose model, server or machine is not that of its stored trials; ``several``: it has
    several engines, each measured under its name."""
    why = f"its stored trials measured something else: {'; '.join(changed)}"
    rename = f"{_RENAME}, " if several else ""
    remedy = f"restore it, {rename}{START_OVER}, or remove the stored trials: autotuner delete {study}"
    return Problem(where="name", value=study, why=why, remedy=remedy)


def rewritten_note(fact: str) -> str:
    """The note on a file that was written again without a change."""
    return f"{fact} was rewritten since the stored trials, with the same content"


_RENAME = "give the engine another name, which measures it anew"


def other_engine_problem(engine: str, changed: Sequence[str]) -> Problem:
    """The refusal of an engine whose settings are not those of its stored trials."""
    why = f"the stored trials of this engine were measured differently: {_joined(changed)}"
    return Problem(where=f"engines.{engine}", why=why, remedy=f"restore it, or {_RENAME}, or {START_OVER}")


def other_measurement_problem(study: str, changed: Sequence[str]) -> Problem:
    """The refusal of a study whose settings change what is measured; ``changed`` is empty if only a secret differs."""
    what = _joined(changed) or "a secret in it differs"
    why = f"a stored study with this name was measured differently: {what}"
    return Problem(where="name", value=study, why=why, remedy=f"{START_OVER}, or remove them: autotuner delete {study}")


def _joined(changed: Sequence[str]) -> str:
    more = len(changed) - _NAMED_CHANGES
    return "; ".join([*changed[:_NAMED_CHANGES], *([f"{more} more"] if more > 0 else [])])


def another_file(record: StudyRecord, source: str) -> bool:
    """Whether the stored study came from another file that still exists. A file that was moved is the same one."""
    began = Path(record.source)
    return bool(source) and began.is_absolute() and str(began) != source and began.exists()


def check_pinned(record: StudyRecord, spec: StudySpec) -> None:
    """Raises ``UsageError`` if the stored results of the study were measured differently."""
    if record.digest in {spec.digest, spec.first_digest}:
        _check_engines(record, spec)
        return
    changed = changed_settings(record.spec, spec)
    first_form = not record.digest.startswith("m-")
    has_secret = HIDDEN in str(clean(spec.measured, secrets_in(spec)))
    if not changed and first_form and not has_secret:
        return  # stored by a version that pinned more
    raise UsageError(other_measurement_problem(spec.name, changed))


def _check_engines(record: StudyRecord, spec: StudySpec) -> None:
    """Refuses other settings under the name of an engine that the stored study has, too."""
    stored = {entry.name: entry for entry in record.spec.engines}
    for entry in (e for e in spec.engines if e.name in stored):
        if changed := changed_engine(stored[entry.name], entry, spec):
            raise UsageError(other_engine_problem(entry.name, changed))


def _check_measured(record: StudyRecord, spec: StudySpec, results: Sequence[Trial]) -> None:
    """Refuses a new objective that stored results lack: they could not be ranked beside new ones."""
    if record.spec.objectives == spec.objectives:
        return
    for trial in results:
        values = trial.verdict.objectives if trial.verdict and trial.cut is None else ()
        for objective, value in zip(spec.objectives, values, strict=False):
            if value is None:
                why = f"the stored results of study {spec.name} lack this metric"
                remedy = f"keep the objective, or {START_OVER}"
                raise UsageError(Problem(where="objective", value=objective.text, why=why, remedy=remedy))


def judged_again(prepared: Prepared, record: StudyRecord, trials: Sequence[Trial]) -> list[Trial]:
    """The stored trials whose meaning changes under the present study: other bounds and prices change verdicts, and
    configurations may have left the space or returned to it."""
    spec = prepared.spec
    goals = ("objectives", "slos", "min_success_rate", "quality")
    other_prices = record.spec.prices != spec.prices
    other_goals = other_prices or any(getattr(record.spec, key) != getattr(spec, key) for key in goals)
    inside = _inside(prepared, [t for t in trials if t.role is not TrialRole.CONFIRM])
    judged = [t for t in trials if t.state.finished or t.state is TrialState.VOID]
    anew = _measured_anew(prepared, judged, inside)
    other_proofs = _of_other_proofs(judged, inside)
    by_number = {t.number: t for t in judged}
    found = []
    for trial in judged:
        result = trial.state.finished or trial.set_aside
        configuration = inside.get(trial.number if trial.repeat_of is None else trial.repeat_of)
        if trial.number in other_proofs:
            configuration = None
        changed = trial
        if trial.number in anew:
            changed = trial.replaced(state=TrialState.VOID, set_aside=NOT_DECIDED)
        elif result:
            launched = by_number.get(trial.number if trial.repeat_of is None else trial.repeat_of, trial)
            why = _why_out(prepared, launched, proof=trial.number in other_proofs)
            changed = _kept(trial, configuration, why)
        if other_prices:  # void trials and those set aside were paid for, too
            changed = priced_again(prepared, changed)
        if other_goals and changed.verdict is not None:
            changed = changed.replaced(verdict=verdict_on(spec, changed.measurements, changed.cut, changed.quality))
        found.append(changed)
    moved = {new.number for old, new in zip(judged, found, strict=True) if old.state is not new.state}
    disproved = {t.number for t in found if refuted(t, found)}
    others = any(t.number in moved and t.cut is None for t in found)  # other trials can beat them
    everything = others or other_goals or record.spec.confirm != spec.confirm
    # What short windows predict changes with every trial, so the rest stays as it was decided.
    open_ = {t.number for t in found if everything or t.number in moved or beaten_by(t, disproved)}
    found = _still_cut(spec, found, open_)
    return [new for old, new in zip(judged, found, strict=True) if new != old]


def _measured_anew(prepared: Prepared, trials: Sequence[Trial], inside: Mapping[int, Configuration | None]) -> set[int]:
    """Numbers of the trials that were cut and set aside, and whose servers other trials have measured since: these stay
    aside, whatever the goals. The newest one of several that might count again may do so."""
    own = {t.number: c for t in trials if (c := inside.get(t.number)) is not None and t.role is not TrialRole.CONFIRM}
    servers = {number: prepared.identity(c) for number, c in own.items()}
    counting = {servers[t.number] for t in trials if t.number in own and t.state.finished}
    found = set()
    for trial in sorted(trials, key=lambda t: t.number, reverse=True):
        if trial.number in own and trial.cut is not None and trial.set_aside:
            if servers[trial.number] in counting:
                found.add(trial.number)
            counting.add(servers[trial.number])
    return found


def _still_cut(spec: StudySpec, trials: Sequence[Trial], open_: Collection[int]) -> list[Trial]:
    """The trials, with those set aside that were cut and would not be any more, and the others with the reasons that
    count by now: other goals may rank them first, the proof may have refuted the trials that had beaten them, or these
    may have left the space.

    Args:
        spec: The study. What its ``search.racing`` does not cut any more is set aside, too.
        trials: Its trials.
        open_: Numbers of those that may be decided differently by now.
    """

    def again(trial: Trial) -> Trial:
        cut = trial.cut
        if cut is None or trial.state is not TrialState.DONE:
            return trial
        raced = spec.search.racing in (("auto",) if cut.confidence is not None else ("auto", "levels"))
        if raced and trial.number not in open_:
            return trial
        found = cut_again(spec, trial, trials) if raced else None
        return found or trial.replaced(state=TrialState.VOID, set_aside=NOT_DECIDED)

    return [again(t) for t in trials]


def _inside(prepared: Prepared, trials: Sequence[Trial]) -> dict[int, Configuration | None]:
    """Each trial's configuration in terms of the present study; None if it is no longer in the space.

    A trial whose configuration is written differently by now (``4`` as ``"4"``, a combination under another name)
    counts if it launched the server of a configuration that no other trial has. If the study compares with something
    else by now, the trial of its former baseline or default is out, and so is one of the search that has the server of
    the new one, which is measured by itself. Answers that were compared with those of the former one are, too.
    """
    found = {
        t.number: prepared.reference_started_by(t.launched, t.configuration)
        if _is_reference(t)
        else _known(prepared, t)
        for t in trials
    }
    former = {t.number for t in trials if _is_reference(t) and found[t.number] is None}
    compared_with = set(map(prepared.identity, prepared.defaults)) if former else set[str]()
    checked = prepared.spec.quality is not None
    judged_by_former = set[int]()
    for trial in sorted(trials, key=lambda t: not t.engine_default):  # an engine's others are compared with its default
        own = found[trial.number]
        if checked and own is not None and _answers_of(trial) & former:
            found[trial.number] = None
            judged_by_former.add(trial.number)
            former |= {trial.number} if trial.engine_default else set()
        elif own is not None and not _is_reference(trial) and prepared.identity(own) in compared_with:
            found[trial.number] = None
    taken = {c.key for c in found.values() if c is not None}
    for trial in trials:
        if found[trial.number] is None and not _is_reference(trial) and trial.number not in judged_by_former:
            same = prepared.started_by(trial.launched, trial.configuration)
            if same is not None and same.key not in taken and prepared.identity(same) not in compared_with:
                found[trial.number] = same
                taken.add(same.key)
    return found


def _is_reference(trial: Trial) -> bool:
    return trial.role is TrialRole.DEFAULT or trial.engine_default


def _answers_of(trial: Trial) -> set[int]:
    """Numbers of the trials that its answers were compared with."""
    quality = trial.quality
    if quality is None:
        return set()
    across = quality.engine.reference if quality.engine is not None else None
    return {number for number in (quality.reference, across) if number is not None}


def _of_other_proofs(trials: Sequence[Trial], inside: Mapping[int, Configuration | None]) -> set[int]:
    """Numbers of the repeats in the blocks of a former baseline or default. They were interleaved with its launches,
    and cannot be paired with those of the present one."""
    former = {t.number for t in trials if t.role is TrialRole.DEFAULT and inside[t.number] is None}
    blocks = {t.block for t in trials if t.repeat_of in former}
    return {t.number for t in trials if t.role is TrialRole.CONFIRM and t.block in blocks}


def _known(prepared: Prepared, trial: Trial) -> Configuration | None:
    """The trial's configuration in terms of the present study; None if it is no longer in the space, or a combination
    that it names stands for other flags now."""
    found = prepared.known_as(trial.configuration)
    if found is None or _set(prepared.spec.as_flags(found)) != _set(trial.launched):
        return None
    return found


def _set(flags: Configuration) -> Configuration:
    """What reaches the command line: a null leaves the flag out."""
    return Configuration(values={name: value for name, value in flags.values.items() if value is not None})


def _why_out(prepared: Prepared, trial: Trial, *, proof: bool) -> str:
    """Why a trial does not count; ``proof``: why a repeat of it in the blocks of a former reference does not."""
    if prepared.spec.engine_name(trial.configuration) not in prepared.by_engine:
        return OUTSIDE
    return FORMER if proof or _is_reference(trial) or _known(prepared, trial) is not None else OUTSIDE


def _kept(trial: Trial, configuration: Configuration | None, why_out: str) -> Trial:
    if configuration is None:
        return trial.replaced(state=TrialState.VOID, set_aside=why_out)
    state = trial.state
    if trial.set_aside:
        state = TrialState.DONE if trial.verdict is not None else TrialState.FAILED
    if configuration.key == trial.configuration.key:
        return trial.replaced(state=state, set_aside="")
    flags = trial.launched.values  # what was launched, however it is written now
    unnamed = trial.flags is None and configuration.values.keys() >= flags.keys()
    return trial.replaced(state=state, set_aside="", configuration=configuration, flags=None if unnamed else flags)


def adopt(prepared: Prepared, store: Store, *, source: str) -> None:
    """Updates the stored study to its file. Call :func:`standing` first, which refuses what cannot be resumed."""
    spec = prepared.spec
    record = store.studies.get(spec.name)
    if record is None:
        return
    changes = judged_again(prepared, record, store.trials.all(spec.name))
    if changes:
        amended = [(t, TrialFinished.of(t, spec.slos).payload()) for t in changes]
        store.trials.amend(spec.name, amended, time.time())
    moved = source if source and not Path(record.source).exists() else record.source
    store.studies.update_spec(spec.name, spec, digest=spec.digest, source=moved)
