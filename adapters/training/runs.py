"""Trainings that are under way, or were broken off: where they are, and which of them must not go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from whylike.memory.store import Store

FOLDER = "training"
"""Where in the store's folder runs are, each in a folder of its own, which goes when the run is done."""


def unfinished(work: Path) -> list[Path]:
    """Where trainings of the same expert have been broken off, the latest last; none where this one goes on."""
    if work.exists():
        return []
    expert = work.name.partition("-")[0]
    kept = {}
    for checkpoint in work.parent.glob(f"{expert}-*/checkpoints/checkpoint-*"):
        folder = checkpoint.parents[1]
        with suppress(Timeout, OSError), FileLock(folder.with_suffix(".lock"), timeout=0):  # or it runs, or is done
            kept[folder] = checkpoint.stat().st_mtime
    return sorted(kept, key=lambda folder: kept[folder])


def drop_spoilt(store: Store) -> None:
    """Remove trainings that were broken off and had learned from users who have since been forgotten.

    One that runs just now finds out by itself, before its adapter is added.
    """
    folders = [path.name for path in (store.folder / FOLDER).glob("*") if path.is_dir()]
    drop_trainings(store, store.spoilt(folders))


def drop_trainings(store: Store, names: Iterable[str]) -> None:
    """Remove those of the trainings that were broken off."""
    folders = {path.name: path for path in (store.folder / FOLDER).glob("*") if path.is_dir()}
    for name in folders.keys() & names:
        with suppress(Timeout), FileLock(folders[name].with_suffix(".lock"), timeout=0):
            shutil.rmtree(folders[name])
            store.drop_learning(name)
