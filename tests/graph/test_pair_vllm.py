"""One pair on a real vLLM server, which is killed in the middle of the reason."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing

import pytest
from sqlalchemy import text

from whylike.adapters.engines.base import Weighed, Weighing, Writing, Written
from whylike.adapters.engines.vllm import VllmEngine
from whylike.errors import EngineError
from whylike.graph.pair import Event, Services, explain
from whylike.records import Expert

Opened = Callable[..., AbstractContextManager[Services]]

pytestmark = pytest.mark.model


class Recorded(VllmEngine):
    """Keeps which experts were asked. The Predictor alone has an adapter: trained on nothing, these write nonsense."""

    def __init__(self, vllm) -> None:
        super().__init__(vllm.settings, {Expert.PREDICTOR: vllm.adapters[Expert.PREDICTOR]})
        self.asked: set[Expert] = set()

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        self.asked |= {request.expert for request in requests}
        return super().weigh(requests)

    def stream(self, request: Writing, on_text: Callable[[str], None]) -> Written:
        self.asked.add(request.expert)
        return super().stream(request, on_text)


def kept(services: Services) -> list[str]:
    """What kinds of answers the store holds."""
    with services.store.database.read() as rows:
        return sorted(rows.execute(text("SELECT kind FROM answers")).scalars())


def test_a_server_killed_within_the_reason_costs_no_more_than_the_reason(packaged_vllm, opened: Opened):
    pid = packaged_vllm.up()
    pieces: list[str] = []
    killed = 0.0

    def kill(event: Event) -> None:
        nonlocal killed
        if event.text and not killed:
            pieces.append(event.text)
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)

    try:
        with closing(Recorded(packaged_vllm)) as engine, opened(engine) as services:
            with pytest.raises(EngineError, match=r"broke off in the middle.*run the same command again") as failure:
                explain(services, "ann", "ice", on_event=kill)
            assert time.monotonic() - killed < packaged_vllm.settings.vllm_deadline
            assert "\n" not in str(failure.value)
            assert len(pieces) == 1
            assert kept(services) == []
            summaries = services.store.counts().summaries
            assert summaries == 8
            with pytest.raises(EngineError, match="cannot be reached"):
                explain(services, "ann", "ice")
    finally:
        assert packaged_vllm.up() != pid
    with closing(Recorded(packaged_vllm)) as engine, opened(engine) as services:
        explanation = explain(services, "ann", "ice")
        assert kept(services) == ["readout", "reason"]
        assert services.store.counts().summaries == summaries
    assert engine.asked == {Expert.REASONER, Expert.PREDICTOR}
    assert explanation.engine == "vllm"
    assert explanation.adapters["reasoner"] == engine.adapter_version(Expert.REASONER)
    assert explanation.reason
    assert explanation.reason.text.endswith(".")
