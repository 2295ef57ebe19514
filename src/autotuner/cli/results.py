"""Commands on stored results: list, show, logs, best, report, export, delete."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autotuner.cli import best_options
from autotuner.cli.app import Json, Name, StoreUrl, out, reporting_errors, say, show, with_exit_code
from autotuner.cli.server.where import opened

if TYPE_CHECKING:
    from autotuner import ManifestForm, ManifestOptions, StudyResult


class BestAs(StrEnum):
    """Forms of the best configuration."""

    COMMAND = "command"
    JSON = "json"
    KUBERNETES = "kubernetes"
    SERVING_RUNTIME = "serving-runtime"
    INFERENCE_SERVICE = "inference-service"
    COMPOSE = "compose"


class SortBy(StrEnum):
    """Sort orders of the list of studies: those of :class:`autotuner.report.study_list.SortBy`, which is slower to
    import."""

    AGE = "age"
    NAME = "name"
    STATE = "state"
    GAIN = "gain"
    LAUNCHES = "launches"


class ReportAs(StrEnum):
    """Formats of a report."""

    HTML = "html"
    JSON = "json"
    MD = "md"


class ExportAs(StrEnum):
    """Forms of an export."""

    JSON = "json"
    CSV = "csv"
    OLDER = "older"


TrialNumber = Annotated[int | None, typer.Argument(metavar="[TRIAL]", help="Trial number; default: the latest.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Output file; default: stdout.")]
ReportOut = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Output file; default: report.html (or .md, .json) in the study's folder; with --server: here.",
    ),
]


def list_(
    sort: Annotated[SortBy, typer.Option("--sort", help="Sort order.")] = SortBy.AGE,
    state: Annotated[str | None, typer.Option("--state", help="Only studies in this state, e.g. running.")] = None,
    engine: Annotated[str | None, typer.Option("--engine", help="Only studies of this engine.")] = None,
    match: Annotated[str | None, typer.Option("--match", help="Only matching names, e.g. 'chat-*'.")] = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """List stored studies with progress, best configuration and gain."""
    with reporting_errors(as_json=json):
        import time

        from autotuner.cli.studies_page import studies_text

        found = opened(store).overviews(
            sort=sort.value, state=state, engine=engine, match=match, on_unreadable=_say_unreadable
        )
        if json:
            out({"studies": found})
        else:
            filtered = any(value is not None for value in (state, engine, match))
            show(studies_text(found, now=time.time(), filtered=filtered))


def _say_unreadable(line: str) -> None:
    say(f"autotuner: {line}")


def show_(
    name: Name,
    trial: Annotated[int | None, typer.Argument(metavar="[TRIAL]", help="Show this trial in detail.")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Log lines to show for a single trial.")] = 15,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Show the answer of a study and its ranked trials, or one trial."""
    with reporting_errors(as_json=json):
        studies = opened(store)
        result = studies.load(name)
        if trial is not None:
            _show_trial(result, trial, lines, store, as_json=json)
        elif json:
            out(result)
        else:
            from autotuner.cli.study_page import study_text
            from autotuner.study.owner import CUT_OFF

            # It may wait in the queue again.
            standing = studies.overview(result.spec.name).standing if result.state == CUT_OFF else result.state
            show(study_text(result, standing=standing))


def _show_trial(result: "StudyResult", number: int, lines: int, store: str | None, *, as_json: bool) -> None:
    from autotuner.cli.trial_page import trial_text
    from autotuner.report.trial_data import trial_data

    found = result.trial(number)
    log = opened(store).log_tail(found, lines=lines)
    if as_json:
        out(trial_data(result, found, log))
    else:
        show(trial_text(result, found, log))


def logs(
    name: Name,
    trial: TrialNumber = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Number of lines to show, from the end.")] = 100,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Show the server log of a trial."""
    with reporting_errors(as_json=json):
        found = opened(store).server_log(name, trial, lines=lines)
        if json:
            out({"study": name, "trial": found.trial, "path": str(found.path), "lines": found.lines})
        else:
            say(f"{found.path}")
            show("\n".join(found.lines))


def best(
    name: Name,
    as_: Annotated[BestAs, typer.Option("--as", help="Output format.")] = BestAs.COMMAND,
    out_file: Out = None,
    store: StoreUrl = None,
    json: Json = False,
    object_name: best_options.ObjectName = None,
    namespace: best_options.Namespace = None,
    image: best_options.Image = None,
    server: best_options.Server = None,
    port: best_options.Port = None,
    pvc: best_options.Pvc = None,
    cache_pvc: best_options.CachePvc = None,
    hub_token_secret: best_options.HubTokenSecret = None,
    env_secret: best_options.EnvSecret = None,
    runtime: best_options.Runtime = None,
    model: best_options.Model = None,
    start_from: best_options.From = None,
    model_format: best_options.ModelFormat = None,
    model_framework: best_options.ModelFramework = None,
    architecture: best_options.Architecture = None,
    quantization: best_options.Quantization = None,
    size_range: best_options.SizeRange = None,
) -> None:
    """Print the best configuration as a launch command or manifest."""
    options: ManifestOptions = {
        "name": object_name,
        "namespace": namespace,
        "image": image,
        "server": server,
        "port": port,
        "pvc": pvc,
        "cache_pvc": cache_pvc,
        "hub_token_secret": hub_token_secret,
        "env_secret": env_secret,
        "runtime": runtime,
        "model": model,
        "start_from": start_from,
        "model_format": model_format,
        "model_framework": model_framework,
        "architecture": architecture,
        "quantization": quantization,
        "size_range": size_range,
    }
    as_json = json or as_ is BestAs.JSON
    with reporting_errors(as_json=as_json):
        import autotuner
        from autotuner.api.results import write_text
        from autotuner.cli.exit_codes import ExitCode
        from autotuner.report.exported.options import parse_options
        from autotuner.report.exports import best_json, strict_json
        from autotuner.report.terminal import marked_summary

        parse_options(as_.value, {**options, "start_from": start_from and str(start_from)})
        result = opened(store).load(name)
        data = best_json(result)
        if result.winner is None:
            say(marked_summary(result))
            if as_json:
                out(data)
            raise typer.Exit(int(ExitCode.INFEASIBLE))
        if as_ in {BestAs.COMMAND, BestAs.JSON}:
            text = strict_json(data) if as_ is BestAs.JSON else data["command"]
        else:
            made = autotuner.render_manifest(result, _form(as_), **options)
            text = made.text.rstrip("\n")
            data = made.data()
        if out_file is not None and text:
            write_text(out_file, text + "\n")
            text = str(out_file)
            data = {"study": name, "written": str(out_file)}
        if as_json:
            out(data)
            return
        say(marked_summary(result))
        if text and str(out_file) != "-":
            show(text)
        elif not text:
            say("no command: this server was not started by autotuner")


def _form(form: BestAs) -> "ManifestForm":
    forms: dict[BestAs, ManifestForm] = {
        BestAs.KUBERNETES: "kubernetes",
        BestAs.SERVING_RUNTIME: "serving-runtime",
        BestAs.INFERENCE_SERVICE: "inference-service",
        BestAs.COMPOSE: "compose",
    }
    return forms[form]


def report(
    name: Name,
    form: Annotated[
        ReportAs,
        typer.Option(
            "--format", help="html: a page that needs no network; md: for a pull request; json: as `show --json`."
        ),
    ] = ReportAs.HTML,
    out_file: ReportOut = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Write the report of a study as one file: HTML, Markdown or JSON."""
    with reporting_errors(as_json=json):
        path = opened(store).report(name, out_file, form.value)
        if json:
            out({"study": name, "report": str(path)})
        elif str(path) != "-":
            show(str(path))


def export(
    name: Name,
    as_: Annotated[ExportAs, typer.Option("--as", help="Export format.")] = ExportAs.JSON,
    out_file: Out = None,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Export all results as JSON, CSV, or the older results JSON."""
    with reporting_errors(as_json=json):
        from autotuner.api.results import write_text
        from autotuner.report.exports import strict_json

        tuner = opened(store)
        if as_ is ExportAs.JSON:
            text = strict_json(with_exit_code(tuner.load(name))) + "\n"
        else:
            text = tuner.export(name, "csv" if as_ is ExportAs.CSV else "older")
        if out_file is None:
            if json and as_ is ExportAs.CSV:
                out({"study": name, "csv": text})
            else:
                show(text.rstrip("\n"))
            return
        write_text(out_file, text)
        if json:
            out({"study": name, "export": str(out_file)})
        elif str(out_file) != "-":
            show(str(out_file))


def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    store: StoreUrl = None,
    json: Json = False,
) -> None:
    """Delete a study and all its results. Fails while it is running."""
    with reporting_errors(as_json=json):
        from autotuner import UnreadableError
        from autotuner.errors import AutotunerError, Problem, UsageError

        if not yes:
            try:
                found = opened(store).load(name)
                results = sum(t.state.finished for t in found.trials)
                what = f"study {found.spec.name} with {results} results"
            except UnreadableError:
                what = f"unreadable study {name}"
            if json or not sys.stdin.isatty():
                why = f"cannot ask for confirmation to delete {what}"
                raise UsageError(Problem(where="delete", value=name, why=why, remedy="add --yes"))
            if not typer.confirm(f"Delete {what}?", err=True):
                raise AutotunerError("nothing deleted")
        opened(store).delete(name)
        if json:
            out({"deleted": name})
        else:
            show(f"{name}: deleted")


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("list")(list_)
    app.command("show")(show_)
    for command in (logs, best, report, export, delete):
        app.command()(command)
