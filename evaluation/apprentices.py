"""Adapters that matter, made on the spot: a few steps of training on reviews, to measure engines with."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from whylike.adapters.engines.base import Adapter, Message, Prompt, Weighing, Writing
from whylike.adapters.engines.model import find_base, packaged_folder, quiet
from whylike.adapters.engines.rendering import Renderer
from whylike.adapters.registry.identity import fingerprint
from whylike.errors import UsageError
from whylike.memory.schema import reviews
from whylike.memory.store import Store
from whylike.preparing import Told
from whylike.records import Expert, Record
from whylike.settings import PACKAGED_MODEL, Settings

TAUGHT = (Expert.SUMMARIZER, Expert.REASONER, Expert.PREDICTOR)
RANK = 16
ROWS = 4
"""Reviews of a training step."""
RATE = 2e-3
WORDS = 80
"""Words of a review that a prompt shows."""
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
TASKS = {
    Expert.SUMMARIZER: "You say in a few words what a review begins with.",
    Expert.REASONER: "You go on with a review where it breaks off.",
    Expert.PREDICTOR: "You guess the rating, from 1 to 5, that the writer of a review gave.",
}


class Sample(Record):
    """A real review."""

    text: str
    rating: float


def sample(store: Store, count: int, seed: int) -> list[Sample]:
    """Random reviews of some length, the same for one seed and one store. Raises `UsageError` for too few."""
    query = reviews.select().with_only_columns(reviews.c.text, reviews.c.rating).order_by(reviews.c.review_id)
    with store.database.read() as connection:
        rows = [Sample(text=text, rating=rating) for text, rating in connection.execute(query) if _long(text)]
    if len(rows) < count:
        raise UsageError(
            f"{store.database.name} has {len(rows)} reviews of 20 words or more, and {count} are needed; ingest more "
            f"reviews first, or name another store with --store"
        )
    return random.Random(seed).sample(rows, count)  # noqa: S311 - for variety, not for secrets


def _long(text: str) -> bool:
    return len(text.split()) >= 20  # noqa: PLR2004


def apart(settings: Settings, cache: Path) -> Settings:
    """The same settings with a cache of its own: graphs of adapters that nobody will see again belong in none."""
    model = str(packaged_folder(settings.cache)) if settings.model == PACKAGED_MODEL else settings.model
    return settings.model_copy(update={"model": model, "cache": cache})


def writing(expert: Expert, row: Sample, max_tokens: int) -> Writing:
    """What an expert is taught to write of a review."""
    return Writing(expert=expert, prompt=_prompt(expert, row), max_tokens=max_tokens)


def weighing(expert: Expert, row: Sample) -> Weighing:
    """The rating of a review, asked of any expert."""
    prompt = _prompt(expert, row).model_copy(update={"prefill": "Rating: "})
    return Weighing(expert=expert, prompt=prompt, labels=tuple("12345"))


def _prompt(expert: Expert, row: Sample) -> Prompt:
    turns = (Message(role="system", content=TASKS[expert]), Message(role="user", content=_shown(row)))
    return Prompt(messages=turns, prefill="Rating: " if expert is Expert.PREDICTOR else "", shared=1)


def _shown(row: Sample) -> str:
    return " ".join(row.text.split()[:WORDS])


def _target(expert: Expert, row: Sample) -> str:
    words = row.text.split()
    match expert:
        case Expert.PREDICTOR:
            return str(min(max(round(row.rating), 1), 5))
        case Expert.SUMMARIZER:
            return " ".join(words[:12])
        case _:
            return " ".join(words[WORDS : 2 * WORDS] or words[-20:])


def train(settings: Settings, rows: Sequence[Sample], steps: int, folder: Path, told: Told) -> dict[Expert, Adapter]:
    """A LoRA adapter for each of `TAUGHT`, after `steps` steps on `rows`, in folders under `folder`.

    Raises `EngineError` where the base model cannot be loaded.
    """
    import torch  # noqa: PLC0415 - after the engines' own settings for it

    base = find_base(settings)
    with quiet():
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - seconds, and it warns
    renderer = Renderer(base.tokenizer)
    made = {}
    for number, expert in enumerate(TAUGHT):
        torch.manual_seed(number)
        config = LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=PROJECTIONS, task_type="CAUSAL_LM")
        with quiet():
            model = get_peft_model(base.load(torch.float32), config).train()
        optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=RATE)
        for step in range(steps):
            chosen = [rows[(step * ROWS + index) % len(rows)] for index in range(ROWS)]
            prompts = [list(renderer.render(_prompt(expert, row)).ids) for row in chosen]
            targets = [[*renderer.plain(_target(expert, row)), base.tokenizer.eos_token_id] for row in chosen]
            width = max(len(one) + len(other) for one, other in zip(prompts, targets, strict=True))
            ids = torch.zeros(ROWS, width, dtype=torch.long)
            labels = torch.full_like(ids, -100)
            for index, (prompt, target) in enumerate(zip(prompts, targets, strict=True)):
                ids[index, : len(prompt) + len(target)] = torch.tensor(prompt + target)
                labels[index, len(prompt) : len(prompt) + len(target)] = torch.tensor(target)
            # Padding comes after each row's end, where causal attention never looks.
            model(input_ids=ids, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            told("training adapters", number * steps + step + 1, len(TAUGHT) * steps)
        saved = folder / expert.value
        with quiet():
            model.save_pretrained(str(saved))
        made[expert] = Adapter(version=f"{expert}-{fingerprint(saved)[:8]}", folder=saved)
    return made
