"""The reference of the command line as Markdown, made from the commands: ``python -m autotuner.cli.reference``.

A test compares ``docs/reference/cli.md`` with it, so that the page cannot fall behind.
"""

import sys
from typing import Any

import typer

from autotuner.cli.exit_codes import of_ending
from autotuner.cli.main import app
from autotuner.tuning.ending import Ending

WIDTH = 110

HEAD = """# Command line

<!-- Made by `python -m autotuner.cli.reference > docs/reference/cli.md`; do not edit. -->

Answers go to standard output, words about them to standard error. With `--json` standard output holds data only: one
JSON document (with `watch` one event a line), also when a command fails:

```json
{"error": {"kind": "usage", "message": "...", "remedy": "...",
           "problems": [{"where": "", "value": "", "why": "", "remedy": ""}]}}
```

| exit code | `kind` of the error | meaning |
|---|---|---|
| 0 | | ok; of `run`: the study ran to its end and has an answer, which may be to keep the default |
| 1 | `failed`, `defect` | it did not work, or `run` has no answer that holds; `defect` is our mistake: report it |
| 2 | `usage` | the command line or a file is wrong; nothing was launched |
| 3 | | no configuration met the SLOs; the answer is printed all the same |
| 4 | `environment` | the machine is not ready: a file, a program, a port or room is missing |
| 130 | `interrupted` | ended by Ctrl-C or a signal; `autotuner run` resumes |

Results are kept under `~/.local/share/autotuner`, or in `$AUTOTUNER_HOME`; `$AUTOTUNER_STORE` or `--store` names
another database. That folder and its files are for their user alone (0700, 0600). No secret is in any of them, nor in
any output: values under names such as `HF_TOKEN` or `DB_PASS`, values of a known form (`ghp_...`, a password in a
URL), and both wherever a server's log repeats them. A secret on a server's command line is refused.

`--out` writes into a device, a pipe or through a link, and replaces regular files as a whole; `-` is standard output.
At most 20 problems of a file are printed, with the count of the rest; all study files are at most 1 MiB.

`autotuner --version` prints the version; `autotuner --install-completion` sets up completion for your shell (bash,
zsh, fish, PowerShell), and `--show-completion` prints it.

`run` and `plan` take `--set PATH=VALUE` for single values of the study file, typed as in YAML:
`--set search.trials=5 --set workload.concurrency=[1,8] --set engine.args.seed=1 --set slo[0]="p99 ttft <= 1s"`.
A path that the file does not know is an error with the nearest known name. `run --dry-run` is `plan`.

## Endings

How a study ended is `ending` in the JSON of `run`, `show`, `best` and `export`, in the CSV and in the event
`study_finished`; `headline` says it in one line, and `run` returns its exit code. Only the endings marked "proven"
claim that the winner is to be preferred to the default.

| `ending` | exit code | when |
|---|---|---|
"""


def reference() -> str:
    """The whole page."""
    group: Any = typer.main.get_command(app)
    root = group.make_context("autotuner", [], resilient_parsing=True, terminal_width=WIDTH)
    commands = [group.get_command(root, name) for name in group.list_commands(root)]
    index = [f"| [`{c.name}`](#autotuner-{c.name}) | {' '.join((c.help or '').split())} |" for c in commands]
    endings = [
        f"| `{e.value}`{' (proven)' if e.proven else ''} | {int(of_ending(e))} | {e.condition} |" for e in Ending
    ]
    head = HEAD + "\n".join(endings) + "\n"
    return "\n".join([head, "| command | |", "|---|---|", *index, "", *(_command(c, root) for c in commands)])


def _command(command: Any, root: Any) -> str:
    context = command.make_context(command.name, [], parent=root, resilient_parsing=True, terminal_width=WIDTH)
    lines = [line.rstrip() for line in command.get_help(context).splitlines()]
    return "\n".join([f"## autotuner {command.name}", "", "```text", *lines, "```", ""])


if __name__ == "__main__":
    sys.stdout.write(reference())
