"""Reader of the results of one benchmark run, which brings them out of a volume and removes their folder.

``python -m autotuner.deployers.ome.result_reader``: runs in a pod that sees the volume; the order is JSON on stdin, and
each result file is said as one JSON line. The folder is removed once all is said, so that no later run can take it for
its own. Standard library only.
"""

import base64
import json
import shutil
import sys
from pathlib import Path

_RESULTS = "*.json"
"""Tables and plots are left out: they are drawn from these."""


def main() -> int:
    """Tells and removes. Ends with 1 where it may not."""
    order = json.loads(sys.stdin.buffer.read())
    root = Path(order["root"])
    folder = root / order["folder"]
    if folder.parent != root or folder.name == ".." or folder.is_symlink():
        sys.stderr.write(f"{folder} is not the folder of a run\n")
        return 1
    try:
        if order["read"]:
            _tell(folder)
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        sys.stderr.write(f"{error.filename}: {error.strerror}\n")
        return 1
    return 0


def _tell(folder: Path) -> None:
    for file in sorted(folder.glob(_RESULTS)):
        content = base64.b64encode(file.read_bytes()).decode()
        sys.stdout.write(json.dumps({"name": file.name, "content": content}) + "\n")
    sys.stdout.write(json.dumps({"found": folder.is_dir()}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
