"""The registry after a kill at any step, and with several processes at it."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from whylike.adapters.registry.identity import CARD, CONFIG, PARTS, WEIGHTS, fingerprint
from whylike.adapters.registry.registry import PARTIAL, Registry
from whylike.memory.store import Store
from whylike.records import Expert
from whylike.settings import Settings

Run = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def nursery() -> Iterator[subprocess.Popen[str]]:
    program = Path(__file__).with_name("registry_nursery.py")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(program)], **pipes) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def run(nursery: subprocess.Popen[str], tmp_path: Path) -> Run:
    """Runs jobs in processes of their own, which begin together; what each found, or how it was killed."""
    numbers = count()

    def run(*jobs: dict[str, Any]) -> list[Any]:
        told = [{"by": "ann", "out": tmp_path / f"out-{next(numbers)}", **job} for job in jobs]
        nursery.stdin.write(json.dumps(told, default=str) + "\n")
        nursery.stdin.flush()
        ends = json.loads(nursery.stdout.readline())
        assert 99 not in ends
        return [json.loads(job["out"].read_text()) if end == 0 else end for job, end in zip(told, ends, strict=True)]

    return run


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a folder to add; the jobs look at no contents."""

    def made(weights: str) -> Path:
        folder = tmp_path / f"source-{weights}"
        folder.mkdir()
        (folder / CONFIG).write_text('{"r": 1, "rank_pattern": {}}')
        (folder / WEIGHTS).write_text(weights)
        return folder

    return made


@pytest.fixture
def begun(run: Run, source: Callable[[str], Path], tmp_path: Path) -> tuple[Path, list[str]]:
    """A store with two adapters, of which the first is live."""
    store = tmp_path / "begun"
    [made] = run({"store": store, "do": [("add", source("one")), ("add", source("two"))]})
    run({"store": store, "do": [("promote", made["results"][0])]})
    return store, made["results"]


def look(store: Path) -> tuple[dict[str, str], str | None]:
    """The adapters that are in the registry, with their hashes, and what is live; fails where one is not whole."""
    settings = Settings(store=store, engine="scripted")
    with Store.open(settings) as opened:
        registry = Registry(settings, opened, store / "none-shipped")
        versions = {entry.card.version: entry.card.content_hash for entry in registry.entries()}
        for version, content in versions.items():
            folder = registry.folder / version
            assert {path.name for path in folder.iterdir()} == {*PARTS, CARD}
            assert fingerprint(folder) == content
        if registry.folder.exists():
            # A kill may leave the version's folder without its card in SQL: whole, and taken on by the next add.
            for folder in registry.folder.iterdir():
                if folder.name != PARTIAL:
                    assert folder.name == f"reasoner-{fingerprint(folder)[:8]}"
        live = registry.live().get(Expert.REASONER)
        return versions, live.version if live else None


def test_an_add_that_is_killed_leaves_it_out_or_in_and_completes_when_run_again(
    run: Run, begun: tuple[Path, list[str]], source: Callable[[str], Path], tmp_path: Path
) -> None:
    store, _ = begun
    job = {"do": [("add", source("three"))]}
    undisturbed = shutil.copytree(store, tmp_path / "undisturbed")
    [done] = run(job | {"store": undisturbed})
    before, wanted = look(store), look(undisturbed)
    assert len(wanted[0]) == len(before[0]) + 1
    steps = done["steps"]
    assert steps > 10
    found = set()
    for step in range(1, steps + 1):
        killed = shutil.copytree(store, tmp_path / f"killed-{step}")
        assert run(job | {"store": killed, "dies_at": step}) == [-signal.SIGKILL]
        left = look(killed)
        assert left in (before, wanted)
        found.add((len(left[0]), sum(1 for _ in (killed / "adapters").iterdir())))
        assert run(job | {"store": killed})[0]["results"] == done["results"]
        assert look(killed) == wanted
        assert not (killed / "adapters" / PARTIAL).exists()
    assert {(2, 2), (2, 3)} <= found, "before anything, and with something half or unnoted"


@pytest.mark.parametrize("what", ["promote", "roll back"])
def test_a_move_that_is_killed_has_happened_or_not(
    run: Run, begun: tuple[Path, list[str]], tmp_path: Path, what: str
) -> None:
    store, (first, second) = begun
    job = {"do": [("promote", second)] if what == "promote" else [("roll back",)]}
    after = second if what == "promote" else None
    undisturbed = shutil.copytree(store, tmp_path / "undisturbed")
    [done] = run(job | {"store": undisturbed})
    assert look(undisturbed)[1] == after
    found = []
    for step in range(1, done["steps"] + 1):
        killed = shutil.copytree(store, tmp_path / f"killed-{step}")
        assert run(job | {"store": killed, "dies_at": step}) == [-signal.SIGKILL]
        live = look(killed)[1]
        assert live in {first, after}
        found.append(live)
        if live != after:
            run(job | {"store": killed})
        assert look(killed)[1] == after
    assert found[0] == first


def test_processes_that_promote_and_roll_back_at_once_leave_one_history(
    run: Run, begun: tuple[Path, list[str]]
) -> None:
    """Each move is one of a chain: it tells what was live before it, and a rollback goes to what its promotion left."""
    store, versions = begun
    chance = random.Random(0)
    jobs = [
        {
            "store": store,
            "by": f"process-{number}",
            "do": [chance.choice([*(("promote", version) for version in versions), ("roll back",)]) for _ in range(25)],
        }
        for number in range(3)
    ]
    told = run(*jobs)
    settings = Settings(store=store, engine="scripted")
    with Store.open(settings) as opened:
        history = opened.promotions(Expert.REASONER)
        stack: list[str | None] = [None]
        mine: dict[str, list[tuple[str, str | None]]] = {job["by"]: [] for job in jobs}
        for move in history:
            before = stack[-1]
            if move.kind == "promote":
                assert move.version != before
                stack.append(move.version)
            else:
                stack.pop()
                assert move.version == stack[-1]
            if move.promoted_by in mine:
                mine[move.promoted_by].append((move.kind, before if move.kind == "promote" else move.version))
        assert opened.live_versions() == {Expert.REASONER: stack[-1]}
    for job, result in zip(jobs, told, strict=True):
        said = [
            ("promote" if what == "promote" else "rollback", answer)
            for (what, *args), answer in zip(job["do"], result["results"], strict=True)
            if answer != "nothing" and not (what == "promote" and answer == args[0])
        ]
        assert said == mine[job["by"]]
    assert sum(len(moves) for moves in mine.values()) > 30


def test_processes_that_add_the_same_adapter_at_once_agree(
    run: Run, source: Callable[[str], Path], tmp_path: Path
) -> None:
    store, folder = tmp_path / "store", source("one")
    told = run(*[{"store": store, "do": [("add", folder), ("add", source(f"own-{n}"))]} for n in range(3)])
    assert len({each["results"][0] for each in told}) == 1
    assert len(look(store)[0]) == 4
