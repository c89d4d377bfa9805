"""A process that imports what is slow once and forks a child for each job of `test_kills.py` and `test_stores.py`.

It reads jobs from standard input and answers on standard output, each a line of JSON:
`{"start": {...}}` gives the child's process id, `{"wait": PID}` how that child ended (as `os.waitstatus_to_exitcode`).

A job that is to be killed names the step, `doomed_at`, at which its child says so on the pipe `events`: a statement or
the commit of a transaction that writes, or a file of the store being opened, renamed or removed. Where the job `holds`,
that thread of the child stops there; else the child goes on, so that the kill comes at a random place soon after.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import sys
import threading
import traceback
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import chromadb
import chromadb.api.rust  # imported by every client otherwise
import numpy as np
from chromadb.config import Settings as ChromaSettings
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, create_engine, event

import whylike.cli
from whylike.graph import forgetting, services
from whylike.graph.conversation import Conversation
from whylike.graph.forgetting import forget, forgotten_before
from whylike.graph.pair import Services, explain
from whylike.memory.chroma import FOLDER
from whylike.memory.embeddings import Embedder
from whylike.memory.ingest import ingest
from whylike.memory.schema import Collection
from whylike.memory.store import Store
from whylike.settings import Settings, load

NOW = 2_000_000_000
"""When a conversation takes place."""
NOBODY = 65534
"""The user that may write nowhere."""
FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "shutil.rmtree", "sqlite3.connect"}

Job = dict[str, Any]


class Hashed(Embedder):
    """Vectors by a hash of the words: texts that share words are close, and no model is loaded."""

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        sums = np.array(
            [np.sum([_direction(word) for word in f"{text.lower()} ".split(" ")], axis=0) for text in texts]
        )
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


@cache
def _direction(word: str) -> NDArray[np.float64]:
    return np.random.default_rng(zlib.crc32(word.encode())).standard_normal(Hashed.dimension)


class Steps:
    """Counts the steps of a child."""

    def __init__(self, job: Job) -> None:
        self._numbers = itertools.count(1)
        self._doomed_at, self._events, self._store = job.get("doomed_at"), job.get("events"), job["store"]
        self._holds = job.get("holds", False)
        self.last = 0
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", self._commit)
        sys.addaudithook(self._audit)

    def _step(self) -> None:
        self.last = next(self._numbers)
        if self.last == self._doomed_at:
            self.tell()
            if self._holds:
                threading.Event().wait()

    def tell(self) -> None:
        os.write(self._events, b"now\n")

    def _audit(self, name: str, args: tuple[object, ...]) -> None:
        if name in FILE_EVENTS and str(args[0]).startswith(self._store) and not str(args[0]).endswith(".lock"):
            self._step()

    def _statement(self, connection: Connection, cursor: object, statement: str, *_: object) -> None:
        if statement != "BEGIN" and not statement.startswith(("SELECT", "SET", "SHOW")):
            connection.info["writes"] = True
            self._step()

    def _commit(self, connection: Connection) -> None:
        if connection.info.pop("writes", False):
            self._step()


def where(job: Job) -> Settings:
    return load({"store": job["store"], "database_url": job.get("database_url")})


def run_ingest(job: Job) -> object:
    with Store.open(where(job)) as store:
        report = ingest(store, Path(job["file"]), items_file=Path(job["items"]), batch=job["batch"])
    return report.model_dump(mode="json")


def run_explain(job: Job) -> object:
    with Services.open(where(job)) as opened:
        answer = explain(opened, job["user"], job["item"], as_of=job["as_of"])
    return answer.model_dump(mode="json", exclude={"seconds"})


def run_forget(job: Job) -> object:
    settings = where(job)
    with Store.open(settings) as store:
        done = forget if store.has_user(job["user"]) else forgotten_before
        return done(settings, store, job["user"]).model_dump(mode="json")


def run_index(job: Job) -> object:
    """All that is in the index, by collection (without what is special to this store in its name) and id."""
    client = chromadb.PersistentClient(Path(job["store"]) / FOLDER, settings=ChromaSettings(anonymized_telemetry=False))
    found = {}
    for collection in client.list_collections():
        held = collection.get(include=["embeddings", "documents", "metadatas"])
        vectors = np.round(np.asarray(held["embeddings"], dtype=np.float64), 4).tolist()
        rows = zip(held["ids"], vectors, held["documents"], held["metadatas"], strict=True)
        found[collection.name.rpartition("-")[0]] = {id_: rest for id_, *rest in rows}
    return found


def run_cli(job: Job) -> object:
    """The command line as a user who may not write everywhere, and with room for `file_size` bytes a file."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{job['out']}.{name}", os.O_WRONLY | os.O_CREAT, 0o600), number)
    if "file_size" in job:
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_size"], job["file_size"]))
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os.environ["WHYLIKE_STORE"] = job["store"]
    if "database_url" in job:
        os.environ["WHYLIKE_DATABASE_URL"] = job["database_url"]
    sys.argv = ["whylike", *job["args"]]
    whylike.cli.main()
    raise SystemExit(0)


def run_chat(job: Job) -> object:
    """Turns of a session, each of which goes on where a killed one was; what the session and the store then hold."""
    with Services.open(where(job)) as made:
        made.index.sync(kinds=tuple(Collection))
        opened = replace(made, now=lambda: NOW)
        with Conversation.open(opened, job["session"], job["user"], lambda user_id: f"{user_id} is gone") as talk:
            if talk.broken_off:
                list(talk.go_on())
            for turn in job["turns"]:
                list(talk.say(turn))
            kept = opened.store
            return {
                "lines": talk.state.get("lines", []),
                "question": talk.question,
                "preferences": [(each.attitude, each.about) for each in kept.preferences(job["user"])],
                "reviews": [
                    (each.item_id, each.rating, each.text)
                    for each in kept.user_reviews(job["user"], 100)
                    if each.timestamp == NOW
                ],
            }


RUN: dict[str, Callable[[Job], object]] = {
    "ingest": run_ingest,
    "explain": run_explain,
    "forget": run_forget,
    "index": run_index,
    "cli": run_cli,
    "chat": run_chat,
}


def child(job: Job) -> int:
    """Do a job in a fresh process; its exit status."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # standard output is the nursery's
    try:
        steps = Steps(job)
        result = RUN[job["run"]](job)
        if "doomed_at" in job:
            steps.tell()
            signal.pause()
        Path(job["out"]).write_text(json.dumps({"result": result, "steps": steps.last}))
    except SystemExit as end:
        return int(end.code or 0)
    except BaseException:  # whatever it is, the test sees it
        traceback.print_exc()
        return 99
    return 0


def say(answer: object) -> None:
    sys.stdout.write(f"{answer}\n")
    sys.stdout.flush()


def main() -> None:
    """Answer until standard input ends."""
    services.Embedder = forgetting.Embedder = Hashed  # type: ignore[misc]
    create_engine("postgresql://")  # imports the driver, which nobody may not be able to read
    assert threading.active_count() == 1  # what forks must have no other thread, whose locks the child would inherit
    say("ready")
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                status = child(request["start"])
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
            say(pid)
        else:
            say(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]))


if __name__ == "__main__":
    main()
