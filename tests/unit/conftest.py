"""The two kinds of operational store, for everything that promises to be the same on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from pipeline.store.engine import open_store
from pipeline.store.schema import metadata
from tests.postgres import postgres  # noqa: F401  (a fixture)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"
    made: str = request.getfixturevalue("postgres")("store")
    return made


@pytest.fixture(scope="module")
def opened(store_url: str) -> Iterator[Engine]:
    engine = open_store(store_url)
    yield engine
    engine.dispose()


@pytest.fixture
def engine(opened: Engine) -> Engine:
    """The store, empty."""
    with opened.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(table.delete())
    return opened


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that nobody has opened yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'store.db'}"
    made: str = request.getfixturevalue("postgres")(f"new-{request.node.name[:40]}")
    return made
