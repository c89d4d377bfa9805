"""Readers of files of reviews and items: recognised from their first rows, read row by row in constant memory.

recognised = recognise(path, Kind.REVIEWS)
with Source(path) as source:
    for row in read(recognised, source, Levels(scale)):
        ...  # a tuple of records, or a Reject
"""

from whylike.memory.importers.base import Format, Parsed, Reject
from whylike.memory.importers.recognise import AUTO, FORMATS, Kind, Recognised, read, recognise
from whylike.memory.importers.source import Source
from whylike.memory.importers.values import Levels

__all__ = [
    "AUTO",
    "FORMATS",
    "Format",
    "Kind",
    "Levels",
    "Parsed",
    "Recognised",
    "Reject",
    "Source",
    "read",
    "recognise",
]
