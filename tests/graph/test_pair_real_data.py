"""Real reviews, real store, index and sentence vectors: answers of users who wrote several reviews."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from whylike.adapters.engines import open_engine
from whylike.explanation import Explanation
from whylike.graph.pair import Services, explain
from whylike.memory.ingest import ingest
from whylike.memory.schema import reviews
from whylike.settings import Settings

REAL = Path(__file__).parents[2].parent / "shared" / "data"
FEWEST = 5
"""Reviews that a user has written in all."""

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not REAL.is_dir(), reason=f"the real data is not at {REAL}"),
]


@pytest.fixture(params=["digital_music", "musical_instruments"])
def dataset(request: pytest.FixtureRequest) -> Path:
    """Albums with titles and descriptions, and instruments without."""
    return REAL / request.param


@pytest.fixture(params=["scripted", pytest.param("local", marks=pytest.mark.model)])
def services(request: pytest.FixtureRequest, dataset: Path, tmp_path: Path) -> Iterator[Services]:
    settings = Settings(store=tmp_path / "store", device="cpu", engine=request.param, history=10)
    if request.param == "local":
        settings = settings.model_copy(update={"history": 2})  # the model reads tens of tokens a second
    with closing(open_engine(settings)) as engine, Services.open(settings, engine=engine) as opened:
        items = dataset / "items.jsonl.gz"
        ingest(opened.store, dataset / "reviews.jsonl.gz", items_file=items if items.exists() else None)
        yield opened


def test_users_with_several_reviews_get_answers_from_what_came_before(
    services: Services, well_formed: Callable[[Explanation], None]
):
    """Of reviews that were really written, so that the user's own must not be used."""
    pairs = _pairs(services, 8 if services.engine.name == "scripted" else 1)
    for user_id, item_id in pairs:
        answer = explain(services, user_id, item_id)
        well_formed(answer)
        own = services.store.review_of(user_id, item_id)
        assert own
        assert answer.as_of == own.timestamp
        assert own.review_id not in {each.id for each in answer.evidence}
        assert {each.user_id == user_id for each in answer.evidence} == {True, False}, "both sides are known"
        assert answer.reason
        assert all(sentence.supported for sentence in answer.reason.sentences)


def _pairs(services: Services, count: int) -> list[tuple[str, str]]:
    """Random pairs of whose user and item something is known before."""
    with services.store.database.read() as connection:
        found = connection.execute(reviews.select().order_by(reviews.c.timestamp, reviews.c.review_id)).all()
    by_user: dict[str, list[int]] = {}
    first: dict[str, int] = {}
    for review in found:
        by_user.setdefault(review.user_id, []).append(review.timestamp)
        first.setdefault(review.item_id, review.timestamp)
    known = [
        (review.user_id, review.item_id)
        for review in found
        if len(by_user[review.user_id]) >= FEWEST
        and by_user[review.user_id][0] < review.timestamp
        and first[review.item_id] < review.timestamp
    ]
    return random.Random(0).sample(known, count)
