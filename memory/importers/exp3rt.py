"""EXP3RT's released pairs: a JSON list whose texts hold ready-made profiles and averages, and a score to predict.

Columns: `user_id`, `item_id`, `user_persona` and `item_synopsis` (`[Like]`, `[Dislike]`, `[Average Rating]`),
`item_description` (`Title:`, `Genres:` and other lines), `score` ("1" to "10"). There is no review text and no time, so
a row becomes an item, the two profiles and a pair to evaluate against, never a review.
"""

from __future__ import annotations

from whylike.memory.importers import values
from whylike.memory.importers.base import JSON, Fields, Format, Parsed, Take
from whylike.memory.importers.cleaning import clean_line
from whylike.memory.importers.values import BadRow, Levels, shown
from whylike.records import Item, Profile, RatedPair, RatingScale, Side

ADAPTER_VERSION = "imported:exp3rt"
"""The adapter version of imported profiles: no adapter of this store wrote them."""

_HEADINGS = {"[like]": "likes", "[dislike]": "dislikes", "[average rating]": "average"}
_NOTHING = frozenset(("", "none", "n/a"))


def read_rows(levels: Levels, origin: str) -> Take:
    """Make the reader of rows with scores on these levels, from the file named `origin`."""

    def take(fields: Fields) -> tuple[Parsed, ...]:
        user_id = values.identifier(fields.get("user_id"), "user_id")
        item_id = values.identifier(fields.get("item_id"), "item_id")
        return (
            _item(item_id, fields.get("item_description"), "item_description"),
            _profile(Side.USER, user_id, fields.get("user_persona"), "user_persona", levels),
            _profile(Side.ITEM, item_id, fields.get("item_synopsis"), "item_synopsis", levels),
            RatedPair(
                user_id=user_id,
                item_id=item_id,
                rating=levels.rating(fields.get("score"), "score"),
                source=f"exp3rt:{origin}",
            ),
        )

    return take


def _item(item_id: str, value: object, column: str) -> Item:
    title = ""
    genres = ""
    rest = []
    for line in values.description(value, column).splitlines():
        if line.startswith("Title:"):
            title = line.removeprefix("Title:").strip()
        elif line.startswith("Genres:"):
            genres = line.removeprefix("Genres:")
        else:
            rest.append(line)
    return Item(
        item_id=item_id,
        title=title,
        description="\n".join(rest).strip(),
        categories=values.categories(genres, column),
    )


def _profile(side: Side, subject_id: str, value: object, column: str, levels: Levels) -> Profile:
    if not isinstance(value, str):
        raise BadRow(
            f"{column} is {'missing' if value is None else shown(value)}; it must be text with [Like] and [Dislike]"
        )
    parts: dict[str, list[str]] = {}
    part: list[str] | None = None
    for line in value.splitlines():
        heading = _HEADINGS.get(line.strip().lower())
        if heading:
            part = parts.setdefault(heading, [])
        elif part is not None:
            point = clean_line(line).lstrip("-*• ").rstrip()
            if point.rstrip(".").lower() not in _NOTHING and point not in part:
                part.append(point)
    if "likes" not in parts and "dislikes" not in parts:
        raise BadRow(f"{column} {shown(value)} has neither a [Like] nor a [Dislike] line; it must have one of them")
    average = parts.get("average", [])
    return Profile(
        side=side,
        subject_id=subject_id,
        likes=tuple(parts.get("likes", ())),
        dislikes=tuple(parts.get("dislikes", ())),
        adapter_version=ADAPTER_VERSION,
        average=levels.average(average[0], f"the average rating in {column}") if average else None,
    )


_COLUMNS = ("user_id", "item_id", "user_persona", "item_description", "item_synopsis", "score")

EXP3RT = Format(
    name="exp3rt",
    title="EXP3RT",
    layouts=JSON,
    scale=RatingScale(minimum=1, maximum=10),
    own_scale=False,
    review_columns=tuple((name,) for name in _COLUMNS),
    reviews=read_rows,
    item_columns=(),
    items=None,
)
