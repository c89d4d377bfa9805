"""What an expert is taught with: prompts as it will meet them, each with the answer that it should give."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import Field
from transformers import PreTrainedTokenizerFast

from whylike.adapters.engines.base import Prompt
from whylike.adapters.engines.rendering import Renderer
from whylike.agents.recipe import digest
from whylike.records import RatingScale, Record

IGNORED = -100
"""Label of a token that the loss leaves out (PyTorch's `ignore_index`)."""


class Example(Record):
    """A prompt and the answer to it."""

    prompt: Prompt
    answer: str
    group: str
    """Examples of one group, such as the reviews of one item, stay on one side of a split."""
    times: int = Field(default=1, ge=1)
    """How often it is learned in an epoch."""
    users: frozenset[str] = frozenset()
    """Whose reviews and ratings are in it, as far as it is known; no part of what it teaches."""
    scale: RatingScale | None = None
    """Whose label the answer is, where it is a rating."""


def hash_of(examples: Sequence[Example]) -> str:
    """What examples are known by: their order counts, but no field that an example gains later and leaves as it is."""
    return digest([example.model_dump(mode="json", exclude_defaults=True, exclude={"users"}) for example in examples])


def split(examples: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """The examples without, and those of, about `share` of the groups; a group falls on the same side in every file.

    Args:
        examples: In any order, which is kept.
        share: From 0 to 1.
        seed: Another one chooses other groups.
    """
    kept: list[Example] = []
    held: list[Example] = []
    for example in examples:
        (held if place(example.group, seed) < share else kept).append(example)
    return kept, held


def place(group: str, seed: int) -> float:
    """Where a group lies between 0 and 1, by chance but always there."""
    drawn = hashlib.sha256(f"{seed}:{group}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(drawn[:8]) / 2**64


def tokens(example: Example, renderer: Renderer, tokenizer: PreTrainedTokenizerFast) -> dict[str, list[int]]:
    """The ids of the prompt, the answer and the end of the turn, and labels that leave the prompt out of the loss.

    Raises `EngineError` where the base model's template cannot show the prompt.
    """
    prompt = renderer.render(example.prompt).ids
    answer = [*renderer.plain(example.answer), int(tokenizer.eos_token_id)]
    return {"input_ids": [*prompt, *answer], "labels": [*[IGNORED] * len(prompt), *answer]}
