"""Reader that prints the result files of one benchmark run in a volume and removes their folder.

``python -m autotuner.deployers.ome.result_reader`` runs in a pod that mounts the volume. It reads an order in JSON
from stdin and writes one JSON line per result file. Then it removes the folder, so that no later run can mistake the
files for its own. Standard library only.
"""

import base64
import json
import shutil
import sys
from pathlib import Path

_RESULTS = "*.json"
"""Tables and plots are omitted, since they are derived from these files."""


def main() -> int:
    """Prints the files and removes the folder. Returns 1 if that is not possible."""
    order = json.loads(sys.stdin.buffer.read())
    root = Path(order["root"])
    folder = root / order["folder"]
    if folder.parent != root or folder.name == ".." or folder.is_symlink():
        sys.stderr.write(f"{folder} is not the folder of a run\n")
        return 1
    try:
        if order["read"]:
            _print_files(folder)
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    return 0


def _print_files(folder: Path) -> None:
    for file in sorted(folder.glob(_RESULTS)):
        content = base64.b64encode(file.read_bytes()).decode()
        sys.stdout.write(json.dumps({"name": file.name, "content": content}) + "\n")
    sys.stdout.write(json.dumps({"found": folder.is_dir()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
