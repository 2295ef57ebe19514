"""The winner as a launch plan for another platform, rebuilt by the engine that launched it.

A manifest must start what was measured. The plan that this version of the engine makes is therefore compared with the
command line of the trial's process, and nothing is written if they differ.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from autotuner.errors import AutotunerError, Problem, UsageError
from autotuner.manifests.server import ALL_INTERFACES
from autotuner.manifests.source_platform import ExportSource, Origin
from autotuner.plugins import loading
from autotuner.plugins.engine import Engine
from autotuner.report.result import StudyResult
from autotuner.secrets import HIDDEN, has_secret_form, looks_secret
from autotuner.study.base import Value
from autotuner.study.launch import LaunchPlan, without_flags
from autotuner.study.parameters.environment import flags_in
from autotuner.study.parameters.portable import is_portable
from autotuner.study.spec import EngineSpec, Model
from autotuner.study.trial import Trial

_INTERPRETER_WORDS = 2
"""Number of words that the first line of a script may put in front of the program."""
PYTHON = "python3"


class PlanDiffersError(AutotunerError):
    """What the engine would start now differs from what was measured."""

    def __init__(self, result: StudyResult, trial: Trial, how: str) -> None:
        super().__init__(
            f"trial {trial.number} of {result.spec.name} cannot be started again as it was measured: {how}",
            remedy="run the study again with this version",
        )


@dataclass(frozen=True)
class Winner:
    """The winner's trial and how to start it."""

    result: StudyResult
    trial: Trial
    engine: Engine
    spec: EngineSpec
    """As in the study, but with the ``server`` that was requested, if any."""
    plan: LaunchPlan
    model: str
    """Model as the server got it: a path or a Hub ID."""
    words: tuple[str, ...]
    """Program and flags, without the address flags."""
    program: int
    """Number of words that are the program and its leading arguments."""
    image: str | None
    """Image of the trial, otherwise the engine's own."""
    ran_in_image: bool
    origin: Origin = field(default_factory=Origin)
    """Where the trial ran."""
    notes: tuple[str, ...] = ()

    @property
    def gpus(self) -> int:
        """Number of GPUs of the trial."""
        return self.trial.gpus

    def command(self) -> tuple[str, ...]:
        """Program and leading arguments."""
        return self.words[: self.program]

    def args(self, port: int) -> tuple[str, ...]:
        """Everything after the program, for a server that listens on all interfaces of its container."""
        return (*self.words[self.program :], *self._address(port))

    def _address(self, port: int) -> tuple[str, ...]:
        return (self.plan.host_flag, ALL_INTERFACES, self.plan.port_flag, str(port))

    def entry(self, port: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Program and arguments for a container. The program is empty if the trial kept the image's own entrypoint."""
        kept = self.origin.entrypoint_words
        if kept is None:
            return self.command(), self.args(port)
        return (), (*self.words[kept:], *self._address(port))

    def flags(self) -> dict[str, Value]:
        """Fixed arguments and tuned values as the engine's own flags, without address and model."""
        canonical = self.engine.canonical
        named = {(n if is_portable(n) else canonical(n)): v for n, v in self.spec.args.items()}
        tuned = flags_in(self.trial.launched.values)
        values = self.engine.expand({**named, **tuned})
        return {canonical(n): v for n, v in values.items()}

    def env(self) -> tuple[dict[str, str], list[str]]:
        """The study's environment for the server, and the names of variables whose values are not stored."""
        shown = {n: v for n, v in self.plan.env.items() if not _hidden(n, v)}
        return shown, [n for n in self.plan.env if n not in shown]

    def with_model_at(self, path: str) -> "Winner":
        """Returns the winner with the model at another path, served under the same name."""
        if self.origin.runtime is not None:
            return replace(self, words=tuple(path if word == self.model else word for word in self.words))
        plan = self.engine.launch(Model(path=path, name=self.plan.model), self.spec, self.trial.launched)
        words, _ = _portable_program(plan)
        return replace(self, plan=plan, model=path, words=words, program=len(plan.command))


def winner_of(
    result: StudyResult,
    model: Model,
    *,
    image_of: Callable[[LaunchPlan], str | None] = lambda _: None,
    settings: object = None,
    server: str | None = None,
) -> Winner:
    """Rebuilds the launch of a study's winner.

    Args:
        result: Result of the study.
        model: The model as the target resolved it.
        image_of: Returns the image in which the deployer runs a plan.
        settings: Settings of the deployer; see :class:`autotuner.manifests.source_platform.ExportSource`.
        server: Program to use instead of the engine's setting.

    Raises:
        UsageError: If there is nothing to start.
        PlanDiffersError: If the launch would differ from what was measured.
    """
    trial = _winning_trial(result)
    spec = result.spec.of(trial.configuration).engine
    engine = loading.engine(spec)
    plan = engine.launch(model, spec, trial.launched)
    address = plan.address_flags
    image = image_of(plan)
    origin = settings.origin(plan, trial) if isinstance(settings, ExportSource) else Origin()
    if origin.runtime is not None:
        _same_flags(result, trial, engine, plan)
        words = without_flags(trial.argv, address)
        program = 1
        notes = list[str]()
        _no_secrets(result, trial, words)
        path = _model_path(engine, plan, model, trial)
    else:
        _same_command(result, trial, plan)
        if server is not None:
            spec = EngineSpec.model_validate({**spec.model_dump(), "server": server})
            origin = replace(origin, entrypoint_words=None)
            engine = loading.engine(spec)
            plan = engine.launch(model, spec, trial.launched)
        words, notes = _portable_program(plan)
        program = len(plan.command)
        path = model.path
    return Winner(
        result=result,
        trial=trial,
        engine=engine,
        spec=spec,
        plan=plan,
        model=path,
        words=words,
        program=program,
        image=image or plan.image,
        ran_in_image=image is not None,
        origin=origin,
        notes=tuple(notes),
    )


def _winning_trial(result: StudyResult) -> Trial:
    trial = result.winner
    if trial is None or not trial.argv:
        why = "there is no command, because the server was not started by this program"
        raise UsageError(Problem(where=f"study {result.spec.name}", why=why if trial else "it has no winner"))
    return trial


def _model_path(engine: Engine, plan: LaunchPlan, model: Model, trial: Trial) -> str:
    """Returns the model in a command line of the cluster; the study's path if no flag has it."""
    named = next((f.name for f in plan.flags if f.value == model.path), None)
    return str(engine.flag_value(trial.argv, named) or model.path) if named else model.path


def _same_command(result: StudyResult, trial: Trial, plan: LaunchPlan) -> None:
    address = plan.address_flags
    stored = without_flags(trial.argv, address)
    planned = without_flags(plan.argv(host="", port=0), address)
    _no_secrets(result, trial, (*stored, *planned))
    extra = len(stored) - len(planned)
    if 0 <= extra <= _INTERPRETER_WORDS and _same_words(stored[extra:], planned):
        if plan.gpus != trial.gpus:
            raise PlanDiffersError(result, trial, f"it ran on {trial.gpus} GPUs, and would use {plan.gpus} now")
        return
    pairs = enumerate(zip(stored, planned, strict=False))
    unlike = (i for i, (was, now) in pairs if was != now and (i or PurePath(was).name != PurePath(now).name))
    index = next(unlike, min(len(stored), len(planned)))
    was, now = (" ".join(words[index : index + 2]) or "nothing" for words in (stored, planned))
    raise PlanDiffersError(result, trial, f"argument {index} was {was!r}, and would be {now!r} now")


def _same_words(stored: Sequence[str], planned: Sequence[str]) -> bool:
    """Whether command lines are the same. Programs are compared by name, because paths depend on the machine."""
    names = [PurePath(words[0]).name for words in (stored, planned)]
    same = names[0] == names[1] or all(name.startswith("python") for name in names)
    return same and tuple(stored[1:]) == tuple(planned[1:])


def _same_flags(result: StudyResult, trial: Trial, engine: Engine, plan: LaunchPlan) -> None:
    """Checks that a command line of the cluster contains our flags with the values of the plan."""
    planned = plan.argv(host="", port=0)
    names = {
        *plan.tuned,
        *(engine.canonical(n) for n in result.spec.of(trial.configuration).engine.args if not is_portable(n)),
    }
    for name in sorted(names):
        was = engine.flag_value(trial.argv, name)
        now = engine.flag_value(planned, name)
        if was != now:
            raise PlanDiffersError(result, trial, f"{name} was {was!r}, and would be {now!r} now")


def _no_secrets(result: StudyResult, trial: Trial, words: Sequence[str]) -> None:
    if any(HIDDEN in word for word in words):
        raise UsageError(
            Problem(
                where=f"trial {trial.number} of {result.spec.name}",
                why="its command line contains a secret, which is not stored",
                remedy="move the secret from engine.args to engine.env, and run the study again",
            )
        )


def _portable_program(plan: LaunchPlan) -> tuple[tuple[str, ...], list[str]]:
    """Returns program and flags for another machine, where the path of this Python does not exist."""
    program, *rest = without_flags(plan.argv(host="", port=0), plan.address_flags)
    if program == sys.executable:
        modules = ", ".join(plan.needs_modules)
        return (PYTHON, *rest), [f"the image needs {PYTHON} with {modules or 'everything that the command imports'}"]
    return (program, *rest), [f"the image needs the program {program}"] if "/" in program else []


def _hidden(name: str, value: str) -> bool:
    return looks_secret(name) or HIDDEN in value or has_secret_form(value)
