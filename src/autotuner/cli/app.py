"""The command-line application: shared options, output, and the mapping of errors to exit codes.

Only lightweight modules are imported here; each command imports what it needs when it runs, so ``--help`` is fast.
"""

import json
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autotuner.cli.server import where
from autotuner.plain_text import escape_controls

if TYPE_CHECKING:
    from autotuner.errors import StoppedEarlyError

app = typer.Typer(
    name="autotuner",
    help="Find the fastest launch parameters for an LLM inference server, and prove the gain over the default.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 no feasible configuration, 4 environment, 130 interrupted.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from autotuner import __version__

        show(__version__)
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Option(
            "--server",
            metavar="URL",
            envvar=where.VARIABLE,
            help=f"Use the store of this server (autotuner serve), with the token in {where.TOKEN_VARIABLE}.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Find the fastest launch parameters for an LLM inference server, and prove the gain over the default."""
    source = context.get_parameter_source("server")
    given = source is not None and source.name == "COMMANDLINE"
    where.choose(server, context.invoked_subcommand, given=given)
    if server and not given and context.invoked_subcommand in where.OF_THIS_MACHINE:
        say(f"note: {context.invoked_subcommand} works on this machine, not on ${where.VARIABLE}")


Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout; send messages to stderr.")]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", envvar="AUTOTUNER_STORE", help="Database URL (SQLAlchemy).", show_default="local SQLite"),
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v",
        "--verbose",
        count=True,
        show_default=False,
        help="Log details to stderr; -vv: every API call.",
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option(
        "--log-file", metavar="FILE", help="Append a log with every API call to this file; secrets are removed."
    ),
]


def _complete_name(incomplete: str) -> list[str]:
    """Completes names of stored studies. Errors must not reach the shell."""
    from contextlib import suppress

    import autotuner

    names: list[str] = []
    with suppress(Exception):
        names = [record.name for record in autotuner.list_studies()]
    return [name for name in names if name.startswith(incomplete)]


Name = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="Name of a study, or path to its file.", autocompletion=_complete_name),
]


def out(data: Any) -> None:
    """Prints models, mappings and lists of them as JSON to stdout; inf and NaN become null."""
    from autotuner.report.exports import strict_json

    sys.stdout.write(strict_json(with_exit_code(data)) + "\n")


def with_exit_code(data: Any) -> Any:
    """Adds the exit code of ``run`` to a study's result; other data stay as they are."""
    from autotuner.cli.exit_codes import of_ending
    from autotuner.report.exports import plain_data
    from autotuner.report.result import StudyResult

    if isinstance(data, StudyResult):
        return {**plain_data(data), "exit_code": int(of_ending(data.ending))}
    return data


def say(text: str) -> None:
    """Prints a message to stderr, secrets removed."""
    from autotuner.secrets import clean_text

    sys.stderr.write(escape_controls(clean_text(text)) + "\n")


def show(text: str) -> None:
    """Prints a result to stdout, secrets removed. It may be a whole manifest."""
    from autotuner.secrets import clean_document

    sys.stdout.write(escape_controls(clean_document(text)) + "\n")


def program() -> str:
    """Returns how the user invoked this program, for suggesting the next command."""
    return " ".join((_called(), *where.option()))


def _called() -> str:
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return f"{Path(sys.executable).name} -m autotuner"
    found = shutil.which(called.name)
    if found is not None and Path(found).resolve() == called.resolve():
        return called.name
    inside = called.is_absolute() and called.is_relative_to(Path.cwd())
    return str(called.relative_to(Path.cwd()) if inside else called)


def out_error(kind: str, message: str, problems: Sequence[Any] = (), *, remedy: str = "") -> None:
    """Prints an error as one line of JSON to stdout."""
    from autotuner.secrets import clean

    body = clean({"kind": kind, "message": message, "remedy": remedy, "problems": list(problems)})
    sys.stdout.write(json.dumps({"error": body}, ensure_ascii=False) + "\n")


def out_stopped(stopped: "StoppedEarlyError[Any]") -> None:
    """Prints what was found before the end, and why it ended, as one JSON document."""
    from autotuner.cli.exit_codes import of_stop

    kind = of_stop(stopped).name.lower()
    error = {"kind": kind, "message": stopped.message, "remedy": stopped.remedy, "problems": []}
    out({**stopped.report.model_dump(), "error": error})


def say_stopped(stopped: "StoppedEarlyError[Any]") -> None:
    """Prints why a command ended before its work was done."""
    for line in str(stopped).splitlines():
        say(f"autotuner: {line}")


@contextmanager
def reporting_errors(*, as_json: bool) -> Iterator[None]:
    """Prints expected errors in one line each and exits with the documented code. Anything else is a bug: it keeps its
    traceback, and with ``--json`` it is also reported as JSON."""
    from autotuner.cli.exit_codes import ExitCode, of_error
    from autotuner.errors import AutotunerError, UsageError
    from autotuner.secrets import remember_environment

    remember_environment()
    try:
        yield
    except AutotunerError as error:
        if as_json:
            problems = [p.model_dump() for p in error.problems] if isinstance(error, UsageError) else []
            out_error(of_error(error).name.lower(), error.message, problems, remedy=error.remedy)
        for line in str(error).splitlines():
            say(f"autotuner: {line}")
        raise typer.Exit(int(of_error(error))) from None
    except KeyboardInterrupt:
        if as_json:
            out_error("interrupted", "interrupted")
        say("autotuner: interrupted")
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(int(ExitCode.OK)) from None
    except (OSError, MemoryError) as error:
        # A limit of the system, such as a full disk, is not a bug to report.
        line = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) and error.filename else str(error)
        line = line or "out of memory"
        if as_json:
            out_error("environment", line)
        say(f"autotuner: {line}")
        raise typer.Exit(int(ExitCode.ENVIRONMENT)) from None
    except Exception as error:
        if as_json and not isinstance(error, typer.Exit):
            out_error("defect", f"{type(error).__name__}: {error}")
        raise


def show_defect(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Prints a traceback to stderr like Python itself, secrets removed."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip())


@contextmanager
def logged(verbose: int, log_file: Path | None, *, server: bool = False) -> Iterator[None]:
    """Writes the log while the command runs; that of a server has warnings on stderr in any case.

    Raises:
        UsageError: If the file cannot be opened.
    """
    if not verbose and log_file is None and not server:
        yield
        return
    from autotuner.logs import logging_to

    with logging_to(verbose, log_file, warnings=server, others=("uvicorn",) if server else ()):
        yield
