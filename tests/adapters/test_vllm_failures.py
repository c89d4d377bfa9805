"""The vLLM engine where the server does not do what it should: a fake one, since a real one does not fail on demand."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from whylike.adapters.engines import vllm_client
from whylike.adapters.engines.base import Adapter, Prompt, Weighing, Writing
from whylike.adapters.engines.vllm import Tools, VllmEngine, served_name
from whylike.errors import EngineError
from whylike.records import Expert
from whylike.settings import Settings

GOOD, SOUND = 9173, 2736
"""Two tokens, whatever they say."""
DEADLINE = 0.5
"""Seconds that the engine of these tests waits for a server that says nothing."""
LATER = 3
"""The same of one that says something, for which a busy machine may take a while."""


def choice(tokens: list[int], finish: str | None = "stop") -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": "", "token_ids": tokens, "finish_reason": finish}]}


class Reply:
    """What the fake server does with one request."""

    def __init__(self, body: Any = None, status: int = 200, *, headers: dict[str, str] | None = None) -> None:
        self.content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status = status
        self.headers = headers or {}

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(self.status)
        for name, value in ({"Content-Length": str(len(self.content))} | self.headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.content)


class Events:
    """A stream of parts; without an end the connection just closes."""

    def __init__(self, *parts: dict[str, Any] | str, end: bool = True) -> None:
        self.parts = [part if isinstance(part, str) else json.dumps(part) for part in parts]
        self.end = end

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        for part in [*self.parts, *(["[DONE]"] if self.end else [])]:
            handler.wfile.write(f"data: {part}\n\n".encode())


class Fake(ThreadingHTTPServer):
    """A server whose answers to completions are given beforehand; after them it answers well."""

    daemon_threads = True

    def __init__(self, base: str) -> None:
        self.replies: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.asked: list[dict[str, Any]] = []
        self.models = [{"id": base, "parent": None, "max_model_len": 512}]
        self.looks = 0
        self.looking: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.loading: Callable[[BaseHTTPRequestHandler], None] | None = None
        self.loaded: list[dict[str, str]] = []
        self.release = threading.Event()
        self.reached = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hang(self, handler: BaseHTTPRequestHandler) -> None:
        """Say nothing until the test is over."""
        self.reached.set()
        self.release.wait(60)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has gone away is no matter."""


class Handler(BaseHTTPRequestHandler):
    server: Fake
    protocol_version = "HTTP/1.1"

    def log_message(self, *said: object) -> None:
        pass

    def do_GET(self) -> None:
        assert self.path == "/v1/models"
        self.server.looks += 1
        if self.server.looking:
            self.server.looking(self)
            return
        Reply({"data": self.server.models})(self)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/v1/load_lora_adapter":
            self.server.loaded.append(body)
            if self.server.loading:
                self.server.loading(self)
                return
            self.server.models.append({"id": body["lora_name"], "parent": "base", "max_model_len": None})
            Reply(b"Success")(self)
            return
        assert self.path == "/v1/completions"
        self.server.asked.append(body)
        if self.server.replies:
            self.server.replies.pop(0)(self)
        elif body["model"] not in {model["id"] for model in self.server.models}:
            Reply({"error": {"message": f"The model `{body['model']}` does not exist."}}, 404)(self)
        else:
            Reply(choice([GOOD, SOUND]))(self)


@pytest.fixture(scope="module")
def tools(tiny: Path) -> Tools:
    return VllmEngine(Settings(model=str(tiny)))._loaded()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, tools: Tools) -> None:
    """Tries again without pauses; all engines share one tokenizer, whose loading takes seconds."""
    monkeypatch.setattr(vllm_client, "PAUSE", 0)
    monkeypatch.setattr(VllmEngine, "_loaded", lambda engine: tools)


@pytest.fixture
def fake(tiny: Path) -> Iterator[Fake]:
    server = Fake(served_name(str(tiny)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def open_on(tiny: Path) -> Iterator[Callable[..., VllmEngine]]:
    """Opens engines on a URL."""
    opened = []

    def engine(url: str, deadline: float = 30, adapters: dict[Expert, Adapter] | None = None) -> VllmEngine:
        opened.append(VllmEngine(Settings(model=str(tiny), vllm_url=url, vllm_deadline=deadline), adapters))
        return opened[-1]

    yield engine
    for each in opened:
        each.close()


@pytest.fixture
def asking(prompt: Callable[..., Prompt]) -> Writing:
    return Writing(expert=Expert.SUMMARIZER, prompt=prompt("Good sound."), max_tokens=8)


def test_it_answers(fake: Fake, open_on, asking: Writing):
    engine = open_on(fake.url)
    (answer,) = engine.write([asking])
    assert (answer.tokens, answer.finish, answer.adapter_version) == (2, "stop", f"base:{fake.models[0]['id']}")
    assert answer.prompt_tokens == len(fake.asked[0]["prompt"])


def test_a_server_that_hangs_is_given_up_at_the_deadline(fake: Fake, open_on, asking: Writing):
    fake.replies = [fake.hang] * 3
    with pytest.raises(EngineError, match=r"has not answered for 0\.5 seconds.*vllm_deadline"):
        open_on(fake.url, DEADLINE).write([asking, asking, asking])


def test_a_server_that_hangs_from_the_beginning_is_given_up_by_all_at_once(fake: Fake, open_on, asking: Writing):
    fake.looking = fake.hang
    engine = open_on(fake.url, DEADLINE)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(engine.write, [asking]) for _ in range(4)]
    assert all("has not answered" in str(call.exception()) for call in calls)
    assert fake.looks == 1


def test_a_stream_that_hangs_is_given_up_at_the_deadline(fake: Fake, open_on, asking: Writing):
    def begun(handler: BaseHTTPRequestHandler) -> None:
        Events(choice([GOOD], None), end=False)(handler)
        handler.wfile.flush()
        fake.hang(handler)

    fake.replies = [begun]
    pieces: list[str] = []
    with pytest.raises(EngineError, match=r"has not answered for 3 seconds"):
        open_on(fake.url, LATER).stream(asking, pieces.append)
    assert len(pieces) == 1


def test_a_busy_server_is_asked_again(fake: Fake, open_on, asking: Writing):
    fake.replies = [Reply({}, 429), Reply({}, 503)] * vllm_client.ATTEMPTS
    open_on(fake.url).write([asking])
    assert len(fake.asked) == 2 * vllm_client.ATTEMPTS + 1


def test_the_pause_that_a_busy_server_asks_for_is_made(fake: Fake, open_on, asking: Writing):
    fake.replies = [Reply({"error": {"message": "too many"}}, 429, headers={"Retry-After": "3600"})]
    with pytest.raises(EngineError, match=r"has not answered for 3 seconds.*is busy \(429 too many\)"):
        open_on(fake.url, LATER).write([asking])
    assert len(fake.asked) == 1


@pytest.mark.parametrize("status", [500, 502, 504])
def test_a_failure_that_passes_is_not_noticed(fake: Fake, open_on, asking: Writing, status: int):
    fake.replies = [Reply({}, status)] * (vllm_client.ATTEMPTS - 1)
    (answer,) = open_on(fake.url).write([asking])
    assert answer.tokens == 2


def test_a_failure_that_stays_is_told_with_its_words(fake: Fake, open_on, asking: Writing):
    fake.replies = [Reply({"error": {"message": "CUDA is\nsad"}}, 500)] * 99
    with pytest.raises(EngineError, match=r"failed \(500 CUDA is\); see its log"):
        open_on(fake.url).write([asking])
    assert len(fake.asked) == vllm_client.ATTEMPTS


@pytest.mark.parametrize("status", [400, 401, 422])
def test_a_refusal_is_told_at_once(fake: Fake, open_on, asking: Writing, status: int):
    fake.replies = [Reply({"error": {"message": "no"}}, status)] * 2
    with pytest.raises(EngineError, match=rf"\({status} no\)"):
        open_on(fake.url).write([asking])
    assert len(fake.asked) == 1


@pytest.mark.parametrize("content", [b'{"choices": [{"tok', b"[]", b"<html>", b'{"choices": []}'])
def test_an_answer_that_is_cut_or_is_none_of_vllms_is_told(fake: Fake, open_on, asking: Writing, content: bytes):
    fake.replies = [Reply(content)]
    with pytest.raises(EngineError, match=rf"{fake.url} is not like a vLLM server"):
        open_on(fake.url).write([asking])


@pytest.mark.parametrize("listed", [{"data": ["tiny"]}, {"data": [{}]}, {"models": []}])
def test_a_list_of_models_that_is_none_of_vllms_is_told(fake: Fake, open_on, asking: Writing, listed: object):
    fake.looking = Reply(listed)
    with pytest.raises(EngineError, match=rf"{fake.url} is not like a vLLM server \(no list of models\)"):
        open_on(fake.url).write([asking])


def test_a_stream_of_broken_json_is_told(fake: Fake, open_on, asking: Writing):
    fake.replies = [Events(choice([GOOD], None), '{"choices": [{"tok')]
    with pytest.raises(EngineError, match="broken JSON"):
        open_on(fake.url).stream(asking, lambda piece: None)


def test_a_body_that_breaks_off_is_asked_for_again(fake: Fake, open_on, asking: Writing):
    fake.replies = [Reply(b'{"cho', headers={"Content-Length": "100", "Connection": "close"})]
    (answer,) = open_on(fake.url).write([asking])
    assert answer.tokens == 2


@pytest.mark.parametrize(
    "broken",
    [
        Events(choice([GOOD], None), end=False),
        Events(choice([GOOD], None)),
        Events(choice([GOOD], None), {"error": {"message": "EngineDeadError"}}),
        Events(choice([GOOD], None), choice([], "abort")),
    ],
    ids=["closed", "done too early", "error", "abort"],
)
def test_a_stream_that_breaks_off_is_told_and_not_begun_again(fake: Fake, open_on, asking: Writing, broken: Events):
    fake.replies = [broken]
    pieces: list[str] = []
    with pytest.raises(EngineError, match=r"broke off in the middle of an answer.*run the same command again"):
        open_on(fake.url).stream(asking, pieces.append)
    assert len(pieces) == 1
    assert len(fake.asked) == 1


def test_a_stream_that_breaks_off_before_its_first_word_is_begun_again(fake: Fake, open_on, asking: Writing):
    fake.replies = [Events(end=False), Events(choice([GOOD, SOUND]))]
    pieces: list[str] = []
    answer = open_on(fake.url).stream(asking, pieces.append)
    assert "".join(pieces) == answer.text


def test_nobody_at_the_url(open_on, asking: Writing):
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(EngineError, match=rf"{url} cannot be reached .*`whylike vllm up`.*vllm_url"):
        open_on(url).write([asking])


def test_another_model_at_the_url(fake: Fake, open_on, asking: Writing):
    fake.models[0]["id"] = "llama"
    with pytest.raises(EngineError, match=r"runs llama and not tiny"):
        open_on(fake.url).write([asking])


def test_an_adapter_that_is_missing_is_loaded_once(fake: Fake, open_on, asking: Writing, adapters):
    engine = open_on(fake.url, adapters=adapters)
    answers = engine.write([asking] * 3)
    version = engine.adapter_version(Expert.SUMMARIZER)
    assert {answer.adapter_version for answer in answers} == {version}
    assert fake.loaded == [{"lora_name": version, "lora_path": str(adapters[Expert.SUMMARIZER].folder.resolve())}]
    assert [asked["model"] for asked in fake.asked] == [version] * 3


def test_an_adapter_that_the_server_does_not_see(fake: Fake, open_on, asking: Writing, adapters):
    fake.loading = Reply({"error": {"message": "No adapter found"}}, 404)
    with pytest.raises(EngineError, match=r"does not have the adapter summarizer-\w{8} and did not load it.*404 No ad"):
        open_on(fake.url, adapters=adapters).write([asking])
    assert not fake.asked


def test_an_adapter_at_which_the_server_fails_is_not_tried_again(fake: Fake, open_on, asking: Writing, adapters):
    fake.loading = Reply({"error": {"message": "header too large"}}, 500)
    with pytest.raises(EngineError, match=r"did not load it .*500 header too large"):
        open_on(fake.url, adapters=adapters).write([asking])
    assert len(fake.loaded) == 1


def test_an_adapter_that_another_process_has_just_loaded(fake: Fake, open_on, asking: Writing, adapters):
    engine = open_on(fake.url, adapters=adapters)

    def raced(handler: BaseHTTPRequestHandler) -> None:
        fake.models.append({"id": engine.adapter_version(Expert.SUMMARIZER), "parent": "base", "max_model_len": None})
        Reply({"error": {"message": "The lora adapter 'x' has already been loaded."}}, 400)(handler)

    fake.loading = raced
    assert engine.write([asking])[0].tokens == 2


def test_a_server_that_has_forgotten_its_adapters_loads_them_again(fake: Fake, open_on, asking: Writing, adapters):
    engine = open_on(fake.url, adapters=adapters)
    engine.write([asking])
    del fake.models[1:]
    assert engine.write([asking])[0].tokens == 2
    assert len(fake.loaded) == 2


def test_an_adapter_that_stays_unknown_is_told(fake: Fake, open_on, asking: Writing, adapters):
    fake.loading = Reply(b"Success")
    with pytest.raises(EngineError, match=r"does not know what was asked for \(404 The model `summarizer-\w{8}`"):
        open_on(fake.url, adapters=adapters).write([asking])


def test_a_server_without_log_probabilities_of_tokens(fake: Fake, open_on, prompt):
    with pytest.raises(EngineError, match=r"vLLM 0\.32 or newer"):
        open_on(fake.url).weigh([Weighing(expert=Expert.PREDICTOR, prompt=prompt("Good."), labels=("1", "2"))])


def test_one_failure_ends_the_others_of_its_call(fake: Fake, open_on, asking: Writing):
    fake.replies = [Reply({}, 400), fake.hang]
    with pytest.raises(EngineError, match="400"):
        open_on(fake.url, 3600).write([asking, asking])


def test_closing_ends_what_is_under_way(fake: Fake, open_on, asking: Writing):
    fake.replies = [fake.hang]
    engine = open_on(fake.url, 3600)
    closer = threading.Thread(target=lambda: fake.reached.wait(30) and engine.close())
    closer.start()
    with pytest.raises(EngineError, match="closed before it had answered"):
        engine.write([asking])
    closer.join()


def test_a_listener_that_raises_ends_the_request(fake: Fake, open_on, asking: Writing):
    gone = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        try:
            while not fake.release.wait(0.01):
                Events(choice([GOOD], None), end=False)(handler)
                handler.wfile.flush()
        except OSError:
            gone.set()

    def listener(piece: str) -> None:
        raise KeyError(piece)

    fake.replies = [endless]
    with pytest.raises(KeyError):
        open_on(fake.url).stream(asking.model_copy(update={"max_tokens": 400}), listener)
    assert gone.wait(30), "the server writes to nobody"


def test_a_prompt_longer_than_the_context_is_refused_with_both_lengths(fake: Fake, open_on, prompt):
    with pytest.raises(EngineError, match=r"has \d{3,} tokens and the base model takes at most 512"):
        open_on(fake.url).write([Writing(expert=Expert.REASONER, prompt=prompt("word " * 600), max_tokens=1)])


def test_no_more_is_asked_for_than_the_context_holds(fake: Fake, open_on, prompt):
    open_on(fake.url).write([Writing(expert=Expert.REASONER, prompt=prompt("word " * 100), max_tokens=2000)])
    assert len(fake.asked[0]["prompt"]) + fake.asked[0]["max_tokens"] == 512
