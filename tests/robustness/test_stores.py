"""Stores that cannot be used, and what the command line says of them."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from children import EXPLAIN, Nursery, open_to_all, state

from whylike.memory.chroma import FOLDER
from whylike.memory.connection import FILE

NewDatabase = Callable[..., AbstractContextManager[str]]
ASKED = ("explain", "--user", "u3", "--item", "i2", "--json")


def no_folder(store: Path) -> None:
    shutil.rmtree(store)
    store.write_text("a file")


def unreadable_folder(store: Path) -> None:
    store.chmod(0)


def read_only_folder(store: Path) -> None:
    for path in store.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    store.chmod(0o555)


def read_only_empty_folder(store: Path) -> None:
    shutil.rmtree(store)
    store.mkdir(0o555)


def read_only_database(store: Path) -> None:
    (store / FILE).chmod(0o444)


def unreadable_database(store: Path) -> None:
    (store / FILE).chmod(0)


def folder_for_database(store: Path) -> None:
    (store / FILE).unlink()
    (store / FILE).mkdir()


def nonsense_database(store: Path) -> None:
    (store / FILE).write_bytes(b"nonsense" * 1000)


def damaged_database(store: Path) -> None:
    pages = bytearray((store / FILE).read_bytes())
    pages[4096:] = random.Random(0).randbytes(len(pages) - 4096)
    (store / FILE).write_bytes(pages)


BROKEN = [
    no_folder,
    unreadable_folder,
    read_only_folder,
    read_only_empty_folder,
    read_only_database,
    unreadable_database,
    folder_for_database,
    nonsense_database,
    damaged_database,
]


def one_sentence(result: tuple[int, str, str], status: int = 1) -> str:
    """What the command said on standard error, which must be all that it said."""
    assert result[:2] == (status, "")
    said = result[2]
    assert said.startswith("whylike: ")
    assert said.count("\n") == 1
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_a_store_that_cannot_be_used_is_told_in_one_sentence(
    nursery: Nursery,
    corpus: dict[str, Any],
    ingested: tuple[Path, int],
    place: Path,
    broken: Callable[[Path], None],
) -> None:
    store = place / "store"
    shutil.copytree(ingested[0], store)
    reviews = shutil.copy(corpus["file"], place)
    open_to_all(place)
    broken(store)
    missing = broken in {no_folder, read_only_empty_folder}
    for command, status in ((["ingest", reviews], 1), (["explain", "--user", "u1", "--item", "i2"], 1 + missing)):
        assert str(store) in one_sentence(nursery.cli(store, *command), status)


def file_for_index(index: Path) -> None:
    shutil.rmtree(index)
    index.write_text("a file")


def nonsense_index(index: Path) -> None:
    for path in index.rglob("*.*"):
        path.write_bytes(b"nonsense" * 1000)


@pytest.fixture(scope="module")
def explained(nursery: Nursery, ingested: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has an index."""
    store = tmp_path_factory.mktemp("explained") / "store"
    shutil.copytree(ingested[0], store)
    nursery.run(**EXPLAIN, store=store)
    return store


@pytest.mark.parametrize("broken", [file_for_index, nonsense_index], ids=lambda broken: broken.__name__)
def test_a_damaged_index_is_made_anew(
    nursery: Nursery, explained: Path, place: Path, broken: Callable[[Path], None]
) -> None:
    sound, store = place / "sound", place / "store"
    for copy in (sound, store):
        shutil.copytree(explained, copy)
    open_to_all(place)
    broken(store / FOLDER)
    status, out, said = nursery.cli(store, *ASKED)
    assert status == 0
    assert said.startswith(f"whylike: the index of {store} is rebuilt from the store: ")
    assert json.loads(out)["reason"] == json.loads(nursery.cli(sound, *ASKED)[1])["reason"]


@pytest.mark.parametrize("mode", [0, 0o555], ids=["unreadable", "read-only"])
def test_an_index_that_cannot_be_used_is_told(nursery: Nursery, explained: Path, place: Path, mode: int) -> None:
    store = place / "store"
    shutil.copytree(explained, store)
    open_to_all(place)
    for path in (store / FOLDER).rglob("*.*"):
        path.chmod(mode & 0o444)
    (store / FOLDER).chmod(mode)
    status, out, said = nursery.cli(store, *ASKED)
    assert (status, out) == (1, "")
    assert f"whylike: the index {store / FOLDER} cannot be written: " in said.splitlines()[-1]
    assert "Traceback" not in said


def test_a_full_disk_is_told_and_the_next_run_completes(
    nursery: Nursery,
    corpus: dict[str, Any],
    ingested: tuple[Path, int],
    place: Path,
) -> None:
    store = place / "store"
    store.mkdir()
    files = [shutil.copy(corpus[name], place) for name in ("file", "items")]
    open_to_all(place)
    command = ["ingest", files[0], "--items", files[1]]
    assert str(store) in one_sentence(nursery.cli(store, *command, file_size=50_000))
    assert nursery.cli(store, *command)[0] == 0
    assert state(store) == state(ingested[0])


REVIEWED = ("review", "add", "--user", "u1", "--item", "i2", "--rating", "5", "--text", "Fine.")


def test_the_command_line_on_postgresql_never_says_the_password(
    nursery: Nursery,
    corpus: dict[str, Any],
    new_database: NewDatabase,
    place: Path,
) -> None:
    files = [shutil.copy(corpus[name], place) for name in ("file", "items")]
    open_to_all(place)
    with new_database() as url:
        password = re.search(":([^:@]+)@", url)[1]
        wrong, slip = url.replace(password, "wr%40ng"), url.replace(password, "wr@ng")
        commands = [("ingest", files[0], "--items", files[1]), ASKED, REVIEWED, ("doctor",)]
        for command in commands:
            status, out, said = nursery.cli(place, *command, "-vv", database_url=url)
            if command != ("doctor",):  # to whom the cache may be unreadable
                assert status == 0, said
            assert "Traceback" not in said
            assert password not in out + said
            for bad, code in ((wrong, 1), (slip, 2)):
                status, out, said = nursery.cli(place, *command, "-vv", database_url=bad)
                assert status == (1 if command == ("doctor",) else code)
                assert "ng@" not in out + said
                assert "Traceback" not in out + said
                assert ("password authentication failed" if bad is wrong else "write it as %40") in out + said
