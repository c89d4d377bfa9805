"""Single values of a row: ids, ratings, times, votes, categories. Each is checked and brought into one form.

Every function takes the value as the file has it (a JSON value, or text from CSV) and the name of its column, and
raises `BadRow` with a sentence for the rejects file where the value cannot be taken.
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
import reprlib
import time
import unicodedata
from datetime import UTC, datetime

from whylike.memory.importers.cleaning import clean_line, clean_text
from whylike.records import RatingScale

MAX_ID = 200
"""Most characters of an id."""
MAX_TEXT = 1_000_000
"""Most characters of a text, after cleaning. Prompts trim texts themselves; the store keeps them whole."""
MAX_VOTES = 1_000_000_000
"""Most helpful votes that a review can have."""
LATEST = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp())
"""The first second that is too late to be the time of a review."""

_MILLISECONDS = 1e11
"""A number above this is a time in milliseconds: as seconds it would be after the year 5000."""
_FIRST_YEAR, _LAST_YEAR = 1900, 2100
"""Whole numbers that are years: as seconds they would be in the first hour of 1970."""
_FIRST_DATE, _LAST_DATE = 1900_00_00, 2101_00_00
"""Between them are dates without hyphens: as seconds they would be in August of 1970."""
_DAY = 86_400
_MAX_LITERAL = 100_000
"""Characters above which text is not tried as a list written out, whose parsing takes a hundred times its memory."""
_LONG_INTEGER = 1000
"""Bits of a whole number above which it is no id, rating or time, and Python may refuse to write it out."""
_DECIMAL = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{0,40})?")
_AMAZON_DATE = re.compile(r"([0-9]{1,2}) ([0-9]{1,2}), ([0-9]{4})")
_VOTES = re.compile(r"-?[0-9]{1,20}(?:\.0*)?|[0-9]{1,3}(?:,[0-9]{3})+")
_VOTE_PAIR = re.compile(r"[\[(]\s*(-?[0-9]{1,20})\s*(?:,\s*-?[0-9]{1,20}\s*)?[\])]")


_MAX_SHOWN = 120
"""Characters of a value that a sentence quotes."""


class _Short(reprlib.Repr):
    """`repr` cut to what fits a sentence."""

    def repr_int(self, x: int, level: int) -> str:
        return "a number of more than 300 digits" if x.bit_length() > _LONG_INTEGER else repr(x)


_SHORT = _Short()
_SHORT.maxstring = _SHORT.maxother = 60


class BadRow(Exception):  # noqa: N818 - it is an outcome of reading a row, not an error of the program
    """A row cannot be taken; the message says why, in one sentence without a full stop."""


class OffScale(BadRow):
    """The rating is a number, but not one of the scale's values."""


def shown(value: object) -> str:
    """A value as a sentence quotes it: short, on one line, with invisible characters escaped."""
    text = _SHORT.repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def is_missing(value: object) -> bool:
    """Whether a column has no value: absent, null, empty, or NaN (what pandas writes for nothing)."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def identifier(value: object, column: str) -> str:
    """An id: text or a whole number, trimmed, 1 to `MAX_ID` visible characters. Otherwise it is kept as it is.

    A space of any other width, or one that does not break, becomes a plain one.
    """
    if isinstance(value, str):
        text = value.strip()
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _LONG_INTEGER:
        text = str(value)
    elif is_missing(value):
        raise BadRow(f"{column} is missing; every row needs one")
    else:
        raise BadRow(f"{column} is {shown(value)}; an id is text or a whole number")
    if not text:
        raise BadRow(f"{column} is empty; every row needs one")
    if len(text) > MAX_ID:
        raise BadRow(f"{column} {shown(text)} has {len(text):,} characters; an id has at most {MAX_ID}")
    if not text.isprintable():
        text = "".join(" " if unicodedata.category(each) == "Zs" else each for each in text)
    if not text.isprintable():
        raise BadRow(f"{column} {shown(text)} holds control or invisible characters; remove them")
    return text


def review_text(value: object, column: str) -> str:
    """What the user wrote, cleaned; at least one and at most `MAX_TEXT` characters."""
    if is_missing(value):
        raise BadRow(f"{column} is empty; a review needs a text")
    if not isinstance(value, str):
        raise BadRow(f"{column} is {shown(value)}; it must be text")
    text = clean_text(value)
    if not text:
        raise BadRow(f"{column} {shown(value)} is empty after cleaning; a review needs a text")
    return _bounded(text, column)


def title(value: object, column: str) -> str:
    """A title on one line, cleaned; empty where there is none. A number is a title too (`1984`)."""
    if isinstance(value, str):
        return _bounded(clean_line(value), column)
    if is_missing(value):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return shown(value)
    raise BadRow(f"{column} is {shown(value)}; a title is text")


def description(value: object, column: str) -> str:
    """A description: text, or a list of paragraphs; empty where there is none."""
    if isinstance(value, list | tuple):
        paragraphs = [description(paragraph, column) for paragraph in value if not isinstance(paragraph, list | tuple)]
        if len(paragraphs) != len(value):
            raise BadRow(f"{column} holds a list in a list; it must be text or a list of texts")
        return _bounded("\n\n".join(filter(None, paragraphs)), column)
    if isinstance(value, str):
        return _bounded(clean_text(value), column)
    if is_missing(value):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return shown(value)
    raise BadRow(f"{column} is {shown(value)}; it must be text or a list of texts")


def categories(value: object, column: str) -> tuple[str, ...]:
    """Categories in order, each once: from a list, from nested lists, or from text parted by `|`, `;` or `,`.

    Text may also be such a list written out (`"[['Music', 'Pop']]"`), as CSV files have it.
    """
    if isinstance(value, str):
        value = _list_in(value) if value.lstrip().startswith("[") and len(value) <= _MAX_LITERAL else value
    if isinstance(value, str):
        mark = next((mark for mark in "|;," if mark in value), None)
        value = value.split(mark) if mark else [value]
    if is_missing(value):
        return ()
    if not isinstance(value, list | tuple):
        raise BadRow(f"{column} is {shown(value)}; it must be a list or text parted by |, ; or ,")
    found: dict[str, None] = {}
    waiting: list[object] = list(reversed(value))
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, list | tuple):
            waiting.extend(reversed(entry))
        elif name := title(entry, column):
            found[name] = None
    return tuple(found)


def helpful_votes(value: object, column: str) -> int:
    """How many found the review helpful: a count, `[helpful, all votes]`, or either as text; 0 where nothing is said.

    Yelp and Amazon have single counts below 0; they count as 0.
    """
    votes: object = value
    if isinstance(votes, list | tuple) and votes:
        votes = votes[0]
    if isinstance(votes, str):
        text = votes.strip()
        if pair := _VOTE_PAIR.fullmatch(text):
            votes = int(pair[1])
        elif _VOTES.fullmatch(text):
            votes = float(text.replace(",", ""))
        elif not text:
            return 0
    if is_missing(votes):
        return 0
    if isinstance(votes, int | float) and not isinstance(votes, bool) and votes <= MAX_VOTES and votes == votes // 1:
        return max(0, int(votes))
    raise BadRow(f"{column} is {shown(value)}; it must be a count of votes such as 3, or [helpful, all] such as [3, 4]")


def moment(value: object, column: str) -> int:
    """A time as whole seconds since 1970 (UTC).

    Taken are seconds, milliseconds (above 1e11), ISO 8601 (UTC where it names no zone; also `20090913`, as a number
    too) and Amazon's `09 13, 2009`; from 1970 to the end of 2100. A year alone is refused: it says no day.
    """
    if is_missing(value):
        raise BadRow(f"{column} is missing; {_TIMES}")
    if isinstance(value, str):
        seconds = _moment_in(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = _number(value)
    else:
        seconds = None
    if seconds is None:
        raise BadRow(f"{column} is {shown(value)}, which is no time; {_TIMES}")
    if seconds > _MILLISECONDS:
        seconds /= 1000
    elif _FIRST_DATE <= seconds < _LAST_DATE and seconds.is_integer():
        seconds = _date_in(int(seconds))
        if seconds is None:
            raise BadRow(f"{column} is {shown(value)}, which is no date; {_TIMES}")
    elif _FIRST_YEAR <= seconds <= _LAST_YEAR and seconds.is_integer():
        raise BadRow(f"{column} is {shown(value)}, a year but no day of it; write a day such as {seconds:.0f}-01-01")
    if not 0 <= seconds < LATEST:
        raise BadRow(f"{column} is {shown(value)}, which is not between 1970 and 2100; {_TIMES}")
    return int(seconds)


def written(value: object, column: str, latest: float) -> int:
    """The `moment` at which something was written, not after `latest` (seconds since 1970).

    A reader takes as `latest` what `latest_written` says, once.
    """
    seconds = moment(value, column)
    if seconds > latest:
        raise BadRow(f"{column} is {shown(value)}, which is in the future; write when the review was written")
    return seconds


def latest_written() -> float:
    """The latest time at which a review can have been written: a day from now, because clocks and zones differ."""
    return time.time() + _DAY


class Levels:
    """The values of one rating scale, for checking many ratings fast."""

    def __init__(self, scale: RatingScale) -> None:
        """Take the values of `scale`."""
        self.scale = scale
        self._values = scale.values
        self._exact = {value: value for value in scale.values}
        self._allowed = ", ".join(f"{value:g}" for value in scale.values)

    def rating(self, value: object, column: str) -> float:
        """A rating: a number, or text that is one, and one of the scale's values."""
        number: float | None = None
        if isinstance(value, str):
            text = value.strip()
            number = float(text) if _DECIMAL.fullmatch(text) else None
        elif isinstance(value, int | float) and not isinstance(value, bool):
            number = _number(value)
        exact = self._exact.get(number) if number is not None else None
        if exact is not None:
            return exact
        if value is None or value == "":
            raise BadRow(f"{column} is missing; every row needs one on the scale {self.scale}")
        if number is None or not math.isfinite(number):
            raise BadRow(f"{column} is {shown(value)}, which is no number; it must be one of {self._allowed}")
        near = min(self._values, key=lambda level: abs(level - number))
        if abs(near - number) < 1e-6:  # noqa: PLR2004 - the closeness that RatingScale itself allows
            return near
        raise OffScale(f"{column} {shown(value)} is not on the scale {self.scale}, whose values are {self._allowed}")

    def average(self, text: str, column: str) -> float:
        """A mean of ratings: a number between the scale's ends."""
        if _DECIMAL.fullmatch(text) and self.scale.minimum <= float(text) <= self.scale.maximum:
            return float(text)
        raise BadRow(f"{column} is {shown(text)}; it must be a number on the scale {self.scale}")


def review_id(user_id: str, item_id: str, timestamp: int, rating: float, text: str) -> str:
    """An id for a review that has none: 24 hexadecimal digits, the same for the same review in any file."""
    # The parts cannot hold the separator: ids and cleaned texts have no control characters.
    whole = f"{user_id}\x1f{item_id}\x1f{timestamp}\x1f{rating:g}\x1f{text}"
    return hashlib.sha256(whole.encode()).hexdigest()[:24]


_TIMES = "write seconds or milliseconds since 1970, or ISO 8601 such as 2014-07-01 or 2014-07-01T10:30:00Z"


def _bounded(text: str, column: str) -> str:
    if len(text) > MAX_TEXT:
        raise BadRow(f"{column} has {len(text):,} characters; at most {MAX_TEXT:,} are kept, so shorten it")
    return text


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _moment_in(text: str) -> float | None:
    if _DECIMAL.fullmatch(text):
        return float(text)
    try:
        if date := _AMAZON_DATE.fullmatch(text):
            return datetime(int(date[3]), int(date[1]), int(date[2]), tzinfo=UTC).timestamp()
        parsed = datetime.fromisoformat(text)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return None


def _date_in(digits: int) -> float | None:
    """The seconds of a date written as eight digits, if there is such a date."""
    try:
        return datetime(digits // 10_000, digits // 100 % 100, digits % 100, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _list_in(text: str) -> object:
    """The list that `text` writes out, else the text itself."""
    try:
        return ast.literal_eval(text.strip())  # JSON lists of strings are Python literals too
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
