"""Amazon reviews as published in 2023 by McAuley's group: JSON Lines.

Reviews: `user_id`, `parent_asin` (else `asin`), `rating`, `title`, `text`, `timestamp` in milliseconds, `helpful_vote`.
Items: `parent_asin`, `title`, `description` (a list), `features` (a list, read where there is no description),
`main_category`, `categories`.
"""

from __future__ import annotations

from whylike.memory.importers import values
from whylike.memory.importers.base import JSON, Fields, Format
from whylike.memory.importers.columns import ReviewColumns
from whylike.records import Item, RatingScale

COLUMNS = ReviewColumns(
    user_id="user_id",
    item_id=("parent_asin", "asin"),
    rating="rating",
    text="text",
    timestamp=("timestamp",),
    title=("title",),
    helpful=("helpful_vote",),
)


def take_item(fields: Fields) -> tuple[Item]:
    """Read an item.

    Raises:
        BadRow: A value cannot be taken.
    """
    main = values.title(fields.get("main_category"), "main_category")
    others = values.categories(fields.get("categories"), "categories")
    item = Item(
        item_id=values.identifier(fields.get("parent_asin"), "parent_asin"),
        title=values.title(fields.get("title"), "title"),
        description=values.description(fields.get("description"), "description")
        or values.description(fields.get("features"), "features"),
        categories=(main, *(name for name in others if name != main)) if main else others,
    )
    return (item,)


AMAZON_2023 = Format(
    name="amazon2023",
    title="Amazon 2023",
    layouts=JSON,
    scale=RatingScale(),
    own_scale=False,
    review_columns=COLUMNS.needed,
    reviews=COLUMNS.reader,
    item_columns=(("parent_asin",), ("title", "description", "features", "categories")),
    items=take_item,
)
