"""whylike's own columns, in JSON Lines and in CSV.

Reviews: `user_id`, `item_id`, `rating`, `text` and `timestamp` are required; `review_id`, `title` (or `headline`) and
`helpful` are optional. Items: `item_id` is required; `title`, `description` (text or a list of paragraphs) and
`categories` (a list, nested lists, or text parted by `|`, `;` or `,`) are optional. Other columns are ignored.
"""

from __future__ import annotations

from dataclasses import replace

from whylike.memory.importers import values
from whylike.memory.importers.base import JSON, Fields, Format, Layout
from whylike.memory.importers.columns import ReviewColumns
from whylike.records import Item, RatingScale

COLUMNS = ReviewColumns(
    user_id="user_id",
    item_id=("item_id",),
    rating="rating",
    text="text",
    timestamp=("timestamp",),
    title=("title", "headline"),
    helpful=("helpful",),
    review_id="review_id",
)


def take_item(fields: Fields) -> tuple[Item]:
    """Read an item.

    Raises:
        BadRow: A value cannot be taken.
    """
    item = Item(
        item_id=values.identifier(fields.get("item_id"), "item_id"),
        title=values.title(fields.get("title"), "title"),
        description=values.description(fields.get("description"), "description"),
        categories=values.categories(fields.get("categories"), "categories"),
    )
    return (item,)


JSONL = Format(
    name="jsonl",
    title="whylike's own",
    layouts=JSON,
    scale=RatingScale(),
    own_scale=True,
    review_columns=COLUMNS.needed,
    reviews=COLUMNS.reader,
    item_columns=(("item_id",), ("title", "description", "categories")),
    items=take_item,
)

CSV = replace(JSONL, name="csv", layouts=frozenset((Layout.DELIMITED,)))
