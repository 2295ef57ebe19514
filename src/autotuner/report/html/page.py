"""The HTML report: one self-contained file.

The first screen has the answer, its gain and the command; below are the reasons to believe it and to doubt it. The page
loads nothing (its content security policy forbids it) and is complete without its script.
"""

import time

from autotuner.report.analysis import caveats, comparison, failure_groups
from autotuner.report.exports import command_line
from autotuner.report.headline import amount_text, effect, interval_text, objective_text, signed
from autotuner.report.html.capacity_section import capacity_section
from autotuner.report.html.markup import Child, Html, element
from autotuner.report.html.result_charts import progress_figure, repeats_figure, tradeoff_figure
from autotuner.report.html.sections import (
    comparison_section,
    failures_section,
    gpus_section,
    parameters_section,
    study_section,
    trials_section,
)
from autotuner.report.html.server_section import server_section
from autotuner.report.html.slices_section import slices_section
from autotuner.report.html.style import POLICY, SCRIPT, STYLE
from autotuner.report.result import StudyResult
from autotuner.report.terminal import summary_text
from autotuner.study.trial import TrialRole, TrialState

DOCTYPE = "<!doctype html>\n"


def html_report(result: StudyResult) -> str:
    """Renders the report as an HTML document."""
    sections = _sections(result)
    contents = [element("li", element("a", title, href=f"#{name}")) for name, title, _ in sections]
    body = element(
        "body",
        element("a", "Skip to details", href="#details", class_="skip"),
        element(
            "header", _heading(result), _answer(result), element("nav", element("ul", contents), aria_label="Contents")
        ),
        element("main", [_section(*section) for section in sections], id="details"),
        element("footer", element("p", _origin(result))),
        element("script", Html(SCRIPT)),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{result.spec.name}: tuning report"),
        element("style", Html(STYLE)),
    )
    return f"{DOCTYPE}{element('html', head, body, lang='en').text}\n"


def _heading(result: StudyResult) -> Html:
    state = f"{result.state}: {result.why}" if result.why and result.state != "done" else result.state
    return element("h1", f"Tuning report: {result.spec.name}", element("span", state, class_="pill"))


def _answer(result: StudyResult) -> list[Child]:
    warning = result.simulated
    first, *more = summary_text(result).split("\n")
    parts: list[Child] = [element("p", f"{warning}.", class_="simulated", role="note")] if warning else []
    parts.append(element("p", first[:1].upper() + first[1:], class_="answer"))
    parts += [element("p", line, class_="more") for line in more]
    parts.append(_gains(result))
    if result.winner is not None and result.command:
        parts.append(
            element(
                "div",
                element(
                    "p",
                    f"Start the {result.reference_word} with:" if result.keeps_default else "Start it with:",
                    id="command-title",
                ),
                element("pre", element("code", command_line(result), id="command"), aria_labelledby="command-title"),
                element("button", "Copy", type="button", hidden=True, data_copy="command", aria_live="polite"),
                class_="command",
            )
        )
    return parts


def _gains(result: StudyResult) -> Html | None:
    """The change of each objective in large figures, once the study has ended with a comparison."""
    items = []
    if result.state != "done":
        return None
    for objective, gain in zip(result.spec.objectives, result.gains, strict=False):
        if gain is None or not gain.bounded:
            continue
        change, low, high = signed(objective, gain)
        shown = effect(gain)
        items.append(
            element(
                "li",
                element("strong", amount_text(objective, gain, change)),
                element("span", f"{objective_text(objective)}: {shown}"),
                element(
                    "span",
                    f"{gain.confidence * 100:g}% interval {interval_text(objective, gain, low, high)}, "
                    f"{gain.repeats} {'blocks' if result.spec.confirm.adaptive else 'repeats'}",
                    class_="small",
                ),
                class_=shown if shown in ("better", "worse") else None,
            )
        )
    return element("ul", items, class_="gains") if items else None


def _sections(result: StudyResult) -> list[tuple[str, str, list[Child]]]:
    """Returns id, title and content of every section that is not empty."""
    doubts = [element("li", text) for text in caveats(result)]
    failures = failure_groups(result.trials)
    compared = comparison_section(result, comparison(result), repeats_figure(result))
    found: list[tuple[str, str, list[Child]]] = [
        ("caveats", "Caveats", [element("ul", doubts, class_="caveats")] if doubts else []),
        ("comparison", f"Comparison with the {result.reference_word}", compared),
        ("progress", "Search", [f for f in (progress_figure(result), tradeoff_figure(result)) if f]),
        ("capacity", "Capacity", capacity_section(result)),
        ("parameters", "Parameter importance", parameters_section(result)),
        ("trials", "All trials", trials_section(result)),
        ("parts", "Parts of the load", slices_section(result)),
        ("server", "What the servers saw", server_section(result)),
        ("gpus", "GPUs and energy", gpus_section(result)),
        ("failures", "Failures", failures_section(failures)),
        ("study", "Study", study_section(result)),
    ]
    return [section for section in found if section[2]]


def _section(name: str, title: str, content: list[Child]) -> Html:
    heading = element("h2", title, id=f"{name}-title")
    return element("section", heading, content, id=name, aria_labelledby=f"{name}-title")


def _origin(result: StudyResult) -> str:
    ended = [t.finished_at for t in result.trials if t.finished_at is not None]
    count = sum(t.role is not TrialRole.CONFIRM and t.state.finished for t in result.trials)
    failed = sum(t.state is TrialState.FAILED for t in result.trials)
    repeats = sum(t.role is TrialRole.CONFIRM and t.state.finished for t in result.trials)
    last = f", the last finished {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime(max(ended)))}" if ended else ""
    return f"LLM Inference Autotuner: {count} configurations ({failed} failed), {repeats} repeats{last}."
