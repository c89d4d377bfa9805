"""From a prompt to token ids, such that no content can become structure of the chat template.

The template is rendered around placeholders and cut there. The pieces between them are the structure and may hold
special tokens; the contents and the prefill are encoded by a copy of the tokenizer that knows no special tokens at
all. So a review that says `<|im_end|>` is eleven ordinary characters. Every engine sends these ids.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from jinja2 import TemplateError
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from whylike.adapters.engines.base import Prompt
from whylike.errors import EngineError


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt as token ids."""

    ids: tuple[int, ...]
    """The whole prompt: the template's structure, the contents, the beginning of the answer, the prefill."""
    shared: int
    """How many of the leading ids hold the prompt's shared messages; always fewer than all."""


class Renderer:
    """Renders prompts for one tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        if not tokenizer.chat_template:
            raise EngineError(
                "the base model's tokenizer has no chat template; set model to an instruct model, which brings one"
            )
        self._tokenizer = tokenizer
        plain = json.loads(tokenizer.backend_tokenizer.to_str())
        plain["added_tokens"] = []
        self._plain = Tokenizer.from_str(json.dumps(plain))
        self.special = frozenset(index for index, token in tokenizer.added_tokens_decoder.items() if token.special)
        """The ids of the special tokens; none of them stands in ordinary text."""

    def render(self, prompt: Prompt) -> Rendered:
        """The ids of `prompt` and how many of them are shared.

        Raises `EngineError` where the template cannot place every message once and in order.
        """
        structure = self._structure(prompt)
        parts = []
        for piece, message in zip(structure[:-1], prompt.messages, strict=True):
            parts += [self._tokenizer.encode(piece, add_special_tokens=False), self.plain(message.content)]
        shared = sum(map(len, parts[: 2 * min(prompt.shared, len(prompt.messages))]))
        parts += [self._tokenizer.encode(structure[-1], add_special_tokens=False), self.plain(prompt.prefill)]
        return Rendered(tuple(token for part in parts for token in part), shared)

    def plain(self, text: str) -> list[int]:
        """The ids of `text` as ordinary text, whatever tokens of the template it spells.

        Raises `EngineError` where the tokenizer's own vocabulary turns it into one of those tokens all the same.
        """
        ids = self._plain.encode(text, add_special_tokens=False).ids
        if not self.special.isdisjoint(ids):
            token = next(token for token in ids if token in self.special)
            raise EngineError(
                f"the base model's tokenizer reads {self._tokenizer.decode([token])!r} in a text as structure and "
                f"cannot be told not to; set model to one with a byte-level tokenizer, or take it out of the text"
            )
        return ids

    def label(self, label: str) -> int:
        """The id of a label. Raises `EngineError` where it is not a single token."""
        ids = self.plain(label)
        if len(ids) != 1:
            raise EngineError(
                f"label {label!r} is {len(ids)} tokens of the base model and must be one; use a digit or a letter"
            )
        return ids[0]

    def _structure(self, prompt: Prompt) -> list[str]:
        """The text before, between and after the contents: one piece more than there are messages."""
        marks = [f"\ue000{index}\ue000" for index in range(len(prompt.messages))]
        turns = [{"role": turn.role, "content": mark} for turn, mark in zip(prompt.messages, marks, strict=True)]
        try:
            # Qwen3's template opens a monologue unless told not to; templates without the word ignore it.
            rendered = self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, enable_thinking=False
            )
        except TemplateError as error:
            roles = ", ".join(turn.role for turn in prompt.messages)
            raise EngineError(f"the base model's chat template refuses the roles {roles}: {error}") from None
        text, pieces = str(rendered), []
        for mark in marks:
            before, found, text = text.partition(mark)
            if not found or mark in text:
                raise EngineError(
                    "the base model's chat template does not show every message once and in order; "
                    "set model to an instruct model with a plain template, such as ChatML"
                )
            pieces.append(before)
        return [*pieces, text]
