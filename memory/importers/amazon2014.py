"""Amazon reviews as published in 2014 and 2018 by McAuley's group: JSON Lines, in places Python literals.

Reviews: `reviewerID`, `asin`, `overall`, `reviewText`, `summary`, `unixReviewTime` (or `reviewTime`), `helpful`
`[helpful, all votes]` (2018: `vote`). Items: `asin`, `title`, `description`, `categories` (2018: `category`).
"""

from __future__ import annotations

from whylike.memory.importers import values
from whylike.memory.importers.base import JSON, Fields, Format
from whylike.memory.importers.columns import ReviewColumns, first
from whylike.records import Item, RatingScale

COLUMNS = ReviewColumns(
    user_id="reviewerID",
    item_id=("asin",),
    rating="overall",
    text="reviewText",
    timestamp=("unixReviewTime", "reviewTime"),
    title=("summary",),
    helpful=("helpful", "vote"),
)


def take_item(fields: Fields) -> tuple[Item]:
    """Read an item.

    Raises:
        BadRow: A value cannot be taken.
    """
    item = Item(
        item_id=values.identifier(fields.get("asin"), "asin"),
        title=values.title(fields.get("title"), "title"),
        description=values.description(fields.get("description"), "description"),
        categories=values.categories(*first(fields, ("categories", "category"))),
    )
    return (item,)


AMAZON_2014 = Format(
    name="amazon2014",
    title="Amazon 2014",
    layouts=JSON,
    scale=RatingScale(),
    own_scale=False,
    review_columns=COLUMNS.needed,
    reviews=COLUMNS.reader,
    item_columns=(("asin",), ("title", "description", "categories", "category")),
    items=take_item,
)
