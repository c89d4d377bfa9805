"""News of what is made once and kept, such as a converted model: from the thread that makes it to whoever shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Told = Callable[[str, int, int], None]
"""Takes news of a step: what it is, how much of it is done, and how much there is."""

_listeners: list[Told] = []
_log = logging.getLogger(__name__)


@contextmanager
def listening(told: Told) -> Iterator[None]:
    """Have `told` called with all news of this process, on the threads that they come from."""
    _listeners.append(told)
    try:
        yield
    finally:
        _listeners.remove(told)


def tell(what: str, done: int, total: int) -> None:
    """Give news to whoever listens; one that fails to take it keeps nothing from being made."""
    for told in tuple(_listeners):
        try:
            told(what, done, total)
        except Exception:  # whatever a display may meet
            _log.exception("news of %s could not be shown", what)


def counted(what: str, items: Collection[T]) -> Iterator[T]:
    """The items one by one, with news of each."""
    total = len(items)
    for done, item in enumerate(items):
        tell(what, done, total)
        yield item
    tell(what, total, total)
