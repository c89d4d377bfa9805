"""From examples to an adapter version in the registry."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import JsonValue

from whylike.adapters.engines.model import device, find_base
from whylike.adapters.registry.identity import base_fingerprint
from whylike.adapters.registry.registry import Registry
from whylike.adapters.training.examples import Example, hash_of, place, split
from whylike.adapters.training.reasons import decided_examples, reason_examples
from whylike.adapters.training.runs import FOLDER, drop_spoilt, unfinished
from whylike.adapters.training.summaries import summary_examples
from whylike.adapters.training.trainer import PROJECTIONS, News, Recipe, environment, processes, train
from whylike.agents.recipe import digest
from whylike.errors import UsageError
from whylike.memory.annotations import Occasion
from whylike.memory.forgotten import forgotten_meanwhile
from whylike.memory.splits import split as split_by_time
from whylike.memory.store import Store
from whylike.records import (
    AdapterCard,
    Expert,
    Provenance,
    ReasonAnnotation,
    ReasonDecision,
    Record,
    SummaryAnnotation,
)
from whylike.settings import Settings

log = logging.getLogger(__name__)

HELD_OUT = 0.1
"""Share of the items whose annotations are never learned from, so that an evaluation can use them."""
VALIDATION = 0.05
"""Share of the other items by which training decides when to stop."""
_RATING = Recipe(rank=8, alpha=16, rate=3e-4, epochs=1)
RECIPES = {
    Expert.SUMMARIZER: Recipe(epochs=2),
    Expert.REASONER: Recipe(epochs=3, dropout=0.1),
    Expert.PREDICTOR: _RATING,
    Expert.REWARD: _RATING,
}
"""How the experts are taught where nothing else is asked for, as those were that come along. The papers' rates of the
last two, 3e-5 and 3e-6, are for a student of 8B parameters."""
RATERS = (Expert.PREDICTOR, Expert.REWARD)
"""Those that learn ratings, from pairs (`graph.lessons`) and not from annotations."""
FEW = 100
"""Examples of which a training says that they are few."""
SAW_FORGOTTEN = (
    "%s learned from users who have since been forgotten, and what goes on from it keeps that; leave out --from to "
    "train without"
)
LOOK = 1.0
"""Seconds for which a training waits for its lock: another one that begins may be looking whether it runs."""


class Lesson(Record):
    """What came of a training."""

    version: str
    """The adapter version that is now in the registry."""
    examples: int
    """Learned in an epoch, each as often as it is."""
    left_out: int
    """Those of them that were too long."""
    steps: int
    validation_loss: float
    validation_rmse: float | None = None
    """Of the ratings' expectation, on the validation examples of the store's scale, where ratings are learned."""
    seconds: float
    """Of this run; of one that was killed and went on, since it went on."""
    done_before: bool
    """Whether an earlier run did it all, and this one nothing."""


def held_out(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """The examples that may be learned from, and those that never are; which are which depends on their items alone."""
    return split(examples, HELD_OUT, seed=0)


def examples_for(expert: Expert, store: Store) -> list[Example]:
    """What the store's annotations teach the Summarizer or the Reasoner, those that are held out among them.

    Of the reasons that were found for pairs (also by `whylike learn`, for the newest) only those of the older pairs, so
    that nothing is learned from a pair that calibrates or measures.

    Raises `UsageError` where there are such reasons and too few reviews to be split.
    """
    if expert is Expert.SUMMARIZER:
        written = store.annotations(SummaryAnnotation)
        return summary_examples(written, store.authors(each.text for each in written))
    decisions = store.decisions().values()
    older = {pair.review_id for pair in split_by_time(store).training} if decisions else set()
    return reasons_to_learn(store, store.told_reasons(), [each for each in decisions if each.review_id in older])


def reasons_to_learn(
    store: Store, told: Iterable[tuple[ReasonAnnotation, Occasion | None]], decisions: Iterable[ReasonDecision]
) -> list[Example]:
    """What reasons teach the Reasoner: those that teachers told, and those that the reward expert let pass.

    Args:
        store: Knows who wrote what they rest on.
        told: `Store.told_reasons`.
        decisions: Of the store, the oldest first.
    """
    told, decisions = list(told), list(decisions)
    read = {review for _, occasion in told if occasion for review in occasion.reviews}
    authors = store.authors_of(read | {review for each in decisions for review in each.read})
    return [*reason_examples(told, authors), *decided_examples(decisions, authors)]


def teach(
    expert: Expert,
    settings: Settings,
    store: Store,
    examples: list[Example],
    recipe: Recipe,
    *,
    command: str,
    data: str = "",
    parent: str | None = None,
    made_with: dict[str, JsonValue] | None = None,
    told: Callable[[News], None] = lambda _: None,
) -> Lesson:
    """Train an adapter for an expert from examples and add it to the registry.

    A run that was killed goes on at its last checkpoint when the same command is given again; one that is done is not
    done again. Processes that `accelerate launch` started share each step; the first of them keeps the checkpoints and
    adds the adapter.

    Args:
        expert: Who learns.
        settings: The base model, and the device to train on.
        store: Has the registry's cards.
        examples: Of `examples_for`, or of `graph.lessons`; those that are held out are not learned from.
        recipe: How to train.
        command: What the adapter's card says made it.
        data: What the card says of the examples' origin and terms of use.
        parent: The version to go on from (`going_on`); None begins a new adapter.
        made_with: What the card says of how the examples were made (`graph.lessons`).
        told: Told of progress.

    Raises:
        UsageError: There are too few examples, the same training runs already, or a user whose data it learns from has
            been forgotten since the examples were made.
        EngineError: The base model cannot be loaded, or the settings ask for a GPU that is not there.
    """
    from accelerate.utils import broadcast_object_list  # noqa: PLC0415 - seconds

    began = time.monotonic()
    target = device(settings.device)
    group = processes(target)
    registry = Registry(settings, store)
    learned, _ = held_out(examples)
    taken, validation = split(learned, VALIDATION, seed=1 + recipe.seed)
    if not validation:  # so few groups that none was drawn
        last = min({each.group for each in learned}, key=lambda group: place(group, 1 + recipe.seed), default="")
        taken, validation = ([each for each in learned if (each.group == last) is side] for side in (False, True))
    base_hash = base_fingerprint(settings) or ""
    data_hash = hash_of((*taken, *validation))
    computed = environment(target)
    wanted = (base_hash, data_hash, recipe.model_dump(mode="json"), parent)
    name = f"{expert}-{digest([*wanted, computed])[:12]}"
    ancestors = registry.lineage(parent) if parent else ()
    work = store.folder / FOLDER / name
    work.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(work.with_suffix(".lock"), timeout=LOOK) if group.is_main_process else nullcontext():
            others = unfinished(work) if group.is_main_process else []
            group.wait_for_everyone()  # the first has the lock now, so that all see the same
            card = _done(registry, expert, wanted, computed)
            done_before = card is not None
            if card is None:
                if group.is_main_process:
                    _warn(len(taken), others)
                    _note(store, work, (*taken, *validation), parent)
                work.mkdir(exist_ok=True)
                scale = store.scale if expert in RATERS else None
                known = registry.scales(parent) if parent else ()
                begun = registry.adapters({expert: parent})[expert].folder if parent else None
                try:
                    trained = train(
                        find_base(settings),
                        taken,
                        validation,
                        recipe,
                        work,
                        target=target,
                        scale=scale,
                        parent=begun,
                        told=told,
                    )
                except UsageError:  # there is nothing to go on with
                    if group.is_main_process:
                        shutil.rmtree(work, ignore_errors=True)
                    raise
                _refuse_spoilt(store, work, clear=group.is_main_process)
                rmse = {} if trained.rmse is None else {"validation_rmse": trained.rmse}
                provenance = Provenance(
                    expert=expert,
                    created_at=int(time.time()),
                    command=command,
                    base_hash=base_hash,
                    data_hash=data_hash,
                    data=data,
                    parent=parent,
                    ancestors=ancestors,
                    made_with=made_with or {},
                    scales=tuple(sorted({*known, *(each.scale for each in taken if each.scale)}, key=str)),
                    settings=recipe.model_dump(mode="json"),
                    environment=computed,
                    metrics={
                        "examples": trained.examples,
                        "left_out": trained.left_out,
                        "steps": trained.steps,
                        "padding": trained.padding,
                        "validation_loss": trained.loss,
                        **rmse,
                    },
                )
                added = registry.add(trained.folder, provenance, name) if group.is_main_process else ""
                (added,) = broadcast_object_list([added])
                card = registry.card(added)
            if group.is_main_process:  # also what was left by a run that was killed right after it had added
                shutil.rmtree(work, ignore_errors=True)
    except Timeout:
        raise UsageError(f"this very training runs already, in {work}; wait for it, or change a setting") from None
    return Lesson(
        version=card.version,
        examples=int(card.metrics["examples"]),
        left_out=int(card.metrics["left_out"]),
        steps=int(card.metrics["steps"]),
        validation_loss=card.metrics["validation_loss"],
        validation_rmse=card.metrics.get("validation_rmse"),
        seconds=round(time.monotonic() - began, 1),
        done_before=done_before,
    )


def going_on(recipe: Recipe, registry: Registry, expert: Expert, version: str) -> Recipe:
    """The recipe for an adapter that goes on from another one, whose rank and alpha it keeps.

    Raises:
        NotFoundError: There is no such version; the nearest are offered.
        UsageError: It is another expert's, or of another base model, or its matrices have several ranks.
        StoreError: It has been changed since it was added, or is gone.
    """
    found = registry.card(version).expert
    if found is not expert:
        raise UsageError(f"{version} is an adapter of the {found}, not of the {expert}; give one of the {expert}")
    from peft import LoraConfig  # noqa: PLC0415 - seconds

    config = LoraConfig.from_pretrained(str(registry.adapters({expert: version})[expert].folder))
    if config.rank_pattern or config.alpha_pattern or set(config.target_modules or ()) != set(PROJECTIONS):
        raise UsageError(f"{version} was not made by `whylike train`, which does not go on from it; train a new one")
    return recipe.model_copy(update={"rank": config.r, "alpha": config.lora_alpha})


def _note(store: Store, work: Path, examples: Sequence[Example], parent: str | None) -> None:
    """Note before a training begins whose data it learns from; and clear away what must not go on."""
    drop_spoilt(store)
    store.note_learning(work.name, {user for each in examples for user in each.users})
    if parent and store.saw_forgotten(parent):
        log.warning(SAW_FORGOTTEN, parent)


def _refuse_spoilt(store: Store, work: Path, *, clear: bool) -> None:
    """End a training whose users were not all there to the end. Raises `UsageError`."""
    if store.spoilt([work.name]):
        if clear:
            shutil.rmtree(work, ignore_errors=True)
            store.drop_learning(work.name)
        raise forgotten_meanwhile()


def _warn(count: int, others: list[Path]) -> None:
    """Say before a training begins what may not be as its user thinks.

    Args:
        count: Examples.
        others: Where trainings are that it does not go on with, the latest last (`runs.unfinished`).
    """
    if 0 < count < FEW:
        log.warning(
            "%d different examples are few: measure the adapter (`whylike evaluate`) before you promote it; annotate "
            "more reviews, or for ratings ingest more",
            count,
        )
    if others:
        log.warning(
            "this training begins anew: that in %s, which was not finished, has other examples, settings or versions "
            "of the libraries; remove it where you do not want to go on with it",
            others[-1],
        )


def _done(
    registry: Registry, expert: Expert, wanted: tuple[object, ...], computed: dict[str, str]
) -> AdapterCard | None:
    """The card of what came of the same training earlier, in this store, perhaps with other versions of libraries."""
    own = (entry.card for entry in registry.entries() if not entry.shipped and entry.card.expert is expert)
    for card in own:
        same = all(card.environment.get(name) == computed[name] for name in ("device", "precision", "processes"))
        if same and (card.base_hash, card.data_hash, card.settings, card.parent) == wanted:
            return card
    return None
