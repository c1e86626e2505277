"""Alembic's entry: migrations run on the engine they are given, in one transaction."""

from alembic import context

from pipeline.store.schema import metadata

engine = context.config.attributes["engine"]
with engine.begin() as connection:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
