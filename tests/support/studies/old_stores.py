"""Databases as earlier versions left them."""

from sqlalchemy import Connection, text

from autotuner.store import tables


def without_lists(connection: Connection) -> None:
    """Takes a database back to the revision before that of the columns for lists."""
    for table in (tables.presets, tables.deliveries, tables.webhooks):
        table.drop(connection)
    for index in ("ix_trials_state", "ix_trials_study", "ix_events_proposed"):
        connection.execute(text(f"DROP INDEX {index}"))
    connection.execute(text("CREATE INDEX ix_trials_state ON trials (state)"))
    for column in ("engines", "deployers", "maximized", "ending", "change"):
        connection.execute(text(f"ALTER TABLE studies DROP COLUMN {column}"))
    for column in ("role", "feasible", "value", "cause", "started_at", "finished_at"):
        connection.execute(text(f"ALTER TABLE trials DROP COLUMN {column}"))
    connection.execute(text("ALTER TABLE queue DROP COLUMN refusals"))
    connection.execute(text("UPDATE alembic_version SET version_num = '0008'"))
