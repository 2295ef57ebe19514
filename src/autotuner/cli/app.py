"""The command line's frame: the application object, shared options, and how errors become lines and exit codes.

Only light modules are imported here; each command imports what it needs when it runs, so that ``--help`` is quick.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="autotuner",
    help="Finds the launch parameters that make an LLM inference server fastest, and proves it against the default.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 no feasible configuration, 4 environment, 130 interrupted.",
)

Json = Annotated[bool, typer.Option("--json", help="Data as JSON on standard output; words go to standard error.")]
StoreUrl = Annotated[
    str | None,
    typer.Option("--store", envvar="AUTOTUNER_STORE", help="SQLAlchemy URL of the store.", show_default="local SQLite"),
]
Name = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name, or the path of its file.")]


def out(data: Any) -> None:
    """Data for programs, on standard output. Nouns, mappings and lists of these; inf and nan become null."""
    from autotuner.report.exports import strict_json

    sys.stdout.write(strict_json(data) + "\n")


def say(text: str) -> None:
    """Words for people, on standard error."""
    sys.stderr.write(text + "\n")


def show(text: str) -> None:
    """The answer for people, on standard output."""
    sys.stdout.write(text + "\n")


@contextmanager
def answering(*, as_json: bool) -> Iterator[None]:
    """Turns the program's own errors into one line each and the documented exit code; never a traceback."""
    from autotuner.study.errors import AutotunerError, ExitCode, UsageError

    try:
        yield
    except AutotunerError as error:
        if as_json:
            problems = [p.model_dump() for p in error.problems] if isinstance(error, UsageError) else []
            body = {"kind": error.exit_code.name.lower(), "message": str(error), "problems": problems}
            sys.stdout.write(json.dumps({"error": body}) + "\n")
        for line in str(error).splitlines():
            say(f"autotuner: {line}")
        raise typer.Exit(int(error.exit_code)) from None
    except KeyboardInterrupt:
        say("autotuner: interrupted")
        raise typer.Exit(int(ExitCode.INTERRUPTED)) from None
    except BrokenPipeError:
        sys.stderr.close()
        raise typer.Exit(int(ExitCode.OK)) from None
