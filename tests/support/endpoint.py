"""A small OpenAI-compatible server, which gives the answers that a test wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]
"""Status and body."""


class Endpoint(ThreadingHTTPServer):
    """Gives `answers` in turn, or where there are none what `answer` makes of a request; `asked` has what came."""

    def __init__(self, answer: Callable[[Any], Answer] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str | None, Any]] = []

    @property
    def url(self) -> str:
        """What `teacher_base_url` is set to."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers.get("authorization"), body))
        make = self.server.answer
        status, answer = make(body) if make and not self.server.answers else self.server.answers.pop(0)
        told = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def said(text: str, finish: str = "stop") -> Answer:
    """What a model wrote."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return 200, {"id": "1", "object": "chat.completion", "created": 1, "model": "big", "choices": [choice]}


@contextmanager
def opened(answer: Callable[[Any], Answer] | None = None) -> Iterator[Endpoint]:
    """The server, running."""
    with Endpoint(answer) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()
