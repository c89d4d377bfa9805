"""The local engine: a base model and its adapters in this process, whatever computes them.

On a CPU that is OpenVINO, with each adapter merged into a model of its own; on a GPU, and where it is asked for as the
`reference`, transformers and PEFT. One thread owns the model. Requests from any number of threads wait in a queue and
are answered in batches.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import torch

from whylike.adapters.engines.base import OnText, Weighed, Weighing, Writing, Written
from whylike.adapters.engines.decoding import Job, Runner
from whylike.adapters.engines.forward import BASE, Model
from whylike.adapters.engines.model import Base, base_version, device, find_base, fingerprint, quiet
from whylike.errors import EngineError
from whylike.records import Expert
from whylike.settings import Settings

log = logging.getLogger(__name__)

GATHER = 0.005
"""Seconds that an idle engine waits for requests that other threads are about to make, to answer them together."""


class LocalEngine:
    """Runs the experts on this machine. The model is loaded at the first request, on the engine's own thread."""

    def __init__(
        self, settings: Settings, adapters: Mapping[Expert, Path] | None = None, *, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        """`adapters`: the LoRA folder of each expert that has one; `dtype`: what torch computes in.

        With fp32, OpenVINO's weights are kept in fp32 too, for tests that compare.

        Raises `EngineError` where a folder holds no adapter.
        """
        self._settings = settings
        self._adapters = dict(adapters or {})
        self._dtype = dtype
        self._base_version = base_version(settings.model)
        self._versions = {expert: f"{expert}-{fingerprint(folder)[:8]}" for expert, folder in self._adapters.items()}
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> Literal["local", "reference"]:
        """`local`, or `reference` where it was asked for."""
        return "reference" if self._settings.engine == "reference" else "local"

    def adapter_version(self, expert: Expert) -> str:
        """`<expert>-<first 8 hex digits of the adapter's hash>`, or `base:<model>` where it has no adapter."""
        return self._versions.get(expert, self._base_version)

    def write(self, requests: Sequence[Writing]) -> list[Written]:
        """One text for each request, in order.

        Raises `EngineError` for the first request that failed, the model that does not load, or a closed engine.
        """
        return self._answers([Job(request) for request in requests])

    def weigh(self, requests: Sequence[Weighing]) -> list[Weighed]:
        """The label probabilities for each request, in order.

        Raises `EngineError` as `write` does, and for a label that is not a single token.
        """
        return self._answers([Job(request) for request in requests])

    def stream(self, request: Writing, on_text: OnText) -> Written:
        """As `write`, telling `on_text` each piece, on the caller's thread; what it raises ends the request."""
        pieces: SimpleQueue[str | None] = SimpleQueue()
        job = Job(request, tell=pieces.put)
        job.answer.add_done_callback(lambda _: pieces.put(None))
        try:
            self._enqueue([job])
            while (piece := pieces.get()) is not None:
                on_text(piece)
            answer: Written = job.answer.result()
            return answer
        finally:
            job.abandoned = True

    def close(self) -> None:
        """End the thread and free the model; requests that wait or run get an `EngineError`."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
            atexit.unregister(self.close)

    def _answers(self, jobs: list[Job]) -> list[Any]:
        try:
            self._enqueue(sorted(jobs, key=_length))  # rows of like length share a batch: less padding
            return [job.answer.result() for job in jobs]
        finally:
            for job in jobs:
                job.abandoned = True

    def _enqueue(self, jobs: list[Job]) -> None:
        with self._changed:
            if self._closed.is_set():
                raise EngineError("the engine is closed; open a new one")
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="whylike-engine", daemon=True)
                self._thread.start()
                atexit.register(self.close)  # a thread inside torch while Python ends aborts the process
            self._waiting += jobs
            self._changed.notify_all()

    def _work(self) -> None:
        """What the thread does: batch after batch, until the engine is closed."""
        runner: Runner | None = None
        while batch := self._next_batch():
            try:
                runner = runner or self._load()
            except Exception as error:
                for job in batch:
                    job.fail(error)
            else:
                runner.run(batch, self._closed)
        for job in self._waiting:
            job.fail(EngineError("the engine was closed before it had answered"))

    def _next_batch(self) -> list[Job]:
        """The job that waits longest and others with it, its own expert's first; none once the engine is closed."""
        with self._changed:
            while True:
                idle = not self._waiting
                self._changed.wait_for(lambda: self._waiting or self._closed.is_set())
                if idle:
                    self._changed.wait_for(
                        lambda: len(self._waiting) >= self._settings.batch or self._closed.is_set(), GATHER
                    )
                if self._closed.is_set():
                    return []
                waiting = [job for job in self._waiting if not job.abandoned]
                # Rows of one adapter are computed together, so a batch of one expert is faster than a mixed one.
                ranked = sorted(waiting, key=lambda job: job.request.expert != waiting[0].request.expert)
                batch = ranked[: self._settings.batch]
                self._waiting = [job for job in waiting if job not in batch]
                if batch:
                    return batch

    def _load(self) -> Runner:
        base = find_base(self._settings)
        versions = {
            expert: (expert.value if expert in self._adapters else BASE, self.adapter_version(expert))
            for expert in Expert
        }
        return Runner(self._model(base), base.tokenizer, base.ends, versions)

    def _model(self, base: Base) -> Model:
        target = device(self._settings.device)
        folders = {expert.value: folder for expert, folder in self._adapters.items()}
        with quiet():
            if target.type == "cpu" and self._settings.engine != "reference":
                from whylike.adapters.engines.graphs import Graphs, UnfitError  # noqa: PLC0415 - not for a GPU

                try:
                    graphs = Graphs(base, folders, self._settings.cache, exact=self._dtype == torch.float32)
                    return graphs.model()
                except UnfitError as error:
                    log.warning("%s; transformers runs it, which is slower", error)
            from whylike.adapters.engines.lora import Adapters  # noqa: PLC0415 - seconds, and it warns
            from whylike.adapters.engines.torch_model import TorchModel  # noqa: PLC0415

            model = base.load(self._dtype, target)
            return TorchModel(model, Adapters(model, folders) if folders else None)


def _length(job: Job) -> int:
    return sum(len(message.content) for message in job.request.prompt.messages)
