"""The CLI reference as Markdown, generated from the commands: ``python -m autotuner.cli.reference``.

A test compares ``docs/reference/cli.md`` with it.
"""

import sys
from typing import Any

import typer

from autotuner import Ending
from autotuner.cli.exit_codes import of_ending
from autotuner.cli.main import app

WIDTH = 110

HEAD = """# Command line

<!-- Made by `python -m autotuner.cli.reference > docs/reference/cli.md`; do not edit. -->

Results go to stdout; messages and progress go to stderr. With `--json`, stdout contains a single JSON document
(`watch`: one event per line), even if the command fails:

```json
{"error": {"kind": "usage", "message": "...", "remedy": "...",
           "problems": [{"where": "", "value": "", "why": "", "remedy": ""}]}}
```

| exit code | `kind` of the error | meaning |
|---|---|---|
| 0 | | success; for `run`: the study completed with an answer, which may be to keep the default |
| 1 | `failed`, `defect` | the command failed, or `run` found no reliable answer; `defect` is a bug, please report it |
| 2 | `usage` | invalid command line or file; nothing was launched |
| 3 | | no configuration met the SLOs; the result is still printed |
| 4 | `environment` | the machine is not ready: a missing file, program or port, or not enough space |
| 130 | `interrupted` | ended by Ctrl-C or a signal; `autotuner run` resumes |

Results are stored under `~/.local/share/autotuner` or `$AUTOTUNER_HOME`; `$AUTOTUNER_STORE` or `--store` selects
another database. The folder and its files are accessible to their owner only (0700, 0600). Secrets are never stored
or printed: values under names such as `HF_TOKEN` or `DB_PASS`, values in a known format (`ghp_...`, a password in a
URL), and either of them where a server log repeats it. A secret on the command line of a server is rejected.

`--out` writes into devices, pipes and links; regular files are replaced atomically; `-` means stdout. At most 20
problems of a file are printed, followed by the count of the rest. A study file may be at most 1 MiB.

`autotuner --version` prints the version. `autotuner --install-completion` installs completion for your shell (bash,
zsh, fish, PowerShell), and `--show-completion` prints it.

`run` and `plan` accept `--set PATH=VALUE` to override single values of the study file, typed as in YAML: `--set
search.trials=5 --set workload.concurrency=[1,8] --set engine.args.seed=1 --set slo[0]="p99 ttft <= 1s"`. An unknown
path is an error that suggests the closest known name. `run --dry-run` is the same as `plan`.

## Endings

How a study ended is `ending` in the JSON of `run`, `show`, `best` and `export`, in the CSV, and in the event
`study_finished`; `headline` says it in one line, and `run` returns the matching exit code. Only endings marked
"proven" claim that the winner is better than the default.

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
