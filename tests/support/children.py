"""Children that do the work of `robustness/nursery.py`, a corpus for them, and all that a store holds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, inspect

from whylike.memory.connection import FILE

BATCH = 10
GOOD = 9
"""Rows of each batch that can be taken; the last of the ten is bad."""
ROWS = 12 * BATCH
AS_OF = 2_000_000_000
EXPLAIN = {"run": "explain", "user": "u1", "item": "i2", "as_of": AS_OF}
KEPT = {
    "users": "user_id",
    "items": "item_id, title, description, categories",
    "reviews": "review_id, user_id, item_id, rating, title, text, timestamp, helpful",
    "rating_totals": "day, count, total",
    "review_summaries": "review_id, adapter_version, likes, dislikes, preferences",
    "profiles": "side, subject_id, adapter_version, source, likes, dislikes, average, as_of",
    "answers": "key, kind, user_id, item_id, body",
    "outbox": "collection, subject, variant",
    "meta": "name, value",
}
"""What a store holds, without the times and numbers that differ from run to run."""
OWN = {"store", "index", "key of marks"}
"""Single values that are made up anew for each store."""

State = dict[str, set[tuple[Any, ...]]]


def write_corpus(folder: Path, name: str, seed: int, first: int = 1_600_000_000) -> dict[str, Any]:
    """Files of reviews and items, and the job that ingests them."""
    chance = random.Random(seed)
    words = [
        "warm",
        "slow",
        "cheap",
        "loud",
        "bright",
        "sound",
        "voice",
        "plot",
        "strings",
        "cover",
        "ending",
        "rhythm",
    ]
    rows = [
        {
            "user_id": f"u{number % 7}",
            "item_id": f"i{number % 5}" if number % BATCH < GOOD else "",
            "rating": chance.randint(1, 5),
            "title": " ".join(chance.sample(words, 2)),
            "text": ". ".join(f"The {' '.join(chance.sample(words, 4))}" for _ in range(3)),
            "timestamp": first + chance.randrange(100) * 86_400 + number,
        }
        for number in range(ROWS)
    ]
    items = [{"item_id": f"i{number}", "title": f"Thing {number}", "description": words[number]} for number in range(5)]
    for path, lines in ((f"{name}.jsonl", rows), ("items.jsonl", items)):
        (folder / path).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return {"run": "ingest", "file": folder / f"{name}.jsonl", "items": folder / "items.jsonl", "batch": BATCH}


def state(store: Path, database_url: str | None = None) -> State:
    """All that the store holds; what is not there yet holds nothing. Fails where the database is damaged."""
    store.mkdir(exist_ok=True)
    engine = create_engine(database_url or f"sqlite:///{store / FILE}", poolclass=NullPool)
    with engine.connect() as database:
        if database_url is None:
            assert database.exec_driver_sql("PRAGMA integrity_check").all() == [("ok",)]
            assert database.exec_driver_sql("PRAGMA foreign_key_check").all() == []
        tables = inspect(database).get_table_names()
        found = {
            table: [tuple(row) for row in database.exec_driver_sql(f"SELECT {columns} FROM {table}")]
            if table in tables
            else []
            for table, columns in KEPT.items()
        }
    assert all(len(rows) == len(set(rows)) for table, rows in found.items() if table != "outbox")
    found["meta"] = [row for row in found["meta"] if row[0] not in OWN]
    return {table: set(rows) for table, rows in found.items()}


def open_to_all(folder: Path) -> None:
    """Let everybody read and write a folder and all that is in it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)


class Nursery:
    """Starts children and tells how they end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._outs = count()
        self._events, tell = os.pipe()
        self._tell = tell
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parents[1] / "robustness" / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[tell],
            env=os.environ | one_thread | {"WHYLIKE_ENGINE": "scripted", "WHYLIKE_CACHE": str(folder / "cache")},
        )
        assert self._process.stdout.readline() == "ready\n"

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        os.close(self._events)
        os.close(self._tell)

    def _asks(self, request: dict[str, Any]) -> int:
        self._process.stdin.write(json.dumps(request, default=str) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def start(self, job: dict[str, Any]) -> tuple[int, Path]:
        """Start a child: its id, and where its result will be."""
        out = self._folder / f"out-{next(self._outs)}"
        return self._asks({"start": job | {"out": out, "events": self._tell}}), out

    def finish(self, started: tuple[int, Path]) -> dict[str, Any]:
        """Wait for a child that must succeed: its result."""
        pid, out = started
        assert self._asks({"wait": pid}) == 0
        return json.loads(out.read_text())

    def run(self, **job: Any) -> dict[str, Any]:
        return self.finish(self.start(job))

    def kill(self, step: int, *, holds: bool, **job: Any) -> None:
        """Start a child and kill it once it says that it is at this step; `holds`: at this very step."""
        pid, _ = self.start(job | {"doomed_at": step, "holds": holds})
        assert os.read(self._events, 4) == b"now\n"
        os.kill(pid, signal.SIGKILL)
        assert self._asks({"wait": pid}) == -signal.SIGKILL
        os.set_blocking(self._events, False)
        try:  # A child that came to its end in the meantime has said so a second time.
            os.read(self._events, 4)
        except BlockingIOError:
            pass
        finally:
            os.set_blocking(self._events, True)

    def cli(self, store: Path, *args: str | Path, **job: Any) -> tuple[int, str, str]:
        """The command line: status, standard output, standard error."""
        pid, out = self.start({"run": "cli", "args": args, "store": store} | job)
        status = self._asks({"wait": pid})
        return status, Path(f"{out}.stdout").read_text(), Path(f"{out}.stderr").read_text()
