"""Answers a batch of requests with one model: prompts in at once, then a token a row and step until all are finished.

The loop is our own rather than a library's `generate`: rows differ in adapter, grammar, temperature, seed, stop strings
and length, finished rows leave the batch, beginnings are reused, and what a grammar forces is not asked for token by
token. What computes the scores is behind `forward.Model`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Literal

import torch
from transformers import PreTrainedTokenizerFast

from whylike.adapters.engines.base import Adapter, Weighed, Weighing, Writing, Written
from whylike.adapters.engines.forward import BASE, Batch, Model, Prefix, Prefixes
from whylike.adapters.engines.grammar import Grammars, Guide
from whylike.adapters.engines.rendering import Renderer
from whylike.adapters.engines.text import Text
from whylike.errors import EngineError

KEPT_TOKENS = 8192
"""Most tokens of shared beginnings whose keys and values are kept (46 kB each on the packaged model in fp32)."""


Finish = Literal["stop", "length"]


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the engine."""

    request: Writing | Weighing
    adapter: Adapter | None = None
    """What answers it, settled when it came; None is the base model."""
    tell: Callable[[str], None] | None = None
    """Told each piece of text as soon as it is certain; must not raise."""
    answer: Future[Any] = field(default_factory=Future)
    """Written or Weighed, or an `EngineError`."""
    abandoned: bool = False
    """Set when nobody waits for the answer any more."""

    def fail(self, error: Exception) -> None:
        """Answer with an error."""
        self.answer.set_exception(failure(error))


def failure(error: Exception) -> EngineError:
    """An error of its own for each that waits; what is not an `EngineError` yet says where it came from."""
    told = EngineError(str(error) if isinstance(error, EngineError) else f"the local engine failed: {error}")
    told.__cause__ = error
    return told


@dataclass(slots=True)
class Row:
    """One request in a batch."""

    job: Job
    adapter: str
    version: str
    ids: tuple[int, ...]
    shared: int
    limit: int = 0
    """Most tokens that it may write: what was asked for, or what the model's context leaves."""
    labels: tuple[int, ...] = ()
    guide: Guide | None = None
    temperature: float = 0.0
    random: torch.Generator | None = None
    text: Text = field(default_factory=lambda: Text(()))
    written: int = 0
    pending: list[int] = field(default_factory=list)
    """Tokens of the row that the model has not been shown yet."""


class Runner:
    """One model with its adapters, for use by one thread."""

    def __init__(
        self,
        model: Model,
        tokenizer: PreTrainedTokenizerFast,
        eos: Collection[int],
        base_version: str,
    ) -> None:
        """`eos`: the tokens that end a text; `base_version`: what answers without an adapter are signed with."""
        self._model = model
        self._base_version = base_version
        self._renderer = Renderer(tokenizer)
        self._ends = self._renderer.special.union(eos)
        self._grammars = Grammars(tokenizer, model.vocabulary, sorted(eos))
        self._prefixes = Prefixes(KEPT_TOKENS)

    @property
    def loaded(self) -> frozenset[str]:
        """The versions of the adapters that are in the model."""
        return self._model.loaded

    def load(self, adapters: Iterable[Adapter]) -> None:
        """Put those adapters into the model that are not in it yet: all, or where one does not load, none.

        Raises `EngineError` for the first that does not load.
        """
        before = self.loaded
        try:
            for adapter in adapters:
                self._model.load(adapter)
        except Exception:
            self.keep(before)
            raise

    def keep(self, versions: Collection[str]) -> None:
        """Take all other adapters, and what they computed, out of memory."""
        for version in self.loaded.difference(versions):
            self._model.unload(version)
            self._prefixes.forget(version)

    def run(self, jobs: Sequence[Job], closed: Event) -> None:
        """Answer every job: with a record, or with an `EngineError` where it, or the batch as a whole, fails.

        A job that is abandoned is left without an answer. `closed` ends the batch at the next token.
        """
        rows = []
        for job in jobs:
            try:
                row = self._row(job)
                if finish := self._force(row):
                    job.answer.set_result(self._ended(row, finish))
                else:
                    rows.append(row)
            except Exception as error:
                job.fail(error)
        try:
            if rows:
                with torch.inference_mode():
                    self._decode(rows, closed)
        except Exception as error:
            for job in jobs:
                if not job.answer.done():
                    job.fail(error)

    def _row(self, job: Job) -> Row:
        """What is known of a request before the model runs. Raises `EngineError` where it cannot be answered."""
        request = job.request
        rendered = self._renderer.render(request.prompt)
        length = len(rendered.ids)
        if length + isinstance(request, Writing) > self._model.context:
            raise EngineError(
                f"the prompt has {length} tokens and the base model takes at most {self._model.context}; "
                f"shorten the prompt"
            )
        adapter, version = (job.adapter.version,) * 2 if job.adapter else (BASE, self._base_version)
        if job.adapter:
            self.load([job.adapter])
        row = Row(job, adapter, version, rendered.ids, rendered.shared)
        row.pending = list(rendered.ids[rendered.shared :])
        if isinstance(request, Weighing):
            row.labels = tuple(map(self._renderer.label, request.labels))
            return row
        row.limit = min(request.max_tokens, self._model.context - length)
        row.text = Text(request.stop)
        if request.grammar is not None:
            row.guide = self._grammars.guide(request.grammar)
        if request.temperature:
            row.temperature = request.temperature
            row.random = torch.Generator().manual_seed(request.seed % 2**63)
        return row

    def _decode(self, rows: list[Row], closed: Event) -> None:
        """Prompts, then tokens, until every row is finished. `rows` is used up."""
        prefixes = [self._prefix(row) for row in rows]
        room = max(len(row.ids) - row.shared + row.limit for row in rows)
        batch = self._model.batch([row.adapter for row in rows], prefixes, room)
        while True:
            scores = self._forward(rows, [row.pending for row in rows], batch)
            finished = [self._finished(row, score) for row, score in zip(rows, scores, strict=True)]
            if all(finished):
                return
            if closed.is_set():
                raise EngineError("the engine was closed before it had answered")
            for index in reversed(range(len(rows))):
                if finished[index]:
                    batch.drop(index)
                    rows[index] = rows[-1]
                    rows.pop()

    def _prefix(self, row: Row) -> Prefix | None:
        """What the model keeps of the row's shared beginning, computed where it is not kept."""
        if not row.shared:
            return None
        ids = row.ids[: row.shared]
        prefix = self._prefixes.get(row.adapter, ids)
        if prefix is None:
            batch = self._model.batch([row.adapter], [None], row.shared)
            self._forward([row], [ids], batch)
            prefix = batch.first()
            self._prefixes.keep(row.adapter, ids, prefix)
        return prefix

    def _forward(self, rows: Sequence[Row], tokens: Sequence[Sequence[int]], batch: Batch) -> torch.Tensor:
        """Scores for the token after the last of each row's next `tokens`: [rows, vocabulary], fp32, on the CPU."""
        return batch.forward(tokens)

    def _finished(self, row: Row, scores: torch.Tensor) -> bool:
        """Take the scores of a row's next token; whether it has its answer now, or needs none any more."""
        if row.job.abandoned:
            return True
        try:
            answer = self._weighed(row, scores) if row.labels else self._written(row, scores)
        except Exception as error:
            row.job.fail(error)
            return True
        if answer is not None:
            row.job.answer.set_result(answer)
        return answer is not None

    def _weighed(self, row: Row, scores: torch.Tensor) -> Weighed:
        probabilities = scores[list(row.labels)].double().softmax(0)
        return Weighed(probabilities=tuple(probabilities.tolist()), adapter_version=row.version)

    def _written(self, row: Row, scores: torch.Tensor) -> Written | None:
        """Choose a token and add it to the row's text, and those that must follow; the answer if that was its end."""
        if row.guide:
            row.guide.mask(scores)
        row.pending = []
        finish = self._add(row, _choose(scores, row.temperature, row.random)) or self._force(row)
        return self._ended(row, finish) if finish else None

    def _force(self, row: Row) -> Finish | None:
        """Add the tokens that the grammar leaves no choice about: the model is shown them, not asked for them."""
        for token in row.guide.forced() if row.guide else []:
            if finish := self._add(row, token):
                return finish
        return None

    def _add(self, row: Row, token: int) -> Finish | None:
        """Add a token to the row's text and tell what is certain; why the text ends there, if it does."""
        if token in self._ends:
            return "stop"
        row.written += 1
        row.pending.append(token)
        if row.guide:
            row.guide.accept(token)
        if row.text.add(self._grammars.tokenizer.decode_bytes([token])) or (row.guide and row.guide.finished):
            return "stop"
        if row.written == row.limit:
            return "length"
        if row.job.tell and (piece := row.text.news()):
            row.job.tell(piece)
        return None

    def _ended(self, row: Row, finish: Finish) -> Written:
        """The answer of a row whose text has come to its end; what was not told yet is told."""
        row.text.add(b"", final=True)
        if row.job.tell and (piece := row.text.news(final=True)):
            row.job.tell(piece)
        return Written(
            text=row.text.text,
            adapter_version=row.version,
            finish=finish,
            prompt_tokens=len(row.ids),
            tokens=row.written,
        )


def _choose(scores: torch.Tensor, temperature: float, random: torch.Generator | None) -> int:
    """The best token, or one drawn with the row's own generator."""
    if random is None:
        return int(scores.argmax())
    chances = ((scores - scores.max()) / temperature).softmax(0)
    return int(torch.multinomial(chances, 1, generator=random))
