"""The beginning of Alembic, which migrates on the connection that it is given."""

from alembic import context

from phonemeter.business.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite changes a column by copying its table.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
