"""What the experts' tests share: the real sentence vectors, and text that tries to be more than text."""

from __future__ import annotations

import pytest

from whylike.memory.embeddings import Embedder


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return Embedder()
