"""The life of the vLLM server on this machine: start it, see how it is, end it.

The server outlives the command that started it. What is known of it lies in a file in the cache folder; whether it is
still there is asked of the system, since a process id may by then be another's.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO

import httpx
import psutil
from filelock import FileLock
from pydantic import Field, ValidationError

from whylike.adapters.engines.vllm_client import loopback
from whylike.adapters.serving import Launch
from whylike.errors import EngineError
from whylike.records import Record
from whylike.settings import Settings

PATIENCE = 900.0
"""Seconds after which a server that has not become healthy is given up; a large model takes minutes to load."""
EVERY = 0.5
"""Seconds between two looks at a server that is starting."""
GRACE = 10.0
"""Seconds that a server has to end by itself."""
TAIL = 15
"""Lines of its log that are shown when it does not start."""
SAME = 2.0
"""Seconds that two readings of the moment when a process started may differ."""


class ServerError(EngineError):
    """The server did not start."""

    def __init__(self, message: str, log: list[str]) -> None:
        """`log`: its last lines, to be shown beside the message."""
        super().__init__(message)
        self.log = log


class Server(Record):
    """A server that was started from here."""

    pid: int
    created: float
    """When its process began, seconds since 1970."""
    url: str
    base: str
    log: Path

    def process(self) -> psutil.Process | None:
        """Its process; None where that has ended."""
        try:
            process = psutil.Process(self.pid)
            return process if _alive(process) and abs(process.create_time() - self.created) < SAME else None
        except psutil.NoSuchProcess:
            return None

    def processes(self) -> list[psutil.Process]:
        """All that is left of it: its session, which no other process gets into, and what came from it."""
        found: set[psutil.Process] = set()
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) >= SAME:
                return []  # the number has gone to another
            found |= {process, *process.children(recursive=True)}
        except psutil.NoSuchProcess:
            pass  # its session keeps the number from others as long as there is anything in it
        found |= {each for each in psutil.process_iter() if _session(each.pid) == self.pid}
        return [each for each in found if _alive(each)]


class Cache(Record):
    """How much of the prompts was found computed already."""

    prompt_tokens: int
    found_tokens: int
    rate: float = Field(description="Found tokens by prompt tokens, 0 to 1")


class ServerStatus(Record):
    """The document that `whylike vllm status --json` prints."""

    url: str
    healthy: bool
    base: list[str] = Field(description="What it serves the base model as")
    adapters: list[str] = Field(description="Names of the loaded adapters, with their versions")
    cache: Cache | None = Field(description="The prefix cache since the start; null where nothing was asked yet")
    pid: int | None = Field(description="null where it was not started from here, or has ended")
    created: int | None = Field(description="When it was started, seconds since 1970")
    memory_mib: int | None = Field(description="Of all its processes, with what they share counted once")
    log: str | None


def up(settings: Settings, launch: Launch, tell: Callable[[], None] = lambda: None) -> Server:
    """Start a server and wait until it is healthy; one that runs already is left as it is.

    Several processes may call it at once: one starts the server and the others wait for it.

    Args:
        settings: Where to keep what is known of it.
        launch: What to start.
        tell: Called now and then while it starts.

    Raises:
        EngineError: It did not start, another model's server runs, or the port is taken.
    """
    with _lock(settings):
        server = _known(settings)
        if server and server.process():
            if (server.url, server.base) != (launch.url, launch.base):
                raise EngineError(
                    f"a vLLM server for {server.base} runs already at {server.url}; stop it with `whylike vllm down`"
                )
            _wait(settings, server, None, tell)
            return server
        _stop(settings, server)
        _check_port(launch.url)
        log = _file(settings).with_suffix(".log")
        with log.open("wb") as file:
            started = _start(launch, log.parent, file)
        server = Server(
            pid=started.pid,
            created=psutil.Process(started.pid).create_time(),
            url=launch.url,
            base=launch.base,
            log=log,
        )
        try:
            _keep(settings, server)
            tell()
            _wait(settings, server, started, tell)
        except BaseException:
            _stop(settings, server)
            raise
        return server


def down(settings: Settings) -> Server | None:
    """End the server that was started from here, and all its processes; the one that ran, if one did."""
    server = _known(settings)
    there = server is not None and bool(server.processes())
    _end(server)  # also one that is starting, whose `up` holds the lock and then lets go
    with _lock(settings):
        _stop(settings, _known(settings))
    return server if there else None


def status(settings: Settings) -> ServerStatus:
    """What runs: the server started from here, or whichever is at the setting `vllm_url`."""
    server = _known(settings)
    process = server.process() if server else None
    known = server if process else None
    url = known.url if known else settings.vllm_url.rstrip("/")
    models: list[dict[str, object]] = []
    metrics = ""
    with _http(url) as http:
        healthy = _healthy(http)
        if healthy:
            try:
                models = list(http.get("/v1/models").json()["data"])
                metrics = http.get("/metrics").text
            except (httpx.HTTPError, ValueError, LookupError, TypeError):
                healthy = False
    return ServerStatus(
        url=url,
        healthy=healthy,
        base=[str(model["id"]) for model in models if not model.get("parent")],
        adapters=sorted(str(model["id"]) for model in models if model.get("parent")),
        cache=_cache(metrics),
        pid=known.pid if known else None,
        created=int(known.created) if known else None,
        memory_mib=_memory(known.processes()) if known else None,
        log=str(known.log) if known else None,
    )


def _start(launch: Launch, folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """The server's process, in a session of its own, so that nothing that happens to this one reaches it."""
    try:
        return subprocess.Popen(  # noqa: S603 - our own command, without a shell
            launch.argv,
            cwd=folder,
            env=os.environ | launch.variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise EngineError(
            f"the vLLM server could not be started ({error}); make its environment again: remove it, then run "
            f"`make vllm-env`"
        ) from error


def _wait(
    settings: Settings, server: Server, started: subprocess.Popen[bytes] | None, tell: Callable[[], None]
) -> None:
    """Wait until a server is healthy. Raises `ServerError` where it ends before, or takes too long."""
    until = time.monotonic() + PATIENCE
    with _http(server.url) as http:
        while not _healthy(http):
            tell()
            if started is not None:
                started.poll()  # or what has ended stays on as a zombie
            if server.process() is None:
                raise ServerError(
                    f"the vLLM server ended while it was starting; its last lines are above, all of them in "
                    f"{server.log}; mend what they complain of and run `whylike vllm up` again",
                    _last_lines(server.log),
                )
            if time.monotonic() > until:
                raise ServerError(
                    f"the vLLM server was not healthy after {PATIENCE:.0f} seconds and was stopped; its last lines "
                    f"are above, all of them in {server.log}",
                    _last_lines(server.log),
                )
            time.sleep(EVERY)


def _stop(settings: Settings, server: Server | None) -> None:
    """End whatever is left of a server, and forget it."""
    _end(server)
    _file(settings).unlink(missing_ok=True)


def _end(server: Server | None) -> None:
    """End all processes of a server: the first by asking, which ends the others, then what is left."""
    if server is None:
        return
    left = server.processes()
    if process := server.process():
        process.terminate()
        _await_end([process])
    left = [each for each in {*left, *server.processes()} if _alive(each)]
    for each in left:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    _await_end(left)


def _await_end(processes: list[psutil.Process]) -> None:
    """Wait for some seconds until these have ended."""
    until = time.monotonic() + GRACE
    while any(map(_alive, processes)) and time.monotonic() < until:
        time.sleep(EVERY / 10)


def _lock(settings: Settings) -> FileLock:
    folder = _file(settings).parent
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / "server.lock")


def _file(settings: Settings) -> Path:
    return settings.cache / "vllm" / "server.json"


def _keep(settings: Settings, server: Server) -> None:
    """Write down what is known of a server, all of it at once."""
    file = _file(settings)
    partial = file.with_suffix(".partial")
    partial.write_text(server.model_dump_json(), encoding="utf-8")
    partial.replace(file)


def _known(settings: Settings) -> Server | None:
    """The server that was started last and not ended with `down`; it may have ended by itself."""
    try:
        return Server.model_validate_json(_file(settings).read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError, ValidationError):  # what may not be read is another user's
        return None


def _check_port(url: str) -> None:
    """Raise `EngineError` where another program listens at `url`."""
    parsed = httpx.URL(url)
    family = socket.AF_INET6 if ":" in parsed.host else socket.AF_INET
    with closing(socket.socket(family)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((parsed.host, parsed.port or 80))
        except OSError as error:
            raise EngineError(
                f"{url} is taken ({error.strerror}): another program listens there; stop it, or set vllm_url to "
                f"another port of this machine, for example http://127.0.0.1:{(parsed.port or 80) + 1}"
            ) from error


def _http(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=5.0, trust_env=not loopback(url))


def _healthy(http: httpx.Client) -> bool:
    try:
        return http.get("/health").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _alive(process: psutil.Process) -> bool:
    """Whether it has not ended; one that has may stay on as a zombie until its parent looks."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _memory(processes: list[psutil.Process]) -> int:
    """MiB that the processes take."""
    total = 0
    for process in processes:
        try:
            told = process.memory_full_info()
            total += getattr(told, "pss", told.uss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total // 2**20


def _cache(metrics: str) -> Cache | None:
    def total(name: str) -> int:
        found = re.findall(rf"^vllm:{name}_total(?:{{[^}}]*}})? (\S+)$", metrics, re.MULTILINE)
        return int(sum(map(float, found)))

    asked, found = total("prefix_cache_queries"), total("prefix_cache_hits")
    return Cache(prompt_tokens=asked, found_tokens=found, rate=round(found / asked, 4)) if asked else None


def _last_lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
