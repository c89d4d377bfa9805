"""The Yelp open dataset: JSON Lines.

Reviews: `review_id`, `user_id`, `business_id`, `stars`, `text`, `date` (`YYYY-MM-DD HH:MM:SS`, read as UTC), `useful`.
Items are businesses: `business_id`, `name`, `categories` (text parted by commas), `address`, `city`, `state`.
"""

from __future__ import annotations

from whylike.memory.importers import values
from whylike.memory.importers.base import JSON, Fields, Format
from whylike.memory.importers.columns import ReviewColumns
from whylike.records import Item, RatingScale

COLUMNS = ReviewColumns(
    user_id="user_id",
    item_id=("business_id",),
    rating="stars",
    text="text",
    timestamp=("date",),
    helpful=("useful",),
    review_id="review_id",
)


def take_item(fields: Fields) -> tuple[Item]:
    """Read a business; its description says where it is.

    Raises:
        BadRow: A value cannot be taken.
    """
    place = [values.title(fields.get(column), column) for column in ("address", "city", "state")]
    item = Item(
        item_id=values.identifier(fields.get("business_id"), "business_id"),
        title=values.title(fields.get("name"), "name"),
        description=", ".join(filter(None, place)),
        categories=values.categories(fields.get("categories"), "categories"),
    )
    return (item,)


YELP = Format(
    name="yelp",
    title="Yelp",
    layouts=JSON,
    scale=RatingScale(),
    own_scale=False,
    review_columns=COLUMNS.needed,
    reviews=COLUMNS.reader,
    item_columns=(("business_id",), ("name",)),
    items=take_item,
)
