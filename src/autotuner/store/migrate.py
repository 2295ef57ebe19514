"""Brings a database to the newest revision. Kept apart, and loaded only where there is something to migrate: Alembic
takes as long to import as all the rest of the store."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def migrate(connection: Connection) -> None:
    """Runs all migrations that are missing, inside of the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
