"""Reading a review from a row by a table of column names, one table a format."""

from __future__ import annotations

from dataclasses import dataclass

from whylike.memory.importers import values
from whylike.memory.importers.base import Fields, Take
from whylike.memory.importers.values import Levels
from whylike.records import Review


@dataclass(frozen=True, kw_only=True)
class ReviewColumns:
    """What a format calls the parts of a review; where a part has several names, the first that has a value counts."""

    user_id: str
    item_id: tuple[str, ...]
    rating: str
    text: str
    timestamp: tuple[str, ...]
    title: tuple[str, ...] = ()
    helpful: tuple[str, ...] = ()
    review_id: str | None = None

    @property
    def needed(self) -> tuple[tuple[str, ...], ...]:
        """The columns without which a file holds no reviews of this format."""
        return ((self.user_id,), self.item_id, (self.rating,), (self.text,), self.timestamp)

    def reader(self, levels: Levels, _origin: str) -> Take:
        """Make the reader of rows with ratings on these levels."""
        latest = values.latest_written()

        def take(fields: Fields) -> tuple[Review]:
            user_id = values.identifier(fields.get(self.user_id), self.user_id)
            item_id = values.identifier(*first(fields, self.item_id))
            rating = levels.rating(fields.get(self.rating), self.rating)
            timestamp = values.written(*first(fields, self.timestamp), latest)
            title = values.title(*first(fields, self.title))
            written = fields.get(self.text)
            # Some people write all they have to say in the headline.
            text = title if title and values.is_missing(written) else values.review_text(written, self.text)
            given = fields.get(self.review_id) if self.review_id else None
            review_id = (
                values.review_id(user_id, item_id, timestamp, rating, text)
                if self.review_id is None or values.is_missing(given)
                else values.identifier(given, self.review_id)
            )
            # Measured: pydantic's own constructor is faster here than model_construct.
            review = Review(
                review_id=review_id,
                user_id=user_id,
                item_id=item_id,
                rating=rating,
                title=title,
                text=text,
                timestamp=timestamp,
                helpful=values.helpful_votes(*first(fields, self.helpful)),
            )
            return (review,)

        return take


def first(fields: Fields, names: tuple[str, ...]) -> tuple[object, str]:
    """The first of the columns `names` that has a value, as value and name; None and the first name where none has."""
    for name in names:
        value = fields.get(name)
        if not values.is_missing(value):
            return value, name
    return None, names[0] if names else ""
