"""Output of ``show STUDY TRIAL``: everything known about one trial."""

from collections.abc import Mapping, Sequence

from rich.text import Text

from autotuner import CapacityResult
from autotuner.cli.capacity.page import curve_lines
from autotuner.cli.columns import Column, screen_width, table_text
from autotuner.cli.texts import duration_text
from autotuner.plain_text import marked_line
from autotuner.report.numbers import UNSURE, chance, metric_name, percent, with_unit
from autotuner.report.predictions import predictions
from autotuner.report.quality import quality_lines
from autotuner.report.result import StudyResult, trial_label
from autotuner.report.server_diagnosis import diagnosis, server_figures
from autotuner.report.trial_data import launch_changes
from autotuner.report.views.goal_texts import figure_text
from autotuner.report.views.launch_line import start_line
from autotuner.report.views.outcome import outcome, reasons, undecided
from autotuner.report.views.trial_change import change_text
from autotuner.report.window_notes import error_messages
from autotuner.scoring.slo import missed, slo_value
from autotuner.study.base import value_text
from autotuner.study.measurement import Measurement, Slice
from autotuner.study.objective import of_text
from autotuner.study.trial import Trial

STATISTICS = ("mean", "p50", "p90", "p95", "p99", "max")


def trial_text(result: StudyResult, trial: Trial, log: Sequence[str], *, width: int | None = None) -> str:
    """Renders one trial, ``width`` characters wide; ``log`` is the end of its server log."""
    width = screen_width() if width is None else width
    sections = [
        _head(result, trial),
        _slos(result, trial),
        _quality(trial),
        _rationale(result, trial),
        *(_window(m, width, "short window before the full ones, ") for m in trial.looks),
        *(_window(m, width) for m in trial.measurements if not m.undecided),
        *(_curve(found, width) for found in trial.capacities),
        _argv(result, trial),
        _resolved(trial.resolved),
        _tail(log),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _head(result: StudyResult, trial: Trial) -> list[str]:
    rank = result.ranks.get(trial.number)
    ranks = f", rank {rank}" if rank is not None else ""
    change = change_text(result, trial)
    lines = [
        f"{result.spec.name} trial {trial.number}: {outcome(result, trial).text}{ranks}",
        f"  configuration  {marked_line(trial_label(trial))}",
    ]
    if trial.repeat_of is not None:
        block = f", block {trial.block} of the proof" if trial.block is not None else ""
        lines.append(f"  repeat of      trial {trial.repeat_of}{block}")
    if trial.server_of is not None:
        lines.append(f"  server         of trial {trial.server_of}, with flags changed while it ran")
    repeats = [str(t.number) for t in result.repeated.get(trial.number, ())]
    if repeats:
        lines.append(f"  repeats        trials {', '.join(repeats)}")
    verdict = trial.verdict
    for objective, value in zip(result.spec.objectives, verdict.objectives if verdict else (), strict=False):
        lines.append(f"  {'objective':13}  {objective.text}: {with_unit(objective.metric, value)}")
    if change:
        lines.append(f"  {f'vs {result.reference_word}':13}  {change} {_first(result)}")
    lines += [f"  {'reason':13}  {marked_line(reason)}" for reason in reasons(trial)]
    lines += _left_out(trial)
    if trial.failure is not None and trial.failure.remedy:
        lines.append(f"  {'remedy':13}  {marked_line(trial.failure.remedy)}")
    if trial.failure is not None and trial.failure.exit_code is not None:
        lines.append(f"  exit code      {trial.failure.exit_code}")
    if trial.gpus:
        lines.append(f"  GPUs           {trial.gpus}")
    lines += _times(trial)
    return lines


def _left_out(trial: Trial) -> list[str]:
    """The levels that were not measured, and what that saved."""
    if trial.cut is None:
        return []
    levels = ", ".join(f"{at.scenario} {at.level}" for at in trial.cut.left)
    return [f"  left out       {levels} (at least {duration_text(trial.cut.saved_s)})"]


def _first(result: StudyResult) -> str:
    objective = result.spec.objectives[0]
    return metric_name(objective.metric, objective.statistic)


def _times(trial: Trial) -> list[str]:
    if trial.started_at is None or trial.finished_at is None:
        return []
    phases = ", ".join(f"{name} {duration_text(spent)}" for name, spent in trial.phases.items() if spent >= 0.05)
    total = duration_text(max(0.0, trial.finished_at - trial.started_at))
    return [f"  time           {total}" + (f": {phases}" if phases else "")]


def _slos(result: StudyResult, trial: Trial) -> list[str]:
    lines = []
    for slo in result.spec.slos:
        if slo.bounds_each_request:
            continue
        value = slo_value(slo, trial.measurements)
        shown = "not measured" if value is None else with_unit(slo.metric, value)
        if undecided(trial, slo, value):
            if value is not None:
                lines.append(f"  unsure  {slo.text}: {shown}, but the load generator could not keep up")
            continue  # unknown, not missed
        state = "missed" if missed(slo, value) else "met"
        if state == "met" and trial.cut is not None:
            shown += " so far"
        lines.append(f"  {state:6}  {slo.text}: {shown}")
    return ["SLOs", *lines] if lines and trial.verdict is not None else []


def _quality(trial: Trial) -> list[str]:
    lines = quality_lines(trial)
    return ["quality", *(f"  {marked_line(line)}" for line in lines)] if lines else []


def _rationale(result: StudyResult, trial: Trial) -> list[str]:
    """What the search expected before the launch, and what was measured."""
    why = trial.rationale
    if why is None:
        return []
    goal = f"{chance(why.improves)} likely to beat trial {why.beats}" if why.beats is not None else ""
    weights = ((f"prediction by {why.source}", why.prior_weight), ("earlier studies", why.memory_weight))
    facts = [
        f"{chance(why.feasible)} likely to be feasible",
        f"{chance(why.starts)} likely to start",
        goal,
        f"recommended by {why.recommended}" if why.recommended else "",
    ]
    lines = [f"  {', '.join(fact for fact in facts if fact)}"]
    values = trial.configuration.values
    if tried := [f"{name}={value_text(values[name])}" for name in why.untried if name in values]:
        lines.append(
            f"  proposed because no trial had tried {', '.join(tried)}, and nothing was likely to be much better"
        )
    if why.reuse is not None:
        launch, other = (duration_text(s) for s in (why.reuse.launch_s, why.reuse.other_launch_s))
        does = "only changes flags of the running server of" if why.reuse.running else "loads the same as"
        lines.append(f"  preferred because it {does} trial {why.reuse.trial}: starts in {launch}, not {other}")
    if known := [f"{what} ({percent(weight, sign=False)})" for what, weight in weights if weight is not None]:
        lines.append(f"  weight of what was known before: {', '.join(known)}")
    several = len(result.spec.workload.scenarios) > 1
    for found in predictions(trial):
        expected = found.expected
        name = metric_name(expected.metric, expected.statistic) + of_text(expected.of)
        where = f"{expected.scenario} {expected.level}" if several else expected.level
        low, median, high = (with_unit(expected.metric, v) for v in (expected.low, expected.median, expected.high))
        measured = (
            "not measured" if found.measured is None else f"measured {with_unit(expected.metric, found.measured)}"
        )
        outside = ", outside of the interval" if found.inside is False else ""
        lines.append(f"  {name} at {where}: {median} ({low} to {high}), {measured}{outside}")
    return ["expected before the launch (95% intervals)", *lines]


def _window(measured: Measurement, width: int, kind: str = "") -> list[str]:
    facts = [f"{kind}{measured.requests} requests"]
    if measured.failed:
        messages = error_messages(measured)
        kinds = ", ".join(
            f"{count} x {kind}" + (f": {messages[kind]}" if messages[kind] else "")
            for kind, count in measured.errors.items()
        )
        facts.append(f"{measured.failed} failed" + (f" ({kinds})" if kinds else ""))
    for metric in _rates(measured):
        value = measured.value(metric, None)
        if value is not None:
            facts.append(with_unit(metric, value) + (" success" if metric == "success_rate" else ""))
    facts.append(f"{measured.window_s:.3g} s window")
    columns = [Column(""), *(Column(s, align="right", drop=_DROP[s]) for s in STATISTICS)]
    rows = [_statistics(measured, metric) for metric in measured.distributions]
    notes = [f"  ! {marked_line(warning)}" for warning in measured.warnings]
    if any(not d.carries(s) for d in measured.distributions.values() for s in STATISTICS):
        notes.append(f"  {UNSURE} too few requests for this percentile")
    notes += [f"  ! insufficient data: {marked_line(reason)}" for reason in measured.thin]
    if measured.self_check.client_limited:
        notes.append(f"  ! client-limited: {marked_line('; '.join(measured.self_check.reasons))}")
    notes += [f"  measured again: {marked_line(one.why)}" for one in measured.set_aside]
    table = table_text(columns, rows, width=width).splitlines() if rows else []
    heading = f"{measured.scenario} {measured.level.text}: {', '.join(facts)}"
    return [heading, *table, *map(_slice, measured.slices), *_server(measured), *notes]


def _rates(measured: Measurement) -> tuple[str, ...]:
    output = ("input_throughput", "document_throughput") if "document_throughput" in measured.scalars else ()
    return ("output_throughput", *output, "request_throughput", "success_rate", *_costs(measured))


def _costs(measured: Measurement) -> tuple[str, ...]:
    """The cost of tokens, or of requests whose answers have none."""
    costs = ("cost_per_million_output_tokens", "cost_per_request")
    return tuple(metric for metric in costs if metric in measured.scalars)[:1]


def _slice(part: Slice) -> str:
    """One kind of request in a mix."""
    facts = [f"{part.requests} requests", *([f"{part.failed} failed"] if part.failed else [])]
    facts += [with_unit(metric, part.scalars[metric]) for metric in _SLICED_RATES if metric in part.scalars]
    for metric, found in part.distributions.items():
        if metric in _SLICED:
            mark = "" if found.carries("p99") else UNSURE
            facts.append(f"p99 {metric_name(metric)} {mark}{figure_text(metric, found.p99)}")
    return f"  {part.label}: {', '.join(facts)}"


_SLICED_RATES = ("output_throughput", "request_throughput")
_SLICED = ("ttft", "tpot", "e2e_latency")


def _curve(found: CapacityResult, width: int) -> list[str]:
    """The levels of a capacity search."""
    title, *lines = curve_lines(found, width - 2)
    return [f"capacity of {title}", *(f"  {line}" if line else "" for line in lines)]


def _server(measured: Measurement) -> list[str]:
    """The server's own metrics, and what they explain."""
    server = measured.server
    if server is None:
        return []
    figures = server_figures(server) or "no metrics"
    return [
        f"  server: {figures}",
        *(f"  why: {marked_line(sentence)}" for sentence in diagnosis(measured)),
        *(f"  ! server metrics: {marked_line(note)}" for note in server.notes),
    ]


_DROP = {"mean": 4, "p50": 0, "p90": 2, "p95": 1, "p99": 0, "max": 3}


def _statistics(measured: Measurement, metric: str) -> list[Text]:
    cells = [Text(f"  {metric_name(metric)}")]
    for statistic in STATISTICS:
        text = figure_text(metric, measured.value(metric, statistic))
        cells.append(Text(text if measured.carries(metric, statistic) else f"{UNSURE}{text}"))
    return cells


def _argv(result: StudyResult, trial: Trial) -> list[str]:
    if not trial.argv:
        return []
    command = ["command", f"  {start_line(result, trial)}"]
    default = result.default
    if default is None or not default.argv or default.number in {trial.number, trial.repeat_of}:
        return command
    word = result.reference_word
    changes = []
    for change in launch_changes(result, trial):
        if change.default is None:
            changes.append(f"  + {change.flag} {change.trial}".rstrip())
        elif change.trial is None:
            changes.append(f"  - {change.flag} {change.default}".rstrip())
        else:
            changes.append(f"  ~ {change.flag} {change.trial}   ({word}: {change.default or 'without a value'})")
    return [*command, f"changes from the {word}'s command line", *(changes or ["  none"])]


def _resolved(resolved: Mapping[str, object]) -> list[str]:
    facts = [f"  {name}: {marked_line(str(value))}" for name, value in resolved.items()]
    return ["resolved by the server", *facts] if facts else []


def _tail(log: Sequence[str]) -> list[str]:
    return ["server log (tail)", *(f"  {marked_line(line)}" for line in log)] if log else []
