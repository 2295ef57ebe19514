"""The form of the archive, which writing and restoring share."""

from pydantic import BaseModel, ConfigDict

FORMAT = 1
MANIFEST = "backup.json"
END = "complete.json"
TABLES = "tables/"
STUDIES = "studies/"


class Manifest(BaseModel):
    """The first file of an archive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int
    revision: str
    """Revision of the tables, as of the migrations."""
    version: str
    """Version of the program that wrote it."""
    at: float
    """When its rows were read, in seconds since the epoch."""
    rows: dict[str, int]
    """Number of rows of each table."""


class Ending(BaseModel):
    """The last file of an archive, without which it is not complete."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: int
    """Number of files of studies."""


class BackupSummary(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    studies: int
    trials: int
    files: int
    """Logs and request records."""
    at: float
    """When its rows were read, in seconds since the epoch."""
