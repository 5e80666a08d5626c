"""Run the migrations on the connection that ``Database.open`` hands over (called by Alembic)."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
