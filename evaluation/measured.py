"""Engines opened for measuring, each with its own adapters; a vLLM server is started for it and ended with it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Mapping
from contextlib import closing, contextmanager

from whylike.adapters.engines import open_engine
from whylike.adapters.engines.base import Adapter, Engine
from whylike.evaluation.ingest_child import peak_mib
from whylike.records import Expert
from whylike.settings import Settings

REFERENCE = "reference"


def measurable(settings: Settings) -> tuple[str, ...]:
    """What can be measured here, by the setting `engine`: the reference first, and vLLM where its environment is."""
    from whylike.adapters.serving import installed  # noqa: PLC0415 - httpx is not needed otherwise

    return (REFERENCE, "local", *(("vllm",) if installed(settings.vllm_env) else ()))


@contextmanager
def opened(settings: Settings, adapters: Mapping[Expert, Adapter]) -> Generator[tuple[Engine, Callable[[], float]]]:
    """The engine that `settings` name, with these adapters, and what tells the most memory that it has taken, MiB.

    Raises `EngineError` where a vLLM server does not start.
    """
    if settings.engine != "vllm":
        with closing(open_engine(settings, adapters)) as engine:
            yield engine, peak_mib
        return
    from whylike.adapters import server, serving  # noqa: PLC0415 - as above

    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = settings.model_copy(update={"vllm_url": f"http://127.0.0.1:{port}"})
    server.up(own, serving.launch(own, adapters))
    try:
        with closing(open_engine(own, adapters)) as engine:
            yield engine, lambda: float(server.status(own).memory_mib or 0)
    finally:
        server.down(own)
