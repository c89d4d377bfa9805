"""The packaged MiniLM, with no network."""

from __future__ import annotations

import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from whylike.errors import StoreError
from whylike.memory import embeddings
from whylike.memory.embeddings import REMEMBERED, SHORT, Embedder


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_vectors_have_unit_length_and_mean_something(embedder: Embedder) -> None:
    texts = [
        "a gripping plot",
        "the story keeps you hooked",
        "the delivery box was damaged",
        "",
        "😀 عربي",
        "x " * 9000,
    ]
    vectors = embedder.embed(texts)
    assert vectors.shape == (len(texts), embedder.dimension) == (6, 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(6), abs=1e-5)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.2


def test_no_texts_make_no_vectors(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, 384)


def test_the_order_is_kept_and_repeated_texts_are_made_once(
    embedder: Embedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    encode = Embedder._encode
    monkeypatch.setattr(Embedder, "_encode", lambda self, texts: made.extend(texts) or encode(self, texts))
    first = embedder.embed(["one", "two", "one", "y" * (SHORT + 1)])
    again = embedder.embed(["two", "y" * (SHORT + 1), "one"])
    assert made == ["one", "two", "y" * (SHORT + 1), "y" * (SHORT + 1)]
    assert np.array_equal(first[0], first[2])
    assert np.allclose(again, first[[1, 3, 0]], atol=1e-6)


def test_a_caller_cannot_change_what_is_remembered(embedder: Embedder) -> None:
    first = embedder.embed(["kept"])
    before = first.copy()
    first[:] = 0
    second = embedder.embed(["kept"])
    assert np.array_equal(second, before)


def test_the_least_used_texts_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def encode(self: Embedder, texts: list[str]) -> np.ndarray:
        made.extend(texts)
        return np.zeros((len(texts), 384), dtype=np.float32)

    monkeypatch.setattr(Embedder, "_encode", encode)
    embedder = Embedder()
    embedder.embed(["used", "unused"])
    for n in range(REMEMBERED - 1):
        embedder.embed(["used", str(n)])
    made.clear()
    embedder.embed(["used"])
    assert made == []
    embedder.embed(["unused"])
    assert made == ["unused"]


def test_threads_get_their_own_texts_vectors(embedder: Embedder) -> None:
    texts = [f"text number {n}" for n in range(12)]
    expected = embedder.embed(texts)
    fresh = Embedder()
    fresh.__dict__["_model"] = embedder._model
    with ThreadPoolExecutor(6) as pool:
        vectors = list(pool.map(lambda text: fresh.embed([text])[0], texts * 3))
    assert np.allclose(vectors, np.concatenate([expected] * 3), atol=1e-5)


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "PACKAGE", "no_such_package")
    with pytest.raises(StoreError, match=r"no_such_package .* is not installed"):
        Embedder().embed(["x"])


def test_loading_says_nothing_and_importing_loads_nothing() -> None:
    code = (
        "import sys; from whylike.memory.embeddings import Embedder; assert 'torch' not in sys.modules;"
        "print(Embedder().embed(['x']).shape)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == "(1, 384)\n"
    assert child.stderr == ""
