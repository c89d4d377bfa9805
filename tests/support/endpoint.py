"""A small OpenAI-compatible server, which gives the answers that a test wants, or fails as it wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

HANGS = 0
"""The status of an answer that never comes."""
DRIPS = 1
"""That of one that comes in so small pieces that it never ends, though it never pauses for long."""


class Raw(NamedTuple):
    """What is sent as it is."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = {}


Answer = tuple[int, Any] | Raw
"""Status and body, which is sent as JSON."""


class Server(ThreadingHTTPServer):
    """Gives `answers` in turn, or where there are none what `answer` makes of a request; `asked` has what came."""

    def __init__(self, answer: Callable[[Any], Answer] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str | None, Any]] = []
        self.left = threading.Event()
        """Set once somebody did not wait for the end of an answer that never ends."""
        self.ends = threading.Event()
        """Lets those go that hang."""

    @property
    def url(self) -> str:
        """What `teacher_base_url` is set to."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: object) -> None:
        """Say nothing of who hung up."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers.get("authorization"), body))
        make = self.server.answer
        answer = make(body) if make and not self.server.answers else self.server.answers.pop(0)
        if answer[0] == HANGS:
            self.server.ends.wait()
            return
        if answer[0] == DRIPS:
            self._drip()
            return
        raw = answer if isinstance(answer, Raw) else Raw(answer[0], json.dumps(answer[1]).encode())
        self._begin(raw.status, raw.headers, len(raw.body))
        self.wfile.write(raw.body)

    def _begin(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(length))
        self.end_headers()

    def _drip(self) -> None:
        self._begin(200, {}, 10**9)
        try:
            while not self.server.ends.wait(0.01):
                self.wfile.write(b" ")
        except OSError:
            self.server.left.set()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def said(text: str, finish: str = "stop", usage: Any = None) -> Answer:
    """What a model wrote; `usage` as the server has it, if it has it."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    told = {"id": "1", "object": "chat.completion", "created": 1, "model": "big", "choices": [choice]}
    return 200, told if usage is None else told | {"usage": usage}


@contextmanager
def opened(answer: Callable[[Any], Answer] | None = None) -> Iterator[Server]:
    """The server, running."""
    with Server(answer) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.ends.set()
            made.shutdown()
            thread.join()
