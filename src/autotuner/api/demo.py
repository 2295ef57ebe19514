"""The study of ``autotuner demo``: a small generated model, and a file that tunes a real server on it."""

from importlib import resources
from pathlib import Path

from autotuner.demo_model import write_tiny_gguf
from autotuner.store.files import output_folder

_MODEL = "tiny.gguf"
_STUDY = "study.yaml"


def write_demo(folder: str | Path) -> Path:
    """Write a small model for llama.cpp and a study file that tunes a server on this machine with it.

    A study file that exists is kept, because it may have been changed.

    Args:
        folder: Where to write them; created if it is missing.

    Returns:
        The study file.

    Raises:
        AutotunerError: If the folder cannot be written.

    Example:
        >>> import tempfile
        >>> autotuner.write_demo(tempfile.mkdtemp()).name
        'study.yaml'
    """
    target = output_folder(Path(folder))
    write_tiny_gguf(target / _MODEL)
    study = target / _STUDY
    if not study.exists():
        text = (resources.files("autotuner.api") / "demo.yaml").read_text(encoding="utf-8")
        study.write_text(text, encoding="utf-8")
    return study
