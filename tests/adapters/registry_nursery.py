"""A process that forks a child for each job of `test_registry_processes.py`.

It reads jobs from standard input, a list in JSON on a line, whose children begin together, and answers with the list of
how they ended. A job that `dies_at` a step kills itself there, as -9 does: a step is a statement or commit of a
transaction that writes, or a file of the store being opened, renamed or removed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from whylike.adapters.registry import registry as registries
from whylike.adapters.registry.identity import CONFIG
from whylike.adapters.registry.registry import Registry
from whylike.errors import UsageError
from whylike.memory.store import Store
from whylike.records import Expert, Provenance
from whylike.settings import Settings

FILE_EVENTS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "shutil.copyfile"}

Job = dict[str, Any]


class Steps:
    """Counts the steps of a child, and ends it at one."""

    def __init__(self, job: Job) -> None:
        self._numbers = itertools.count(1)
        self._dies_at, self._store = job.get("dies_at"), job["store"]
        self.last = 0
        event.listen(Engine, "before_cursor_execute", self._statement)
        event.listen(Engine, "commit", self._commit)
        sys.addaudithook(self._audit)

    def _step(self) -> None:
        self.last = next(self._numbers)
        if self.last == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _audit(self, name: str, args: tuple[object, ...]) -> None:
        if name in FILE_EVENTS and any(str(arg).startswith(self._store) for arg in args):
            self._step()

    def _statement(self, connection: Connection, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("BEGIN"):
            connection.info["writes"] = statement == "BEGIN IMMEDIATE"
        if connection.info["writes"] and not statement.startswith("SELECT"):
            self._step()

    def _commit(self, connection: Connection) -> None:
        if connection.info["writes"]:
            self._step()


def run(job: Job) -> object:
    settings = Settings(store=Path(job["store"]), engine="scripted")
    with Store.open(settings) as store:
        registry = Registry(settings, store, Path(job["store"]) / "none-shipped")
        steps = Steps(job)
        results: list[object] = []
        for what, *args in job["do"]:
            match what:
                case "add":
                    told = Provenance(expert=Expert.REASONER, created_at=1, command="test")
                    results.append(registry.add(Path(args[0]), told))
                case "promote":
                    results.append(registry.promote(args[0], job["by"]).before)
                case "roll back":
                    try:
                        results.append(registry.roll_back(Expert.REASONER, job["by"]).now)
                    except UsageError:  # another has gone all the way back
                        results.append("nothing")
    return {"steps": steps.last, "results": results}


def child(job: Job, begin: int) -> int:
    try:
        os.read(begin, 1)
        Path(job["out"]).write_text(json.dumps(run(job)))
    except BaseException:  # whatever it is, the test sees it
        traceback.print_exc()
        return 99
    return 0


def main() -> None:
    # What the base model has to do with it needs seconds to import, and has tests of its own.
    registries.base_fingerprint = lambda settings: "base"
    registries.check_contents = lambda folder, source, settings: json.loads((folder / CONFIG).read_text())
    for line in sys.stdin:
        begin, wait = os.pipe()
        children = []
        for job in json.loads(line):
            pid = os.fork()
            if pid == 0:
                os.close(wait)
                os._exit(child(job, begin))
            children.append(pid)
        os.close(begin)
        os.close(wait)
        ends = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
        sys.stdout.write(f"{json.dumps(ends)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
