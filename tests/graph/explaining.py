"""A process that imports what is slow once and forks a child for each question of `test_pair_processes.py`.

It reads questions from standard input, a list in JSON on a line. A child that `stops` says on standard output where it
is, at each event and around each request to the model, and waits there for a line on standard input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sentence_transformers  # noqa: F401 - imported at the first vector otherwise, for seconds

from whylike.adapters.engines.base import Weighed, Weighing, Writing, Written
from whylike.adapters.engines.scripted import ScriptedEngine
from whylike.graph.pair import Event, Services, explain
from whylike.settings import Settings

ONE = threading.Lock()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def stop(where: str) -> None:
    """Say where this child is, and wait."""
    with ONE:
        say(where)
        os.read(0, 1)


class Stopping(ScriptedEngine):
    """Says when it is asked and when it has answered."""

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        stop(f"asked {requests[0].expert}")
        answers = super().weigh(requests)
        stop(f"answered {requests[0].expert}")
        return answers

    def stream(self, request: Writing, on_text: Callable[[str], None]) -> Written:
        stop(f"asked {request.expert}")
        answer = super().stream(request, on_text)
        stop(f"answered {request.expert}")
        return answer


def answer(question: dict[str, Any]) -> None:
    stops = question["stops"]
    settings = Settings(store=Path(question["store"]), engine="scripted")

    def heard(event: Event) -> None:
        if stops:
            stop(f"event {event.node}")

    with Services.open(settings, engine=Stopping() if stops else ScriptedEngine()) as services:
        asked = replace(services, now=lambda: question["now"])
        explanation = explain(asked, question["user"], question["item"], on_event=heard)
    Path(question["out"]).write_text(explanation.model_dump_json(exclude={"seconds"}))


def main() -> None:
    say("ready")
    for line in iter(sys.stdin.buffer.raw.readline, b""):  # type: ignore[attr-defined]  # unbuffered: children read on
        questions = json.loads(line)
        children = []
        begin, wait = os.pipe()[::-1]
        for question in questions:
            child = os.fork()
            if child == 0:
                os.close(begin)
                os.read(wait, 1)  # until all are there
                try:
                    answer(question)
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(child)
        say(json.dumps(children))
        os.close(begin)
        os.close(wait)
        say(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))


if __name__ == "__main__":
    main()
