"""Answers a batch of requests with one model: prompts in at once, then a token a row and step until all are finished.

The loop is our own rather than `model.generate`: rows differ in adapter, grammar, temperature, seed, stop strings and
length, finished rows leave the batch, and prefixes are reused; `generate` has no place for the last two.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from whylike.adapters.engines.base import Adapter, Weighed, Weighing, Writing, Written
from whylike.adapters.engines.grammar import Grammars, Guide
from whylike.adapters.engines.model import quiet
from whylike.adapters.engines.rendering import Renderer
from whylike.adapters.engines.slots import Prefix, Prefixes, Slots
from whylike.adapters.engines.text import Text
from whylike.errors import EngineError

if TYPE_CHECKING:
    from whylike.adapters.engines.lora import Adapters

BASE = "__base__"
"""What PEFT calls no adapter."""

KEPT_TOKENS = 8192
"""Most tokens of shared beginnings whose keys and values are kept (23 kB each on the packaged model)."""


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
    last: int = 0
    """The token written last."""


class Runner:
    """One model with its adapters, for use by one thread."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        base_version: str,
    ) -> None:
        """`base_version`: what answers without an adapter are signed with."""
        self._model = model
        self._base_version = base_version
        self._adapters: Adapters | None = None
        config = model.config.get_text_config()
        # Up to the window, sliding attention is full attention, which is what the masks below say.
        self._context = min(config.max_position_embeddings, getattr(config, "sliding_window", None) or 2**31)
        ends = model.generation_config.eos_token_id or []
        eos = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        self._renderer = Renderer(tokenizer)
        self._ends = eos | self._renderer.special
        self._grammars = Grammars(tokenizer, config.vocab_size, sorted(eos))
        self._prefixes = Prefixes(KEPT_TOKENS)

    @property
    def loaded(self) -> frozenset[str]:
        """The versions of the adapters that are in the model."""
        return self._adapters.loaded if self._adapters else frozenset()

    def load(self, adapters: Iterable[Adapter]) -> None:
        """Put those adapters into the model that are not in it yet: all, or where one does not load, none.

        Raises `EngineError` for the first that does not load.
        """
        before = self.loaded
        try:
            for adapter in adapters:
                if self._adapters is None:
                    with quiet():
                        from whylike.adapters.engines.lora import Adapters  # noqa: PLC0415 - seconds, and it warns
                    self._adapters = Adapters(self._model)
                self._adapters.load(adapter)
        except Exception:
            self.keep(before)
            raise

    def keep(self, versions: Collection[str]) -> None:
        """Take all other adapters, and what they computed, out of memory."""
        for version in self.loaded.difference(versions):
            self._adapters.unload(version)  # type: ignore[union-attr]  # what is loaded was loaded by it
            self._prefixes.forget(version)

    def run(self, jobs: Sequence[Job], closed: Event) -> None:
        """Answer every job: with a record, or with an `EngineError` where it, or the batch as a whole, fails.

        A job that is abandoned is left without an answer. `closed` ends the batch at the next token.
        """
        rows = []
        for job in jobs:
            try:
                rows.append(self._row(job))
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
        if length + isinstance(request, Writing) > self._context:
            raise EngineError(
                f"the prompt has {length} tokens and the base model takes at most {self._context}; shorten the prompt"
            )
        adapter, version = (job.adapter.version,) * 2 if job.adapter else (BASE, self._base_version)
        if job.adapter:
            self.load([job.adapter])
        row = Row(job, adapter, version, rendered.ids, rendered.shared)
        if isinstance(request, Weighing):
            row.labels = tuple(map(self._renderer.label, request.labels))
            return row
        row.limit = min(request.max_tokens, self._context - length)
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
        own = [row.ids[row.shared :] for row in rows]
        width = max(map(len, own))
        slots = Slots(self._model, prefixes, width + max(row.limit for row in rows))
        start, end = slots.used, slots.used + width
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        positions = torch.zeros_like(tokens)
        filled = torch.zeros(len(rows), slots.capacity, dtype=torch.bool)
        for index, (row, ids) in enumerate(zip(rows, own, strict=True)):
            tokens[index, width - len(ids) :] = torch.tensor(ids)
            positions[index, width - len(ids) :] = torch.arange(row.shared, len(row.ids))
            filled[index, start - row.shared : start] = True
            filled[index, end - len(ids) : end] = True
        mask = filled[:, None, :end] & _causal(start, end)
        mask[:, range(width), range(start, end)] = (
            True  # also of padding: attention to nothing is not a number on a GPU
        )
        scores = self._forward(rows, tokens, positions, mask, slots)
        while True:
            finished = [self._finished(row, score) for row, score in zip(rows, scores, strict=True)]
            if all(finished):
                return
            if closed.is_set():
                raise EngineError("the engine was closed before it had answered")
            for index in reversed(range(len(rows))):
                if finished[index]:
                    slots.drop(index)
                    filled[index] = filled[len(rows) - 1]
                    rows[index] = rows[-1]
                    rows.pop()
            filled[:, slots.used] = True
            tokens = torch.tensor([[row.last] for row in rows])
            positions = torch.tensor([[len(row.ids) + row.written - 1] for row in rows])
            mask = filled[: len(rows), None, : slots.used + 1]
            scores = self._forward(rows, tokens, positions, mask, slots)

    def _prefix(self, row: Row) -> Prefix | None:
        """The keys and values of the row's shared beginning, computed where they are not kept."""
        if not row.shared:
            return None
        ids = row.ids[: row.shared]
        prefix = self._prefixes.get(row.adapter, ids)
        if prefix is None:
            slots = Slots(self._model, [None], row.shared)
            positions = torch.arange(row.shared)[None]
            self._forward([row], torch.tensor([ids]), positions, _causal(0, row.shared)[None], slots)
            prefix = slots.first()
            self._prefixes.keep(row.adapter, ids, prefix)
        return prefix

    def _forward(
        self, rows: Sequence[Row], tokens: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, slots: Slots
    ) -> torch.Tensor:
        """Scores for the token after the last one: [rows, vocabulary], fp32, on the CPU.

        `tokens` and `positions` are [rows, new]; `mask` [rows, new, filled + new] says what each may attend to.
        """
        if self._adapters:
            self._adapters.choose([row.adapter for row in rows])
        device = self._model.device
        # The last position is asked for by its index: for a slice of frozen weights torch copies the whole vocabulary.
        output = self._model(
            input_ids=tokens.to(device),
            position_ids=positions.to(device),
            attention_mask=mask[:, None].to(device),
            past_key_values=slots,
            use_cache=True,
            logits_to_keep=torch.tensor([tokens.shape[1] - 1]),
        )
        slots.used += tokens.shape[1]
        scores: torch.Tensor = output.logits[:, -1].float().cpu()
        return scores

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
        """Choose a token, add it to the row's text, and tell what is certain; the answer if that was its end."""
        if row.guide:
            row.guide.mask(scores)
        row.last = _choose(scores, row.temperature, row.random)
        finish: Literal["stop", "length"] | None = None
        if row.last in self._ends:
            finish = "stop"
        else:
            row.written += 1
            if row.guide:
                row.guide.accept(row.last)
            stopped = row.text.add(self._grammars.tokenizer.decode_bytes([row.last]))
            if stopped or (row.guide and row.guide.finished):
                finish = "stop"
            elif row.written == row.limit:
                finish = "length"
        if finish:
            row.text.add(b"", final=True)
        if row.job.tell and (piece := row.text.news(final=finish is not None)):
            row.job.tell(piece)
        if finish is None:
            return None
        return Written(
            text=row.text.text,
            adapter_version=row.version,
            finish=finish,
            prompt_tokens=len(row.ids),
            tokens=row.written,
        )


def _causal(start: int, end: int) -> torch.Tensor:
    """[end - start, end]: the tokens at slots `start` to `end` see those before them and themselves."""
    return torch.arange(end) <= torch.arange(start, end)[:, None]


def _choose(scores: torch.Tensor, temperature: float, random: torch.Generator | None) -> int:
    """The best token, or one drawn with the row's own generator."""
    if random is None:
        return int(scores.argmax())
    chances = ((scores - scores.max()) / temperature).softmax(0)
    return int(torch.multinomial(chances, 1, generator=random))
