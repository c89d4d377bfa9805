"""The items that a user would rate highest of those they have not reviewed, by the averages and what they said."""

from __future__ import annotations

from collections.abc import Callable

from whylike.agents import stated
from whylike.agents.calibration import readout
from whylike.agents.predictor import rate
from whylike.graph.services import Services
from whylike.graph.sides import described
from whylike.memory.history import general, history
from whylike.memory.ranked import best_rated

LOOKED_AT = 300
"""Items with the highest damped means that are rated for the user."""


def shortlist(
    services: Services, user_id: str, n: int, told: Callable[[int, int], None] = lambda *_: None
) -> list[str]:
    """The items that the user would rate highest, of those that the user has not reviewed.

    Args:
        services: The store and the experts; no model is asked.
        user_id: Who need not be known.
        n: Most items.
        told: Told of progress.

    Returns:
        Ids, the best first.

    Raises:
        StoreError: The store failed.
    """
    store, before = services.store, services.now() + 1
    scale = store.scale
    found = best_rated(store, user_id, before, LOOKED_AT)
    scored = []
    for done, item_id in enumerate(found, start=1):
        known = history(store, user_id, item_id, before, services.settings.history)
        read = readout(known, general(store, user_id, item_id, before), scale)
        if known.stated:
            about = described(store.item(item_id))
            effects = stated.effects(known.stated, (), known.item_reviews, about, scale=scale, embedder=None)
            read = read.model_copy(update={"stated": stated.shift(effects, scale)})
        scored.append((-rate(read, services.calibrator_as_of(known)).expectation, item_id))
        told(done, len(found))
    return [item_id for _, item_id in sorted(scored)[:n]]
