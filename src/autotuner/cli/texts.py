"""Text output of ``plan``, ``doctor`` and ``params``, as pure functions of their results."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from autotuner.cli.columns import PIPE_WIDTH, render
from autotuner.report.numbers import metric_name, usd, with_unit
from autotuner.study.check import Check, CheckStatus
from autotuner.study.parameters.parameter import CatalogEntry
from autotuner.study.parameters.reference import reference_text

if TYPE_CHECKING:
    from autotuner import BackupSummary, Diagnosis, Plan, PlannedEngine, PlannedLaunch, PredictedLevel, Standing

_UNUSED = 3
"""Studies that are named with the reason why the search cannot learn from them."""


def duration_text(seconds: float) -> str:
    """``45 s``, ``3 min``, ``1 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def age_text(seconds: float) -> str:
    """How long ago: ``now``, ``5 min``, ``3 h``, ``12 d``."""
    minutes = max(0.0, seconds) / 60
    if minutes < 1:
        return "now"
    if minutes < 60:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} d"


def headline(plan: Plan, *, stored: int = 0) -> str:
    """One line on what will run, and for about how long."""
    tries = _tries(plan)
    fewest = f"{plan.fewest_repeats} to " if 0 < plan.fewest_repeats < plan.repeats else "up to "
    proof = f", then {fewest}{plan.repeats} interleaved repeats" if plan.repeats else ""
    windows = f"{plan.windows} windows per launch; " if plan.windows > 1 else ""
    how = f"{plan.engine} on {plan.deploy}"
    most = plan.trials + plan.repeats
    rest = max(0.0, 1 - stored / most)
    earliest = duration_text(plan.earliest_s)
    early = f"{earliest} to " if not stored and 0 < plan.earliest_s < plan.estimated_s else ""
    about = f"about {early}{duration_text(plan.estimated_s * rest)}{' remaining' if stored else ''}"
    if plan.longest_s > plan.estimated_s:
        about += f", or up to {duration_text(plan.longest_s * rest)} if all windows are extended"
    if stored:
        about += f" ({stored} of {most} launches already stored)"
    if stored >= most:
        about = f"all {most} launches already stored, nothing left to measure"
    return f"{plan.study}: {how}: {tries}{proof}; {windows}{about}"


def _tries(plan: Plan) -> str:
    defaults = max(1, len(plan.engines))
    words = list(dict.fromkeys(launch.reference for launch in plan.launches if launch.reference)) or ["default"]
    every = f"the {' and '.join(f'{w}s' for w in words)} of {defaults} engines"
    default = every if defaults > 1 else f"the {words[0]}"
    others = plan.trials - defaults
    total = None if plan.others is None else plan.others - defaults + 1
    if not others:
        return default if plan.engines else "one configuration"
    if total is None or others < total:
        return f"{default} and up to {others}{'' if total is None else f' of {total:,}'} configurations"
    return f"{default} and {'1 other configuration' if others == 1 else f'all {others} other configurations'}"


def plan_text(plan: Plan) -> str:
    """Output of ``autotuner plan``."""
    size = "continuous" if plan.space_size is None else f"{plan.space_size:,} points"
    runnable = f", {plan.launchable:,} launchable" if plan.launchable is not None else ""
    simulated = [f"simulated: {plan.simulated}; no real GPU is measured"] if plan.simulated else []
    stored = plan.standing.stored if plan.standing else 0
    known = [f"study: {plan.standing.text}", *warm_start(plan.standing)] if plan.standing else []
    lines = [
        headline(plan, stored=stored),
        *simulated,
        *known,
        *map(_engine, plan.engines),
        f"search space: {size}{runnable}",
        *([f"cost: about {usd(plan.estimated_usd)}"] if plan.estimated_usd is not None else []),
        "example launches:",
    ]
    for launch in plan.launches:
        shown = reference_text(launch.configuration) if launch.reference else launch.configuration.text
        lines += [f"  {shown}", f"    {_command(launch)}", *map(_predicted, launch.predicted)]
    if not plan.launches:
        lines[-1] = "no launches: measures the running server"
    return "\n".join([*lines, "checks:", checks_text(plan.checks), "nothing was started"])


def warm_start(standing: Standing) -> list[str]:
    """What the search learns from, and which studies it cannot learn from, one line each."""
    found = standing.beginning
    if found is None:
        return []
    unused = [f"not learned from {one.study}: {one.why}" for one in found.unused[:_UNUSED]]
    more = len(found.unused) - len(unused) + found.more_unused
    return [*filter(None, [found.text]), *unused, *([f"not learned from {more} more studies"] if more else [])]


def _engine(engine: PlannedEngine) -> str:
    """``engine vllm: docker, 12 points, 10 launchable``."""
    what = f"simulated {engine.simulated}" if engine.simulated else engine.engine
    size = "continuous" if engine.space_size is None else f"{engine.space_size:,} points"
    runnable = f", {engine.launchable:,} launchable" if engine.launchable is not None else ""
    space = f"{size}{runnable}" if engine.space_size != 0 else "the default alone"
    return f"engine {engine.name}: {what} on {engine.deploy}, {space}"


def _command(launch: PlannedLaunch) -> str:
    """The command as a shell line, with environment variables in front."""
    from autotuner.report.views.launch_line import shell_line

    return shell_line(launch.command or launch.argv, {} if launch.command else launch.env)


def _predicted(level: PredictedLevel) -> str:
    """``predicted for D(512,128) at concurrency=8: mean TTFT 57.3 ms, ...``; a prior that is a plugin is named."""
    values = []
    for name, value in level.values.items():
        statistic, _, metric = name.rpartition(" ")
        values.append(f"{metric_name(metric, statistic)} {with_unit(metric, value)}")
    by = f" by {level.prior}" if level.prior else ""
    return f"    predicted{by} for {level.scenario} at {level.level}: {', '.join(values)}"


def checks_text(checks: Sequence[Check]) -> str:
    """One line per check, with its remedy unless it passed."""
    lines = []
    for check in checks:
        cure = f"; {check.remedy}" if check.remedy and check.status.value != "ok" else ""
        lines.append(f"  {check.status.value:4}  {check.name}: {check.detail}{cure}")
    return "\n".join(lines)


def doctor_text(found: Diagnosis) -> str:
    """Output of ``autotuner doctor``: one row per check."""
    table = _table("status", "check", "result", "remedy")
    for check in found.checks:
        remedy = check.remedy if check.status is not CheckStatus.OK else ""
        table.add_row(check.status.value, check.name, check.detail, remedy)
    counts = {status: sum(c.status is status for c in found.checks) for status in CheckStatus}
    failed = counts[CheckStatus.FAIL]
    warned = counts[CheckStatus.WARN]
    what = f"study {found.study} ({found.deploy} deployer)" if found.study else f"{found.deploy} deployer"
    summary = f"{what}: all checks passed"
    if failed or warned:
        warnings = f"{warned} warning{'s' if warned != 1 else ''}"
        summary = f"{len(found.checks)} checks: {failed} failed, {warnings}"
    return "\n".join([_text(table), summary])


def params_text(catalog: Sequence[CatalogEntry]) -> str:
    """Output of ``autotuner params``."""
    table = _table("parameter", "values", "default", "description", "aliases")
    for entry in catalog:
        values: str = entry.type.kind
        if entry.type.choices:
            values = " | ".join(entry.type.choices)
        elif entry.type.low is not None or entry.type.high is not None:
            low, high = (f"{b:g}" if b is not None else "" for b in (entry.type.low, entry.type.high))
            values = f"{entry.type.kind} {low}..{high}"
        default = "computed at start" if entry.default is None else str(entry.default)
        table.add_row(entry.name, values, default, entry.meaning, " ".join(entry.aliases))
    return _text(table)


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _text(table: Table) -> str:
    """Renders a table without markup, because cells are data."""
    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else PIPE_WIDTH
    return render(table, width)


def backup_text(found: BackupSummary) -> str:
    """What a backup holds, e.g. ``3 studies, 120 trials and 240 files``."""
    counts = ((found.studies, "study", "studies"), (found.trials, "trial", "trials"), (found.files, "file", "files"))
    studies, trials, files = (f"{count:,} {one if count == 1 else many}" for count, one, many in counts)
    return f"{studies}, {trials} and {files}"
