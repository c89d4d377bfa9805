"""Answers that are cut off by a kill, and several processes at one store."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from whylike.explanation import Explanation
from whylike.graph.pair import Services, explain

Opened = Callable[..., AbstractContextManager[Services]]
PAIR = {"user": "ann", "item": "ice"}
KILLS = {
    "before anything": ("asked summarizer", 1),
    "summaries made and not kept": ("answered summarizer", 2),
    "some summaries kept": ("event summarize", 1),
    "reason written and not kept": ("answered reasoner", 1),
    "within the reason": ("event reason", 3),
    "rating made and not kept": ("answered predictor", 1),
    "at the end": ("event predict", 1),
}


class Asking:
    """A process whose children answer questions."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("explaining.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS")},
        )
        assert self._line() == "ready"

    def close(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().rstrip("\n")

    def _tell(self, text: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def ask(self, *stores: Path, stops: bool = False) -> list[Path]:
        """Ask about the pair, once for each of the stores, all at once; where the answers will be."""
        outs = [self._folder / f"{store.name}-{number}.json" for number, store in enumerate(stores)]
        questions: list[dict[str, Any]] = [
            PAIR | {"store": str(store), "out": str(out), "stops": stops, "now": 2_000}
            for store, out in zip(stores, outs, strict=True)
        ]
        self._tell(json.dumps(questions) + "\n")
        self.children: list[int] = json.loads(self._line())
        return outs

    def ended(self) -> list[int]:
        """How the children ended."""
        return json.loads(self._line())

    def walk(self, until: tuple[str, int] | None = None) -> list[str]:
        """Let a stopping child go on until it has been somewhere so often; all the places where it was."""
        places: list[str] = []
        while until is None or places.count(until[0]) < until[1]:
            line = self._line()
            if line.startswith("["):
                assert json.loads(line) == [0]
                assert until is None, f"it never came to {until}, only to {places}"
                return places
            places.append(line)
            if until is None or places.count(until[0]) < until[1]:
                self._tell("\n")
        return places


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    process = Asking(tmp_path_factory.mktemp("answers"))
    yield process
    process.close()


@pytest.fixture
def undisturbed(opened: Opened, tmp_path: Path) -> str:
    """The answer where nothing happens, worked out in this process."""
    with opened(None, at=tmp_path / "undisturbed") as services:
        return explain(services, PAIR["user"], PAIR["item"]).model_dump_json(exclude={"seconds"})


@pytest.fixture
def store(opened: Opened, folder: Path) -> Path:
    with opened():
        return folder


def test_a_child_that_stops_everywhere_answers_the_same(asking: Asking, store: Path, undisturbed: str):
    [out] = asking.ask(store, stops=True)
    places = asking.walk()
    assert out.read_text() == undisturbed
    for where, times in KILLS.values():
        assert places.count(where) >= times


def test_a_kill_costs_no_more_than_what_was_under_way(
    asking: Asking, store: Path, opened: Opened, undisturbed: str, tmp_path: Path
):
    found = {}
    kept = {}
    for name, until in KILLS.items():
        copy = tmp_path / name.replace(" ", "-")
        shutil.copytree(store, copy)
        asking.ask(copy, stops=True)
        asking.walk(until)
        os.kill(asking.children[0], signal.SIGKILL)
        assert asking.ended() == [-signal.SIGKILL]
        with opened(None, at=copy) as services:
            kept[name] = services.store.counts().summaries
            found[name] = explain(services, PAIR["user"], PAIR["item"]).model_dump_json(exclude={"seconds"})
    assert found == dict.fromkeys(KILLS, undisturbed)
    assert kept["before anything"] == 0
    assert 0 < kept["some summaries kept"] <= 8
    assert {kept[name] for name in list(KILLS)[3:]} == {8}


def test_processes_at_one_store_all_answer(asking: Asking, store: Path, undisturbed: str):
    outs = asking.ask(store, store, store)
    assert asking.ended() == [0, 0, 0]
    assert [out.read_text() for out in outs] == [undisturbed] * 3
    assert Explanation.model_validate_json(undisturbed[:-1] + ',"seconds":{}}').evidence
