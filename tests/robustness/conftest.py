"""One nursery, one corpus and one store for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from children import Nursery, write_corpus


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with closing(Nursery(tmp_path_factory.mktemp("nursery"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return write_corpus(tmp_path_factory.mktemp("corpus"), "reviews", 0)


@pytest.fixture(scope="module")
def ingested(nursery: Nursery, corpus: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A store after an undisturbed ingest, and the steps that it took."""
    store = tmp_path_factory.mktemp("ingested") / "store"
    return store, nursery.run(**corpus, store=store)["steps"]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everybody may reach and write: where the tests run as root, the command runs as nobody."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)
