"""Readers of files of reviews and items: recognised from their first rows, read row by row in constant memory.

recognised = recognise(path, Kind.REVIEWS)
with Source(path) as source:
    for row in read(recognised, source, Levels(scale)):
        ...  # a tuple of records, or a Reject
"""

from whylike.memory.importers.base import RAW_CHARACTERS, Format, Parsed, Reject, raw_text
from whylike.memory.importers.recognise import AUTO, FORMATS, Kind, Recognised, read, read_rows, recognise
from whylike.memory.importers.source import Source
from whylike.memory.importers.values import Levels

__all__ = [
    "AUTO",
    "FORMATS",
    "RAW_CHARACTERS",
    "Format",
    "Kind",
    "Levels",
    "Parsed",
    "Recognised",
    "Reject",
    "Source",
    "raw_text",
    "read",
    "read_rows",
    "recognise",
]
