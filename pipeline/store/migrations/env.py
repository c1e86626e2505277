"""Alembic's entry: migrations run on the engine they are given, in one transaction."""

from alembic import context
from sqlalchemy import text

from pipeline.store.schema import metadata

engine = context.config.attributes["engine"]
with engine.begin() as connection:
    if connection.dialect.name == "postgresql":  # SQLite's transactions wait for each other as they are
        connection.execute(text("select pg_advisory_xact_lock(5323238)"))
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
    context.run_migrations()
