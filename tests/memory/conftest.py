"""A store and its index, with vectors by letter; test modules may have their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from letters import Letters

from whylike.memory.index import Index
from whylike.memory.store import Store
from whylike.settings import Settings


@pytest.fixture
def database_url(request: pytest.FixtureRequest) -> str | None:
    """SQLite's, unless the test asks for others."""
    return request.getfixturevalue("postgresql_url") if getattr(request, "param", "") == "postgresql" else None


@pytest.fixture
def settings(tmp_path: Path, database_url: str | None) -> Settings:
    return Settings(store=tmp_path, database_url=database_url)


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings) as opened:
        yield opened


@pytest.fixture
def index(settings: Settings, store: Store) -> Iterator[Index]:
    with Index.open(settings, store, Letters()) as opened:
        yield opened
