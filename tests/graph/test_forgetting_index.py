"""Nothing of a forgotten user is left in the index, and of others nothing is lost."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
from forgettable import NEEDLES, TEXT, WHO, Opened, fill, theirs
from leftovers import left

from whylike.graph.forgetting import forget
from whylike.graph.profiles import profile_now
from whylike.memory.chroma import FOLDER
from whylike.memory.embeddings import Embedder
from whylike.memory.index import Index
from whylike.memory.store import Store
from whylike.records import Side
from whylike.settings import Settings


def test_without_an_index_none_is_made(folder: Path) -> None:
    settings = Settings(store=folder)
    with Store.open(settings) as store:
        store.add_reviews(theirs())
        (folder / FOLDER).mkdir()
        (folder / FOLDER / "old").write_text(TEXT)
        forget(settings, store, WHO)
        assert not (folder / FOLDER).exists()


def test_vectors_of_others_are_moved_and_not_made_anew(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened() as services:
        fill(services)
        services.index.sync()
        count = services.index.count()
        assert count > 10

        def embed(*_: object) -> None:
            raise AssertionError("a vector was made")

        monkeypatch.setattr(Embedder, "embed", lambda self, texts: embed() if texts else [])
        forget(services.settings, services.store, WHO)
        monkeypatch.undo()
        assert 0 < services.index.count() < count
        assert services.index.sync() == 0


def test_an_index_that_is_damaged_is_made_anew(opened: Opened, folder: Path) -> None:
    with opened() as services:
        fill(services)
    (folder / "chroma.mark").write_text("begun by somebody")
    with Store.open(services.settings) as store:
        forget(services.settings, store, WHO)
        assert not left(folder, NEEDLES)
        with Index.open(services.settings, store, Embedder()) as index:
            assert index.count() > 5


def test_what_a_process_has_in_its_memory_does_not_come_into_the_index(opened: Opened, folder: Path) -> None:
    """Chroma writes files of vectors as the memory for them is found."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        pytest.skip("the C library is not glibc")
    perturb, mark = -6, b"Z" * 64
    mallopt(perturb, ~mark[0] & 0xFF)  # what is handed out is filled with it
    try:
        with opened() as services:
            fill(services)
            assert not [path for path in (folder / FOLDER).glob("*/*") if mark in path.read_bytes()]
            forget(services.settings, services.store, WHO)
            assert list((folder / FOLDER).glob("*/data_level0.bin"))
            assert not [path for path in (folder / FOLDER).glob("*/*") if mark in path.read_bytes()]
            profile_now(services, Side.ITEM, "ice")
            assert services.index.nearest_profiles(Embedder().embed(["chills"])[0], Side.ITEM, 1) == [
                ("ice", pytest.approx(0.3, abs=0.3))
            ]
    finally:
        mallopt(perturb, 0)
