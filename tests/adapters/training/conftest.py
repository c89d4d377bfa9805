"""A store that is learned from by a tiny model, with vectors that cost nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from learner import reviews, settings_of
from lettered import Letters

from whylike.memory.store import Store
from whylike.settings import Settings


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors by letter, and no adapters that come along."""
    monkeypatch.setattr("whylike.graph.services.Embedder", Letters)
    monkeypatch.setattr("whylike.graph.forgetting.Embedder", Letters)
    monkeypatch.setattr("whylike.adapters.registry.registry.SHIPPED", Path("none"))


@pytest.fixture
def settings(tiny: Path, tmp_path: Path, cheap: None) -> Settings:
    """Of a store with 250 reviews."""
    made = settings_of(tmp_path / "store", tiny)
    with Store.open(made) as store:
        store.add_reviews(reviews(0, 250))
    return made
