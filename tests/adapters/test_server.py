"""The life of a server: what is started here answers like one at once, and can be told to behave badly."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from whylike.adapters import server
from whylike.adapters.server import Server, ServerError
from whylike.adapters.serving import Launch
from whylike.errors import EngineError
from whylike.settings import Settings

PROGRAM = """
import json, signal, subprocess, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

port, mode = int(sys.argv[1]), sys.argv[2]
child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
print("child", child.pid, flush=True)
if mode == "dies":
    child.kill()
    sys.exit("out of luck\\x1b[31m\\nno weights")
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
METRICS = '''# HELP vllm:prefix_cache_hits_total hits
vllm:prefix_cache_queries_total{engine="0"} 300.0
vllm:prefix_cache_queries_total{engine="1"} 100.0
vllm:prefix_cache_hits_total{engine="0"} 100.0
vllm:prefix_cache_hits_created{engine="0"} 1.7e+09
'''
MODELS = {"data": [{"id": "tiny", "parent": None}, {"id": "reasoner-1", "parent": "tiny"}]}

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        told = {"/health": "", "/v1/models": json.dumps(MODELS), "/metrics": METRICS}[self.path]
        self.send_response(503 if mode == "ill" else 200)
        self.end_headers()
        self.wfile.write(told.encode())

HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture
def url() -> str:
    """A URL of this machine where nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def settings(tmp_path: Path, url: str) -> Iterator[Settings]:
    made = Settings(cache=tmp_path / "cache", vllm_url=url)
    yield made
    server.down(made)


@pytest.fixture
def program(tmp_path: Path, url: str) -> Callable[..., Launch]:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)

    def launch(mode: str = "good", base: str = "tiny") -> Launch:
        port = url.rpartition(":")[2]
        return Launch(url=url, base=base, argv=(sys.executable, str(script), port, mode), variables={})

    return launch


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "EVERY", 0.01)
    monkeypatch.setattr(server, "GRACE", 2.0)


def file(settings: Settings) -> Path:
    return settings.cache / "vllm" / "server.json"


def child(settings: Settings) -> int:
    """The id of the process that the server started."""
    (line,) = [
        line for line in (settings.cache / "vllm" / "server.log").read_text().splitlines() if line.startswith("child")
    ]
    return int(line.split()[1])


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_server_from_its_start_to_its_end(settings: Settings, program: Callable[..., Launch]):
    told: list[None] = []
    started = server.up(settings, program(), lambda: told.append(None))
    assert told
    below = child(settings)
    found = server.status(settings)
    assert (found.healthy, found.pid, found.base, found.adapters) == (True, started.pid, ["tiny"], ["reasoner-1"])
    assert found.cache
    assert (found.cache.prompt_tokens, found.cache.found_tokens, found.cache.rate) == (400, 100, 0.25)
    assert found.memory_mib
    assert os.getsid(started.pid) != os.getsid(0), "what ends this session does not reach it"
    assert server.down(settings) == started
    assert gone(below)
    assert started.process() is None
    assert not file(settings).exists()
    ended = server.status(settings)
    assert (ended.healthy, ended.pid, ended.url, ended.base) == (False, None, settings.vllm_url, [])
    assert server.down(settings) is None


def test_a_server_that_runs_is_left_as_it_is(settings: Settings, program: Callable[..., Launch]):
    assert server.up(settings, program()) == server.up(settings, program())


def test_two_that_start_it_at_once_get_one(settings: Settings, program: Callable[..., Launch]):
    with ThreadPoolExecutor(3) as pool:
        started = list(pool.map(lambda _: server.up(settings, program()), range(3)))
    assert len({each.pid for each in started}) == 1


def test_a_server_of_another_model_is_not_taken_for_it(settings: Settings, program: Callable[..., Launch]):
    server.up(settings, program())
    with pytest.raises(EngineError, match=r"server for tiny runs already at http.*`whylike vllm down`"):
        server.up(settings, program(base="llama"))
    assert server.status(settings).healthy


def test_a_server_that_ends_while_it_starts(settings: Settings, program: Callable[..., Launch]):
    with pytest.raises(ServerError, match=r"ended while it was starting.*server\.log") as failure:
        server.up(settings, program("dies"))
    assert failure.value.log[-1] == "no weights"
    assert not file(settings).exists()


def test_a_server_that_does_not_become_healthy_is_ended(
    settings: Settings, program: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "PATIENCE", 1.0)
    with pytest.raises(ServerError, match="not healthy after 1 seconds"):
        server.up(settings, program("ill"))
    assert gone(child(settings))
    assert not file(settings).exists()


def test_an_interrupted_start_leaves_nothing(settings: Settings, program: Callable[..., Launch]):
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        server.up(settings, program(), interrupt)
    assert not file(settings).exists()
    server.up(settings, program())  # the port is free again


def test_a_server_that_will_not_end_is_killed(
    settings: Settings, program: Callable[..., Launch], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(server, "GRACE", 0.2)
    started = server.up(settings, program("stubborn"))
    below = child(settings)
    server.down(settings)
    assert gone(below)
    assert started.process() is None


def test_what_a_killed_server_leaves_behind_is_ended(settings: Settings, program: Callable[..., Launch]):
    started = server.up(settings, program())
    below = child(settings)
    os.kill(started.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(started.pid)], timeout=10)
    assert not gone(below)
    assert not server.status(settings).healthy
    again = server.up(settings, program())
    assert gone(below)
    assert again.pid != started.pid


def test_a_number_that_has_gone_to_another_process_is_left_alone(
    settings: Settings, program: Callable[..., Launch], tmp_path: Path
):
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True) as other:
        stale = Server(pid=other.pid, created=1.0, url="http://127.0.0.1:1", base="tiny", log=tmp_path / "log")
        file(settings).parent.mkdir(parents=True)
        file(settings).write_text(stale.model_dump_json())
        assert server.status(settings).pid is None
        started = server.up(settings, program())
        assert started.pid != other.pid
        file(settings).write_text(stale.model_dump_json())
        assert server.down(settings) is None
        assert other.poll() is None
        other.kill()
        file(settings).write_text(started.model_dump_json())
        assert server.down(settings) == started


def test_a_file_that_is_none_of_ours_is_no_server(settings: Settings, program: Callable[..., Launch]):
    file(settings).parent.mkdir(parents=True)
    file(settings).write_text('{"pid": ')
    assert server.up(settings, program()).pid


def test_a_port_that_is_taken(settings: Settings, program: Callable[..., Launch], url: str):
    with socket.create_server(("127.0.0.1", int(url.rpartition(":")[2]))):
        with pytest.raises(EngineError, match=rf"{url} is taken .*vllm_url to another port"):
            server.up(settings, program())
        found = server.status(settings.model_copy(update={"vllm_url": "http://127.0.0.1:1"}))
    assert (found.healthy, found.pid) == (False, None)


def test_an_environment_that_does_not_start(settings: Settings, url: str, tmp_path: Path):
    launch = Launch(url=url, base="tiny", argv=(str(tmp_path / "no-python"),), variables={})
    with pytest.raises(EngineError, match=r"could not be started .*`make vllm-env`"):
        server.up(settings, launch)
