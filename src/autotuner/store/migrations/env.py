"""Alembic environment: migrates the connection that the store passes, inside its transaction."""

from alembic import context

from autotuner.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
