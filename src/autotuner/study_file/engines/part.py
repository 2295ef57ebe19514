"""A part of a study file that is read like a file of its own."""

from autotuner.study_file.located_document import Document, Path


class EntryDocument(Document):
    """An entry of ``engines`` as a file with the sections ``engine``, ``parameters`` and ``constraints``; its problems
    are those of the whole file.

    Args:
        whole: The study file.
        index: Position of the entry.
    """

    def __init__(self, whole: Document, index: int) -> None:
        super().__init__(whole.source, problems=whole.problems)
        self._whole = whole
        self._prefix: Path = ("engines", index)

    def where(self, path: Path) -> str:
        """Place and path in the whole file. The engine's own settings stand in the entry itself."""
        inner = path[1:] if path[:1] == ("engine",) else path
        return self._whole.where((*self._prefix, *inner))
