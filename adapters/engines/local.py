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
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Literal

import torch

from whylike.adapters.engines.base import Adapter, OnText, Weighed, Weighing, Writing, Written
from whylike.adapters.engines.decoding import Job, Runner, failure
from whylike.adapters.engines.forward import Model
from whylike.adapters.engines.model import Base, base_version, device, find_base, quiet
from whylike.errors import EngineError
from whylike.records import Expert
from whylike.settings import Settings

log = logging.getLogger(__name__)

GATHER = 0.005
"""Seconds that an idle engine waits for requests that other threads are about to make, to answer them together."""


@dataclass(slots=True, eq=False)
class Adoption:
    """Adapters that are to answer from now on."""

    adapters: dict[Expert, Adapter]
    done: Future[None] = field(default_factory=Future)


class LocalEngine:
    """Runs the experts on this machine. The model is loaded at the first request, on the engine's own thread."""

    def __init__(
        self,
        settings: Settings,
        adapters: Mapping[Expert, Adapter] | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        """`adapters`: of each expert that has one; `dtype`: what torch computes in, None for what is best here.

        With fp32, OpenVINO's weights are kept in fp32 too, for tests that compare.
        """
        self._settings = settings
        self._adapters = dict(adapters or {})
        self._dtype = dtype
        self._base_version = base_version(settings.model)
        self._waiting: list[Job] = []
        self._adoptions: list[Adoption] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> Literal["local", "reference"]:
        """`local`, or `reference` where it was asked for."""
        return "reference" if self._settings.engine == "reference" else "local"

    def adapter_version(self, expert: Expert) -> str:
        """The version of the expert's adapter, or `base:<model>` where it has none."""
        adapter = self._adapters.get(expert)
        return adapter.version if adapter else self._base_version

    def adopt(self, adapters: Mapping[Expert, Adapter]) -> None:
        """Have these adapters answer the requests that begin afterwards; it waits until they are loaded.

        Raises `EngineError` where one of them, or the model, does not load, and on a closed engine.
        """
        adoption = Adoption(dict(adapters))
        with self._changed:
            self._start()
            self._adoptions.append(adoption)
            self._changed.notify_all()
        adoption.done.result()

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
            self._start()
            for job in jobs:
                job.adapter = self._adapters.get(job.request.expert)
            self._waiting += jobs
            self._changed.notify_all()

    def _start(self) -> None:
        """Start the thread where there is none yet; the caller holds the lock. Raises on a closed engine."""
        if self._closed.is_set():
            raise EngineError("the engine is closed; open a new one")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="whylike-engine", daemon=True)
            self._thread.start()
            atexit.register(self.close)  # a thread inside torch while Python ends aborts the process

    def _work(self) -> None:
        """What the thread does: batch after batch, and adoptions between them, until the engine is closed."""
        runner: Runner | None = None
        while (work := self._next()) is not None:
            try:
                runner = runner or self._load()
            except Exception as error:
                self._fail(work, error)
            else:
                if isinstance(work, Adoption):
                    self._take_on(work, runner)
                else:
                    runner.run(work, self._closed)
                runner.keep(self._needed())
        closed = EngineError("the engine was closed before it had answered")
        self._fail(self._waiting, closed)
        for adoption in self._adoptions:
            self._fail(adoption, closed)

    def _load(self) -> Runner:
        base = find_base(self._settings)
        return Runner(self._model(base), base.tokenizer, base.ends, self._base_version)

    def _model(self, base: Base) -> Model:
        target = device(self._settings.device)
        if target.type == "cpu" and self._settings.engine != "reference":
            with quiet():
                from whylike.adapters.engines.graphs import Graphs, UnfitError  # noqa: PLC0415 - not for a GPU

                try:
                    return Graphs(base, self._settings.cache, exact=self._dtype == torch.float32).model()
                except UnfitError as error:
                    log.warning("%s; transformers runs it, which is slower", error)
        from whylike.adapters.engines.torch_model import TorchModel  # noqa: PLC0415 - not with OpenVINO

        return TorchModel(base.load(self._dtype, target))

    def _take_on(self, adoption: Adoption, runner: Runner) -> None:
        """Load the adapters, and then let them answer what comes."""
        try:
            runner.load(adoption.adapters.values())
        except Exception as error:
            self._fail(adoption, error)
        else:
            with self._changed:
                self._adapters = adoption.adapters
            adoption.done.set_result(None)

    def _needed(self) -> set[str]:
        """The versions that answer now, and those by which requests that wait are to be answered."""
        with self._changed:
            adapters = [*self._adapters.values(), *(job.adapter for job in self._waiting if job.adapter)]
        return {adapter.version for adapter in adapters}

    def _fail(self, work: Sequence[Job] | Adoption, error: Exception) -> None:
        if isinstance(work, Adoption):
            work.done.set_exception(failure(error))
        else:
            for job in work:
                job.fail(error)

    def _next(self) -> list[Job] | Adoption | None:
        """What is to be done next; None once the engine is closed.

        An adoption; else the job that waits longest and others with it, its own expert's first.
        """
        with self._changed:
            while True:
                idle = not self._waiting
                self._changed.wait_for(lambda: self._waiting or self._adoptions or self._closed.is_set())
                if idle and not self._adoptions:
                    self._changed.wait_for(
                        lambda: len(self._waiting) >= self._settings.batch or self._closed.is_set(), GATHER
                    )
                if self._closed.is_set():
                    return None
                if self._adoptions:
                    return self._adoptions.pop(0)
                waiting = [job for job in self._waiting if not job.abandoned]
                # Rows of one adapter are computed together, so a batch of one expert is faster than a mixed one.
                ranked = sorted(waiting, key=lambda job: job.request.expert != waiting[0].request.expert)
                batch = ranked[: self._settings.batch]
                self._waiting = [job for job in waiting if job not in batch]
                if batch:
                    return batch


def _length(job: Job) -> int:
    return sum(len(message.content) for message in job.request.prompt.messages)
